/* Emphasis: how strongly each run of a prompt's text is meant.
 *
 *     A1111    (a) 1.1, [a] 1/1.1, (a:1.3), \( \) \[ \] \\, BREAK
 *     ComfyUI  (a) 1.1, (a:1.3), \( \)
 */
#ifndef FARM_EMPHASIS_H
#define FARM_EMPHASIS_H

#include <stddef.h>

#include "base/error.h"

enum prompt_syntax { PROMPT_A1111, PROMPT_COMFY, PROMPT_PLAIN };

struct emphasis_run {
    char *text; /* heap, without markup */
    double weight;
    bool ends_chunk; /* BREAK: no text, what follows begins a chunk */
};

struct emphasis {
    size_t count;
    struct emphasis_run *run;
};

/* Runs of A1111's parse_prompt_attention or ComfyUI's token_weights, in order; plain text is
 * one run of weight 1. ERROR_INPUT where a weight is no number (A1111: as "1.2.3") or
 * brackets are nested too deep (ComfyUI). */
bool emphasis_read(struct emphasis *self, const char *text, enum prompt_syntax syntax,
                   struct error *error);
void emphasis_clear(struct emphasis *self);

#endif
