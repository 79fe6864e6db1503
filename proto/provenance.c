#include "proto/provenance.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/files/blob.h"
#include "proto/keys.h"

#define PURPOSE "clfarm provenance"
#define HEADING "clfarm provenance 1\n"

static void add_hash(struct buffer *into, const char *name, const uint8_t hash[32])
{
    char text[BLOB_TEXT];
    blob_format(hash, text);
    buffer_printf(into, NULL, "%s %s\n", name, text);
}

static void add_key(struct buffer *into, const char *name, const uint8_t key[32])
{
    char text[KEY_TEXT];
    key_format(key, text);
    buffer_printf(into, NULL, "%s %s\n", name, text);
}

static void add_text(struct buffer *into, const char *name, const char *text)
{
    char tidy[PROVENANCE_TEXT];
    snprintf(tidy, sizeof tidy, "%s", text);
    for (char *c = tidy; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    buffer_printf(into, NULL, "%s %s\n", name, tidy);
}

void provenance_sign(const struct provenance *self, const struct signer *signer,
                     struct buffer *into)
{
    uint8_t signature[SIGNING_SIGNATURE];
    char hex[2 * SIGNING_SIGNATURE + 1];
    size_t start = into->size;
    buffer_append(into, HEADING, sizeof HEADING - 1, NULL);
    add_hash(into, "task", self->task);
    add_hash(into, "pixels", self->pixels);
    for (size_t m = 0; m < self->models; m++)
        add_hash(into, "model", self->model[m]);
    if (self->listed)
        add_hash(into, "denylist", self->deny_list);
    add_text(into, "engine", self->engine);
    add_text(into, "variant", self->variant);
    add_key(into, "node", self->node);
    buffer_printf(into, NULL, "time %" PRId64 "\n", self->time);
    add_key(into, "farm", signer->public_key);
    signer_sign(signer, PURPOSE, into->data + start, into->size - start, signature);
    sodium_bin2hex(hex, sizeof hex, signature, sizeof signature);
    buffer_printf(into, NULL, "signature %s\n", hex);
}

/* One line's value without its newline, moving *at behind it; NULL when the line has
 * another name or does not end. */
static char *next(char **at, const char *name)
{
    size_t length = strlen(name);
    char *end = strchr(*at, '\n');
    if (!end || strncmp(*at, name, length) != 0 || (*at)[length] != ' ')
        return NULL;
    char *value = *at + length + 1;
    *end = 0;
    *at = end + 1;
    return value;
}

static bool read_hash(char **at, const char *name, uint8_t hash[32])
{
    const char *value = next(at, name);
    return value && blob_parse(value, hash, NULL);
}

static bool read_key(char **at, const char *name, uint8_t key[32])
{
    const char *value = next(at, name);
    return value && key_parse(value, key, NULL);
}

static bool read_text(char **at, const char *name, char text[PROVENANCE_TEXT])
{
    const char *value = next(at, name);
    if (!value || strlen(value) >= PROVENANCE_TEXT)
        return false;
    snprintf(text, PROVENANCE_TEXT, "%s", value);
    return true;
}

static bool read_time(char **at, int64_t *time)
{
    const char *value = next(at, "time");
    char *end = NULL;
    if (!value || !*value || value[strspn(value, "0123456789")] || strlen(value) > 18)
        return false;
    *time = strtoll(value, &end, 10);
    return true;
}

static bool read_lines(char *at, struct provenance *into,
                       uint8_t signature[SIGNING_SIGNATURE])
{
    size_t size;
    if (strncmp(at, HEADING, sizeof HEADING - 1) != 0)
        return false;
    at += sizeof HEADING - 1;
    if (!read_hash(&at, "task", into->task) || !read_hash(&at, "pixels", into->pixels))
        return false;
    while (strncmp(at, "model ", 6) == 0)
        if (into->models == PROVENANCE_MODELS ||
            !read_hash(&at, "model", into->model[into->models++]))
            return false;
    into->listed = strncmp(at, "denylist ", 9) == 0;
    if (into->listed && !read_hash(&at, "denylist", into->deny_list))
        return false;
    if (!read_text(&at, "engine", into->engine) ||
        !read_text(&at, "variant", into->variant) ||
        !read_key(&at, "node", into->node) || !read_time(&at, &into->time) ||
        !read_key(&at, "farm", into->farm))
        return false;
    const char *hex = next(&at, "signature");
    return hex && !*at && strlen(hex) == (size_t)2 * SIGNING_SIGNATURE &&
           sodium_hex2bin(signature, SIGNING_SIGNATURE, hex, strlen(hex), NULL, &size,
                          NULL) == 0 &&
           size == SIGNING_SIGNATURE;
}

bool provenance_read(const char *text, struct provenance *into, struct error *error)
{
    uint8_t signature[SIGNING_SIGNATURE];
    char *copy = strlen(text) <= PROVENANCE_LIMIT ? strdup(text) : NULL;
    const char *signed_to = strstr(text, "\nsignature ");
    *into = (struct provenance){0};
    bool ok = copy && signed_to && read_lines(copy, into, signature);
    free(copy);
    if (!ok)
        return error_set_kind(error, ERROR_INPUT,
                              "its provenance is not in a form that clfarm writes");
    return signing_verify(into->farm, PURPOSE, text, (size_t)(signed_to + 1 - text),
                          signature) ||
           error_set_kind(error, ERROR_INPUT,
                          "the signature of its provenance does not hold: it was "
                          "changed after the farm signed it");
}

bool provenance_verify(const char *text, const uint8_t farm[SIGNING_KEY],
                       const uint8_t *rgb, size_t size, struct error *error)
{
    struct provenance read;
    uint8_t found[BLOB_ID];
    if (!provenance_read(text, &read, error))
        return false;
    if (memcmp(read.farm, farm, SIGNING_KEY) != 0)
        return error_set_kind(error, ERROR_INPUT,
                              "its provenance was signed by another farm");
    blob_id(rgb, size, found);
    return memcmp(found, read.pixels, BLOB_ID) == 0 ||
           error_set_kind(error, ERROR_INPUT,
                          "its pixels are not those the farm signed");
}
