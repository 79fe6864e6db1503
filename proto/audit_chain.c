#include "proto/audit_chain.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

enum { HASH = 16 };

static void chain(const char *last, const char *text, size_t size,
                  char hash[AUDIT_HASH])
{
    uint8_t bytes[HASH];
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, HASH);
    crypto_generichash_update(&state, (const uint8_t *)last, strlen(last));
    crypto_generichash_update(&state, (const uint8_t *)text, size);
    crypto_generichash_final(&state, bytes, HASH);
    sodium_bin2hex(hash, AUDIT_HASH, bytes, HASH);
}

/* The hash a line ends with, or NULL when it does not end with one. */
static const char *hash_of(const char *line, size_t size)
{
    const char *hash = line + size - (AUDIT_HASH - 1);
    if (size <= AUDIT_HASH || hash[-1] != '#')
        return NULL;
    for (size_t i = 0; i < AUDIT_HASH - 1; i++)
        if (!strchr("0123456789abcdef", hash[i]) || !hash[i])
            return NULL;
    return hash;
}

void audit_chain_add(struct audit_chain *self, const char *text, size_t size,
                     char hash[AUDIT_HASH])
{
    chain(self->last, text, size, hash);
    memcpy(self->last, hash, AUDIT_HASH);
    self->lines++;
}

bool audit_chain_follow(struct audit_chain *self, const char *line, size_t size,
                        struct error *error)
{
    char expected[AUDIT_HASH];
    const char *hash = hash_of(line, size);
    self->lines++;
    if (!hash) {
        self->first_cut = self->first_cut ? self->first_cut : self->lines;
        self->cut++;
        return true;
    }
    chain(self->last, line, (size_t)(hash - line), expected);
    bool follows = memcmp(expected, hash, AUDIT_HASH - 1) == 0;
    memcpy(self->last, hash, AUDIT_HASH - 1);
    self->last[AUDIT_HASH - 1] = 0;
    return follows ||
           error_set(error, "line %" PRIu64 " was changed, or one before it removed",
                     self->lines);
}
