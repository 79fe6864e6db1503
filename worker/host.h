/* The host process: one child per device, started again when it dies. */
#ifndef FARM_HOST_H
#define FARM_HOST_H

#include "config/settings.h"

/* Runs until told to end: SIGTERM or SIGINT lets the children finish what they render, a
 * second one ends them at once. The children are this program with the same arguments (a
 * NULL-terminated array) and "child INDEX INSTANCE" behind them. Returns the exit status:
 * 2 when there is no device or the state folder is another worker's. */
int host_run(const struct worker_settings *settings, char *const *arguments);

#endif
