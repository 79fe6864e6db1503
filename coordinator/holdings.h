/* What each key has in the depot that nothing names: files under way, and files that are
 * stored but belong to no result and no complete model. Each key may have so much of that,
 * so that nobody fills the disk with what nobody commits. Pure.
 *
 * It is counted since this process began: what an earlier one took in and nothing named is
 * the garbage collection's.
 */
#ifndef FARM_HOLDINGS_H
#define FARM_HOLDINGS_H

#include <czmq.h>

#include "base/error.h"

/* A file counts as so much at least: small ones take room too, and memory here. */
enum { HOLDINGS_LEAST = 64 << 10 };

struct holdings {
    zhashx_t *by_key;  /* owns what a key holds */
    zhashx_t *by_blob; /* owns whose a stored file is */
};

void holdings_init(struct holdings *self);
void holdings_clear(struct holdings *self);

/* A file of that size begins to come; ERROR_BUSY when the key then had more than `most` (0:
 * any). */
bool holdings_begin(struct holdings *self, const uint8_t key[32], uint64_t size,
                    uint64_t most, struct error *error);

/* It did not come to its end. */
void holdings_end(struct holdings *self, const uint8_t key[32], uint64_t size);

/* It is stored as that blob, the key's until it is named or gone. */
void holdings_store(struct holdings *self, const uint8_t key[32],
                    const uint8_t blob[32], uint64_t size);

/* Something names the blob now, or it was removed. */
void holdings_release(struct holdings *self, const uint8_t blob[32]);

uint64_t holdings_of(const struct holdings *self, const uint8_t key[32]);

#endif
