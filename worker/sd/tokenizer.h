/* CLIP's tokenizer: text -> token ids, as transformers' CLIPTokenizer gives them. */
#ifndef FARM_TOKENIZER_H
#define FARM_TOKENIZER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct tokenizer;

/* From vocab.json, merges.txt and, where not NULL, tokenizer_config.json and
 * special_tokens_map.json (which wins): special tokens, padding. */
struct tokenizer *tokenizer_open(const char *vocabulary, const char *merges,
                                 const char *config, const char *special,
                                 struct error *error);
void tokenizer_close(struct tokenizer **self);

/* The same from what those files say; all borrowed. Names stand in errors. */
struct tokenizer_parts {
    json_t *vocabulary, *config, *special; /* the last two may be NULL */
    const char *merges;                    /* text of merges.txt */
    const char *vocabulary_name, *merges_name;
};
struct tokenizer *tokenizer_new(const struct tokenizer_parts *parts,
                                struct error *error);

int32_t tokenizer_start(const struct tokenizer *self);
int32_t tokenizer_end(const struct tokenizer *self);
int32_t tokenizer_pad(const struct tokenizer *self);

/* One above the highest id there is: rows an embedding table must have. */
size_t tokenizer_size(const struct tokenizer *self);

/* Ids without start and end, heap; any UTF-8 text (what is no UTF-8 is ERROR_INPUT). */
bool tokenizer_encode(const struct tokenizer *self, const char *text, int32_t **ids,
                      size_t *count, struct error *error);

/* The same, but that a padding token which is a word ("!" of SD 2 and SDXL) is a word in
 * text too, as in open_clip, stable-diffusion-webui and ComfyUI. */
bool tokenizer_encode_text(const struct tokenizer *self, const char *text,
                           int32_t **ids, size_t *count, struct error *error);

#endif
