#include "proto/signing.h"

#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "proto/keys.h"

/* The key file holds the seed; both halves follow from it. */
static void from_seed(struct signer *self, const uint8_t seed[KEY_SIZE])
{
    (void)sodium_mlock(self, sizeof *self);
    crypto_sign_seed_keypair(self->public_key, self->secret_key, seed);
}

bool signer_keep(struct signer *self, const char *path, struct error *error)
{
    uint8_t seed[KEY_SIZE];
    bool ok = sodium_init() >= 0 || error_set(error, "libsodium does not start");
    if (ok && access(path, F_OK) == 0) {
        ok = key_file_load(seed, path, error);
    } else if (ok) {
        randombytes_buf(seed, sizeof seed);
        from_seed(self, seed);
        ok = key_file_save(self->public_key, seed, path, error);
    }
    if (ok)
        from_seed(self, seed);
    sodium_memzero(seed, sizeof seed);
    return ok;
}

void signer_wipe(struct signer *self)
{
    sodium_munlock(self, sizeof *self);
    sodium_memzero(self, sizeof *self);
}

/* What is signed is short or hashed already; its purpose and a zero come before it. */
static void digest(const char *purpose, const void *data, size_t size, uint8_t hash[64])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, 64);
    crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, data, size);
    crypto_generichash_final(&state, hash, 64);
}

void signer_sign(const struct signer *self, const char *purpose, const void *data,
                 size_t size, uint8_t signature[SIGNING_SIGNATURE])
{
    uint8_t hash[64];
    digest(purpose, data, size, hash);
    crypto_sign_detached(signature, NULL, hash, sizeof hash, self->secret_key);
}

bool signing_verify(const uint8_t key[SIGNING_KEY], const char *purpose,
                    const void *data, size_t size,
                    const uint8_t signature[SIGNING_SIGNATURE])
{
    uint8_t hash[64];
    digest(purpose, data, size, hash);
    return crypto_sign_verify_detached(signature, hash, sizeof hash, key) == 0;
}

bool signing_is_known(const uint8_t key[SIGNING_KEY])
{
    return !sodium_is_zero(key, SIGNING_KEY);
}
