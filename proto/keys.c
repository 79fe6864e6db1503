/* How a token is laid out, before base64url
 *
 *   count of addresses (1 byte), then each: length (1 byte), text
 *   server key (32), expiry in unix seconds (8, big-endian), join secret (32)
 *   farm name: length (1 byte), text
 *   first 8 bytes of the BLAKE2b of all that: no secret, it tells a token cut by a line
 *   break from one that was never ours
 */
#include "proto/keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "base/path.h"

#define TOKEN_PREFIX "clfarm1-"

enum { TOKEN_FILE = 4096 }; /* with white space around it */
enum { TOKEN_CHECK = 8, TOKEN_BYTES = (TOKEN_TEXT - (int)sizeof TOKEN_PREFIX) / 4 * 3 };

/* Locking may fail where the limit on locked memory is small; the key is then as safe as
 * the rest of the process. */
static bool lock_keypair(struct keypair *self, struct error *error)
{
    if (sodium_init() < 0)
        return error_set(error, "libsodium does not start");
    (void)sodium_mlock(self, sizeof *self);
    return true;
}

bool keypair_make(struct keypair *self, struct error *error)
{
    if (!lock_keypair(self, error))
        return false;
    crypto_box_keypair(self->public_key, self->secret_key);
    return true;
}

void keypair_wipe(struct keypair *self)
{
    sodium_munlock(self, sizeof *self);
    sodium_memzero(self, sizeof *self);
}

void keypair_from_secret(struct keypair *self, const uint8_t secret[KEY_SIZE])
{
    lock_keypair(self, NULL);
    memcpy(self->secret_key, secret, KEY_SIZE);
    crypto_scalarmult_base(self->public_key, self->secret_key);
}

void key_format(const uint8_t key[KEY_SIZE], char text[KEY_TEXT])
{
    zmq_z85_encode(text, key, KEY_SIZE);
}

bool key_parse(const char *text, uint8_t key[KEY_SIZE], struct error *error)
{
    static const char z85[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    if (strlen(text) != KEY_TEXT - 1 || strspn(text, z85) != KEY_TEXT - 1 ||
        !zmq_z85_decode(key, text))
        return error_set_kind(error, ERROR_INPUT,
                              "not a key: a key is %d characters of Z85", KEY_TEXT - 1);
    return true;
}

bool key_file_save(const uint8_t public_key[KEY_SIZE],
                   const uint8_t secret_key[KEY_SIZE], const char *path,
                   struct error *error)
{
    char public_text[KEY_TEXT], secret_text[KEY_TEXT], text[256];
    key_format(public_key, public_text);
    key_format(secret_key, secret_text);
    int size =
        snprintf(text, sizeof text,
                 "# clfarm key; public half: %s\n# secret half, keep it so:\n%s\n",
                 public_text, secret_text);
    bool ok = path_write(path, text, (size_t)size, 0600, error);
    sodium_memzero(secret_text, sizeof secret_text);
    sodium_memzero(text, sizeof text);
    return ok;
}

/* The file's text, at most size - 1 bytes and a zero; refuses what others may read. */
static bool read_secret(const char *path, char *text, size_t size, struct error *error)
{
    bool ok = false;
    struct stat found;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &found) != 0) {
        error_set_kind(error, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_FAILED,
                       "%s: %s", path, strerror(errno));
        goto out;
    }
    if (found.st_mode & 077) {
        error_set_kind(error, ERROR_DENIED,
                       "%s: mode %04o lets others read a secret key; chmod 600 %s",
                       path, found.st_mode & 07777, path);
        goto out;
    }
    ssize_t got = read(file, text, size - 1);
    if (got < 0) {
        error_set(error, "%s: %s", path, strerror(errno));
        goto out;
    }
    text[got] = 0;
    ok = true;
out:
    if (file >= 0)
        close(file);
    return ok;
}

bool key_file_load(uint8_t secret[KEY_SIZE], const char *path, struct error *error)
{
    char text[512];
    if (!read_secret(path, text, sizeof text, error))
        return false;
    const char *found = NULL;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line;
         line = strtok_r(NULL, "\r\n", &rest))
        if (line[0] != '#')
            found = line;
    bool ok = found && key_parse(found, secret, NULL);
    if (!ok)
        error_set_kind(error, ERROR_INPUT, "%s: holds no key of 40 characters of Z85",
                       path);
    sodium_memzero(text, sizeof text);
    return ok;
}

bool keypair_save(const struct keypair *self, const char *path, struct error *error)
{
    return key_file_save(self->public_key, self->secret_key, path, error);
}

bool keypair_load(struct keypair *self, const char *path, struct error *error)
{
    uint8_t secret[KEY_SIZE];
    bool ok = key_file_load(secret, path, error);
    if (ok)
        keypair_from_secret(self, secret);
    sodium_memzero(secret, sizeof secret);
    return ok;
}

bool keypair_keep(struct keypair *self, const char *path, struct error *error)
{
    if (access(path, F_OK) == 0)
        return keypair_load(self, path, error);
    return keypair_make(self, error) && keypair_save(self, path, error);
}

bool join_prove(const struct keypair *own, const uint8_t server_key[KEY_SIZE],
                const uint8_t join_key[KEY_SIZE], uint8_t nonce[JOIN_NONCE],
                uint8_t proof[JOIN_PROOF], struct error *error)
{
    randombytes_buf(nonce, JOIN_NONCE);
    return crypto_box_easy(proof, join_key, KEY_SIZE, nonce, server_key,
                           own->secret_key) == 0 ||
           error_set_kind(error, ERROR_INPUT, "the farm's key is no usable key");
}

bool join_verify(const struct keypair *server, const uint8_t own_key[KEY_SIZE],
                 const uint8_t join_key[KEY_SIZE], const uint8_t nonce[JOIN_NONCE],
                 const uint8_t proof[JOIN_PROOF], struct error *error)
{
    uint8_t opened[KEY_SIZE];
    return (crypto_box_open_easy(opened, proof, JOIN_PROOF, nonce, own_key,
                                 server->secret_key) == 0 &&
            sodium_memcmp(opened, join_key, KEY_SIZE) == 0) ||
           error_set_kind(error, ERROR_DENIED,
                          "the joiner does not prove that the new key is its own");
}

static bool put(struct buffer *into, const void *data, size_t size)
{
    return buffer_append(into, data, size, NULL);
}

static bool put_text(struct buffer *into, const char *text)
{
    uint8_t length = (uint8_t)strlen(text);
    return put(into, &length, 1) && put(into, text, length);
}

static void token_check(const void *data, size_t size, uint8_t check[32])
{
    crypto_generichash(check, 32, data, size, NULL, 0);
}

bool token_format(const struct token *self, char text[TOKEN_TEXT], struct error *error)
{
    struct buffer bytes = {.limit = TOKEN_BYTES};
    uint8_t count = 0, when[8], check[32];
    while (count < TOKEN_ADDRESSES && self->address[count][0])
        count++;
    for (size_t i = 0; i < sizeof when; i++)
        when[i] = (uint8_t)((uint64_t)self->expires >> (56 - 8 * i));

    bool ok = put(&bytes, &count, 1);
    for (uint8_t i = 0; ok && i < count; i++)
        ok = put_text(&bytes, self->address[i]);
    ok = ok && put(&bytes, self->server_key, KEY_SIZE) &&
         put(&bytes, when, sizeof when) && put(&bytes, self->join_secret, KEY_SIZE) &&
         put_text(&bytes, self->farm);
    if (ok) {
        token_check(bytes.data, bytes.size, check);
        ok = put(&bytes, check, TOKEN_CHECK);
    }
    if (ok) {
        memcpy(text, TOKEN_PREFIX, sizeof TOKEN_PREFIX);
        sodium_bin2base64(text + sizeof TOKEN_PREFIX - 1,
                          TOKEN_TEXT - (sizeof TOKEN_PREFIX - 1), bytes.data,
                          bytes.size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    } else {
        error_set_kind(error, ERROR_INPUT,
                       "%d addresses make a token of more than %d characters; set "
                       "`advertise` to fewer",
                       count, TOKEN_TEXT - 1);
    }
    if (bytes.data)
        sodium_memzero(bytes.data, bytes.size);
    buffer_clear(&bytes);
    return ok;
}

struct cursor {
    const uint8_t *at;
    size_t left;
};

static bool take(struct cursor *from, void *into, size_t size)
{
    if (size > from->left)
        return false;
    memcpy(into, from->at, size);
    from->at += size;
    from->left -= size;
    return true;
}

/* Printable ASCII, or for names also any byte above it; shorter than `room`. */
static bool take_text(struct cursor *from, char *into, size_t room, bool ascii)
{
    uint8_t length;
    if (!take(from, &length, 1) || length >= room || !take(from, into, length))
        return false;
    into[length] = 0;
    for (size_t i = 0; i < length; i++) {
        uint8_t c = (uint8_t)into[i];
        if (c < ' ' || c == 127 || (ascii && (c > 127 || c == ' ')))
            return false;
    }
    return true;
}

static bool take_token(struct cursor *from, struct token *into)
{
    uint8_t count, when[8];
    if (!take(from, &count, 1) || count == 0 || count > TOKEN_ADDRESSES)
        return false;
    for (uint8_t i = 0; i < count; i++)
        if (!take_text(from, into->address[i], sizeof into->address[i], true) ||
            strncmp(into->address[i], "tcp://", 6) != 0)
            return false;
    if (!take(from, into->server_key, KEY_SIZE) || !take(from, when, sizeof when) ||
        !take(from, into->join_secret, KEY_SIZE) ||
        !take_text(from, into->farm, sizeof into->farm, false))
        return false;
    uint64_t expires = 0;
    for (size_t i = 0; i < sizeof when; i++)
        expires = expires << 8 | when[i];
    into->expires = (int64_t)expires;
    return from->left == 0;
}

bool token_parse(const char *text, struct token *self, struct error *error)
{
    uint8_t bytes[TOKEN_BYTES], check[32];
    size_t size = 0;
    bool ok = false;
    struct token read = {0};
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        length--;
    size_t prefix = sizeof TOKEN_PREFIX - 1;
    if (length < prefix || strncmp(text, TOKEN_PREFIX, prefix) != 0) {
        error_set_kind(error, ERROR_INPUT, "not a token: a token begins with %s",
                       TOKEN_PREFIX);
        goto out;
    }
    if (sodium_base642bin(bytes, sizeof bytes, text + prefix, length - prefix, NULL,
                          &size, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        size < TOKEN_CHECK) {
        error_set_kind(error, ERROR_INPUT,
                       "the token is damaged: was it copied whole?");
        goto out;
    }
    token_check(bytes, size - TOKEN_CHECK, check);
    struct cursor cursor = {bytes, size - TOKEN_CHECK};
    if (memcmp(check, bytes + cursor.left, TOKEN_CHECK) != 0 ||
        !take_token(&cursor, &read)) {
        error_set_kind(error, ERROR_INPUT,
                       "the token is damaged: was it copied whole?");
        goto out;
    }
    *self = read;
    ok = true;
out:
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(&read, sizeof read);
    return ok;
}

bool token_read(const char *given, struct token *self, struct error *error)
{
    struct buffer text = {0};
    struct error missing = {0};
    bool ok = true;
    if (!strncmp(given, TOKEN_PREFIX, sizeof TOKEN_PREFIX - 1))
        return token_parse(given, self, error);
    if (!path_read(strcmp(given, "-") ? given : "/dev/stdin", TOKEN_FILE, &text,
                   &missing))
        ok = missing.kind == ERROR_NOT_FOUND
                 ? error_set_kind(
                       error, ERROR_INPUT,
                       "\"%.60s\" is neither a token (they begin with " TOKEN_PREFIX
                       ") nor a file that holds one",
                       given)
                 : error_set_kind(error, missing.kind, "%s", missing.text);
    ok = ok && token_parse(buffer_text(&text), self, error);
    buffer_clear(&text);
    return ok;
}
