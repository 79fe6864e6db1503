#include "coordinator/table.h"

#include <assert.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>

static uint8_t secret[crypto_shorthash_KEYBYTES];

static size_t hash(const void *key, size_t size)
{
    uint64_t value;
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, key, size, secret);
    memcpy(&value, out, sizeof value);
    return value;
}

#define KEY_FUNCTIONS(size)                                                            \
    static size_t hash_##size(const void *key)                                         \
    {                                                                                  \
        return hash(key, size);                                                        \
    }                                                                                  \
    static int compare_##size(const void *one, const void *two)                        \
    {                                                                                  \
        return memcmp(one, two, size);                                                 \
    }

KEY_FUNCTIONS(5)
KEY_FUNCTIONS(8)
KEY_FUNCTIONS(16)
KEY_FUNCTIONS(32)

static const struct {
    size_t size;
    zhashx_hash_fn *hash;
    zhashx_comparator_fn *compare;
} kinds[] = {
    {5, hash_5, compare_5},
    {8, hash_8, compare_8},
    {16, hash_16, compare_16},
    {32, hash_32, compare_32},
};

zhashx_t *table_new(size_t key_size)
{
    static bool seeded;
    if (!seeded)
        randombytes_buf(secret, sizeof secret);
    seeded = true;
    size_t k = 0;
    while (kinds[k].size != key_size) {
        k++;
        assert(k < sizeof kinds / sizeof kinds[0]);
    }
    zhashx_t *self = zhashx_new();
    zhashx_set_key_duplicator(self, NULL);
    zhashx_set_key_destructor(self, NULL);
    zhashx_set_key_hasher(self, kinds[k].hash);
    zhashx_set_key_comparator(self, kinds[k].compare);
    return self;
}
