/* The private farm of `--local`: found or started, joined, given a worker and a model. */
#ifndef FARM_LOCAL_H
#define FARM_LOCAL_H

#include "client/session.h"

/* Says on stderr what it starts unless quiet. */
struct session *local_open(bool quiet, struct error *error);

/* Whether the private farm can render: false when its worker ended by itself at or after
 * `since` (unix seconds), or when the farm ended; the error says why and where it stands. */
bool local_renders(int64_t since, struct error *error);

/* The coordinator's state folder, path_state()/local; heap. */
char *local_state(void);

#endif
