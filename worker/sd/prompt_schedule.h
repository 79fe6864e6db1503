/* Prompts that change while a picture is made: A1111's editing and alternation.
 *
 *     [from:to:when]  [to:when]  [from::when]     `when`: a step, or with a point in it a
 *                                                 share of the steps
 *     [a|b|c]                                     another one each step
 */
#ifndef FARM_PROMPT_SCHEDULE_H
#define FARM_PROMPT_SCHEDULE_H

#include <stddef.h>

#include "base/error.h"

struct prompt_state {
    size_t end; /* last step it holds for, counted from 1 */
    char *text; /* heap; emphasis is still in it */
};

/* States in the order of their ends; the last ends with the last step. */
struct prompt_schedule {
    size_t count;
    struct prompt_state *state;
};

/* What stable-diffusion-webui 1.6 and later make of `size` bytes of text over `steps` steps
 * (at least 1), with lark 1.3.1: text its grammar does not take is one state, as it stands.
 * `before`, not 0: of the upscale pass, after so many steps of the first; `when` counts on
 * from those, a share from 1.
 * ERROR_INPUT where brackets are nested too deep or the states would fill memory. */
bool prompt_schedule_read(struct prompt_schedule *self, const char *text, size_t size,
                          size_t before, size_t steps, struct error *error);

/* One state that holds all the time. */
bool prompt_schedule_constant(struct prompt_schedule *self, const char *text,
                              size_t size, size_t steps, struct error *error);
void prompt_schedule_clear(struct prompt_schedule *self);

/* The state at the call-th call of the UNet, from 0: the first whose end is not below call,
 * and the first of all behind the last end (both as A1111 has it). */
size_t prompt_schedule_at(const struct prompt_schedule *self, size_t call);

#endif
