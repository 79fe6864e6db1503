/* Alternatives {a|b} in a prompt: how many prompts one text stands for, and which.
 *
 * A group is a brace, two or more texts parted by bars, a brace; {word} without a bar is
 * left as it is. Backslash before {, } or | takes their meaning away and is dropped;
 * before anything else it stays, since prompts have escapes of their own.
 */
#ifndef FARM_ALTERNATIVES_H
#define FARM_ALTERNATIVES_H

#include <stdint.h>

#include "base/buffer.h"

/* The product of all groups' sizes. ERROR_INPUT for a brace that is not closed, for braces
 * within braces, and for more than `most`. */
bool alternatives_count(const char *text, size_t size, uint64_t most, uint64_t *count,
                        struct error *error);

/* Appends the text at `index`, the leftmost group counting slowest, of a text that
 * alternatives_count accepted. */
bool alternatives_pick(const char *text, size_t size, uint64_t index, uint64_t count,
                       struct buffer *into, struct error *error);

/* Appends the text with its braces and bars escaped: it then stands for itself alone. */
bool alternatives_escape(const char *text, struct buffer *into, struct error *error);

#endif
