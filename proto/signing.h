/* The farm's signature (Ed25519): made by the coordinator alone, verified by anybody who
 * joined. The public half travels with Joined and Welcome.
 */
#ifndef FARM_SIGNING_H
#define FARM_SIGNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { SIGNING_KEY = 32, SIGNING_SIGNATURE = 64 };

struct signer {
    uint8_t public_key[SIGNING_KEY];
    uint8_t secret_key[64];
};

/* The pair of the file (0600, like any key file); where there is no file, a new pair that
 * is saved there. */
bool signer_keep(struct signer *self, const char *path, struct error *error);
void signer_wipe(struct signer *self);

/* `purpose` keeps what is signed for one use from passing for another. */
void signer_sign(const struct signer *self, const char *purpose, const void *data,
                 size_t size, uint8_t signature[SIGNING_SIGNATURE]);
bool signing_verify(const uint8_t key[SIGNING_KEY], const char *purpose,
                    const void *data, size_t size,
                    const uint8_t signature[SIGNING_SIGNATURE]);

/* Whether a field holds a key at all: an older farm sends none. */
bool signing_is_known(const uint8_t key[SIGNING_KEY]);

#endif
