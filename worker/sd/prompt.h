/* A prompt as it is written -> what is to be attended to at each step.
 *
 *     a [red:blue:0.5] apple AND a table :0.8
 *
 *         part 0, weight 1     "a red apple" to the middle, then "a blue apple"
 *         part 1, weight 0.8   "a table"
 */
#ifndef FARM_PROMPT_H
#define FARM_PROMPT_H

#include "worker/sd/emphasis.h"
#include "worker/sd/prompt_schedule.h"

struct prompt_part {
    double weight;
    struct prompt_schedule schedule;
};

struct prompt {
    size_t count; /* at least 1 */
    struct prompt_part *part;
};

/* `composes`: AND parts it and a weight may end each part (A1111's positive prompt); else
 * it is one part. `before` and `steps` as prompt_schedule_read takes them. ERROR_INPUT says
 * what is wrong with the text. */
bool prompt_read(struct prompt *self, const char *text, enum prompt_syntax syntax,
                 bool composes, size_t before, size_t steps, struct error *error);
void prompt_clear(struct prompt *self);

/* "a1111", "comfy", "plain", or "auto" (or NULL): as the sampler's ecosystem has it, which its name
 * tells (diffusers' class names: plain; ComfyUI's lower-case names: comfy). */
enum prompt_syntax prompt_syntax_of(const char *name, const char *sampler);

/* UNet calls A1111 counts for so many steps: twice as many where the sampler is of second
 * order, with the schedule's name behind its own ("DPM2 Karras") or not. What a step means
 * in editing. */
size_t prompt_calls(const char *sampler, size_t steps);

#endif
