/* From a prompt to what the UNet attends to, each distinct text computed once.
 *
 * The last texts' vectors stay on the host, so that a sweep over seeds encodes nothing
 * twice. A text is always encoded alone: its vectors depend on no neighbour.
 */
#ifndef FARM_CONDITIONING_H
#define FARM_CONDITIONING_H

#include "worker/sd/text_stack.h"

struct conditioning;

/* The stack is borrowed for the life of it. */
struct conditioning *conditioning_new(struct text_stack *text, struct error *error);
void conditioning_destroy(struct conditioning **self);

/* Writes the stack's [tokens, c] to values: start, at most tokens - 2 of the text, end,
 * padding; and its pooled vector, where it has one, to pooled. clip_skip 1 is what the model
 * was trained with. *truncated: the text had more. */
bool conditioning_encode(struct conditioning *self, const char *text,
                         unsigned clip_skip, float *values, float *pooled,
                         bool *truncated, struct error *error);

#endif
