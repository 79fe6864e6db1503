/* The process that keeps a private farm: parent of its coordinator and worker. */
#ifndef FARM_KEEPER_H
#define FARM_KEEPER_H

#include "base/error.h"

/* Files the keeper and its farmctl share in the state folder. */
#define KEEPER_RUNNING "keeper.lock"   /* locked while a keeper lives */
#define KEEPER_JOINED  "worker.joined" /* there once the worker may be started */
#define KEEPER_FAILED  "worker.failed" /* written when the worker ended by itself */

/* Starts a keeper in a session of its own; it takes over the lock `running`. The programs
 * are looked for in the folder `programs`. Returns when the keeper was started. */
bool keeper_start(const char *state, const char *programs, int running,
                  struct error *error);

#endif
