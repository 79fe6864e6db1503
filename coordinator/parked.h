/* Requests about rows that are not on disk yet. The loop waits for no commit: such a request
 * is put aside, and handled again when what it waits for is durable.
 */
#ifndef FARM_PARKED_H
#define FARM_PARKED_H

#include "coordinator/tell.h"

struct parked;

struct parked *parked_new(void);
void parked_destroy(struct parked **self);

/* Puts the request aside, message and all, until what was decided before it came is on disk,
 * and that change, too. False when it is: the handler goes on. When too many wait, the
 * request is answered with ERROR_BUSY. */
bool parked_add(struct coordinator *self, struct request *request, uint64_t change);

/* Handles the first of those that need not wait any longer; false when there is none. */
bool parked_take(struct coordinator *self);

/* Whether parked_take has something to do. */
bool parked_is_due(const struct coordinator *self);

#endif
