/* tokenizer.json: all of a tokenizer in one file, as newer versions of transformers save it. */
#ifndef FARM_TOKENIZER_JSON_H
#define FARM_TOKENIZER_JSON_H

#include "worker/sd/tokenizer.h"

/* Vocabulary, merges and special tokens from tokenizer.json; which of these starts, ends and
 * pads from the other two files, where not NULL, as tokenizer_open has them. */
struct tokenizer *tokenizer_open_json(const char *path, const char *config,
                                      const char *special, struct error *error);

#endif
