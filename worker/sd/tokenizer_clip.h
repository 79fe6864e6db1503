/* CLIP's own tokenizer, for models that bring none: single files. */
#ifndef FARM_TOKENIZER_CLIP_H
#define FARM_TOKENIZER_CLIP_H

#include "worker/sd/tokenizer.h"

/* From the merges that were published with CLIP (MIT licence), which are part of the
 * program. `pad`: the token chunks are filled with, "<|endoftext|>" or, where OpenCLIP's
 * padding with zeros is meant, "!". */
struct tokenizer *tokenizer_clip_new(const char *pad, struct error *error);

#endif
