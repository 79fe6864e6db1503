/* CURVE key pairs, key files (0600) and tokens.
 *
 * A token is text that lets its holder join once: the farm's addresses and public key, an
 * expiry, and the secret half of a fresh key whose public half the coordinator keeps with
 * the role `join`.
 */
#ifndef FARM_KEYS_H
#define FARM_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { KEY_SIZE = 32, KEY_TEXT = 41, TOKEN_ADDRESSES = 8, TOKEN_TEXT = 1024 };
enum { JOIN_NONCE = 24, JOIN_PROOF = KEY_SIZE + 16 };

struct keypair {
    uint8_t public_key[KEY_SIZE];
    uint8_t secret_key[KEY_SIZE];
};

bool keypair_make(struct keypair *self, struct error *error);
void keypair_wipe(struct keypair *self);

/* The secret key decides the public one. */
void keypair_from_secret(struct keypair *self, const uint8_t secret[KEY_SIZE]);

/* A key file holds the secret key as Z85 text and the public one as a comment. Loading
 * refuses a file readable by group or others, naming its mode and the chmod that mends it. */
bool keypair_save(const struct keypair *self, const char *path, struct error *error);
bool keypair_load(struct keypair *self, const char *path, struct error *error);

/* The file's key pair; where there is no file, a new pair that is saved there. */
bool keypair_keep(struct keypair *self, const char *path, struct error *error);

/* The file itself, whatever kind of key it holds. */
bool key_file_save(const uint8_t public_key[KEY_SIZE],
                   const uint8_t secret_key[KEY_SIZE], const char *path,
                   struct error *error);
bool key_file_load(uint8_t secret[KEY_SIZE], const char *path, struct error *error);

/* Z85, 40 characters and a zero. Parsing refuses anything else. */
void key_format(const uint8_t key[KEY_SIZE], char text[KEY_TEXT]);
bool key_parse(const char *text, uint8_t key[KEY_SIZE], struct error *error);

/* What shows that a joiner holds the secret of the new key it asks for: the join key's
 * public half, boxed from the new key to the server's. Proving draws the nonce. */
bool join_prove(const struct keypair *own, const uint8_t server_key[KEY_SIZE],
                const uint8_t join_key[KEY_SIZE], uint8_t nonce[JOIN_NONCE],
                uint8_t proof[JOIN_PROOF], struct error *error);
bool join_verify(const struct keypair *server, const uint8_t own_key[KEY_SIZE],
                 const uint8_t join_key[KEY_SIZE], const uint8_t nonce[JOIN_NONCE],
                 const uint8_t proof[JOIN_PROOF], struct error *error);

struct token {
    char address[TOKEN_ADDRESSES][128]; /* "tcp://10.0.0.5:7610"; "" after the last */
    uint8_t server_key[KEY_SIZE];
    int64_t expires; /* unix seconds */
    uint8_t join_secret[KEY_SIZE];
    char farm[64];
};

/* "clfarm1-" and base64url. Text of at most TOKEN_TEXT characters with the zero. Parsing
 * ignores white space around it and tells damaged text by a checksum; whether it expired
 * is the caller's to ask. */
bool token_format(const struct token *self, char text[TOKEN_TEXT], struct error *error);
bool token_parse(const char *text, struct token *self, struct error *error);

/* A token given by a user: the text itself, a file's name, or "-" for stdin. */
bool token_read(const char *given, struct token *self, struct error *error);

#endif
