/* Byte-pair encoding: the bytes of a word joined, pair by pair, in the order of a list.
 *
 * Sennrich et al. 2016; over bytes, with "</w>" at a word's end, as GPT-2 and CLIP have it.
 */
#ifndef FARM_BPE_H
#define FARM_BPE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct bpe;

/* `vocabulary` maps tokens to ids; `merges` is merges.txt, of which `path` is named in
 * errors; `unknown` stands for a byte the vocabulary lacks. */
struct bpe *bpe_new(const json_t *vocabulary, int32_t unknown, const char *merges,
                    const char *path, struct error *error);
void bpe_destroy(struct bpe **self);

/* The printable character GPT-2 writes for a byte, as UTF-8 without a zero at its end; returns
 * its length, 1 or 2. */
size_t bpe_spell_byte(unsigned byte, char into[2]);

/* Appends the int32 ids of one word of `size` bytes to `ids`. */
bool bpe_encode(const struct bpe *self, const uint8_t *word, size_t size,
                struct buffer *ids, struct error *error);

#endif
