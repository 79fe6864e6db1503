/* Any bytes as a token's text; and as a token's content with the right checksum, which a
 * fuzzer would not guess. What is read formats to text that reads the same. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_token(const char *text)
{
    struct token token, again;
    struct error error;
    char formatted[TOKEN_TEXT];
    if (!token_parse(text, &token, &error))
        return;
    if (!token_format(&token, formatted, &error) ||
        !token_parse(formatted, &again, &error) ||
        memcmp(&token, &again, sizeof token) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    memcpy(text, data, size);
    read_token(text);
    free(text);

    uint8_t sealed[1024], check[32];
    char token[2048] = "clfarm1-";
    if (size > sizeof sealed - 8)
        return 0;
    memcpy(sealed, data, size);
    crypto_generichash(check, sizeof check, data, size, NULL, 0);
    memcpy(sealed + size, check, 8);
    sodium_bin2base64(token + 8, sizeof token - 8, sealed, size + 8,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    read_token(token);
    return 0;
}
