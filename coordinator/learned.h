/* What scheduling learned (speeds, usage) and how nodes are steered, between memory and
 * the database. */
#ifndef FARM_LEARNED_H
#define FARM_LEARNED_H

#include "coordinator/coordinator.h"

/* Usage of all submitters, at the start. */
bool learned_start(struct coordinator *self, struct error *error);

/* What is known of a node that was not here since the start. */
void learned_load(struct coordinator *self, struct node *node);

/* A result came from the node for a task as that lease had it: its speed. */
void learned_measure(struct node *node, const uint8_t model[32], uint32_t size_class,
                     uint32_t images_at_once, double seconds, uint64_t step_pixels);

/* What changed since the last time, into this turn's change. */
void learned_store(struct coordinator *self);

#endif
