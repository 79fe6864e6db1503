/* Deliberate deaths, so that tests can see what survives them. Dev builds only.
 *
 * FARM_FAULT=NAME[,NAME...] ends the process with SIGKILL where fault_point(NAME) stands,
 * as a power cut would: no handler, no flush. FARM_FAULT=NAME:FILE does so once: only the
 * process that manages to make FILE dies, so that a restarted one gets further.
 * FARM_DELAY=NAME:MS sleeps so long where fault_delay(NAME) stands: a slow machine.
 */
#ifndef FARM_FAULT_H
#define FARM_FAULT_H

#include <stdbool.h>

#ifdef FARM_FAULTS
/* Whether this fault is wanted here and now; true at most once with a FILE. For faults
 * that are no death: a hang, a refusal. */
bool fault_wanted(const char *name);

void fault_point(const char *name);
void fault_delay(const char *name);
#else
static inline bool fault_wanted(const char *name)
{
    (void)name;
    return false;
}

static inline void fault_point(const char *name)
{
    (void)name;
}

static inline void fault_delay(const char *name)
{
    (void)name;
}
#endif

#endif
