/* From the stored rows to the state in memory, at start. */
#ifndef FARM_LOAD_H
#define FARM_LOAD_H

#include "coordinator/coordinator.h"

/* Fills members, models, queue and nodes. Open attempts get a fresh lease. */
bool load_all(struct coordinator *self, struct error *error);

#endif
