#include "proto/farm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "proto/places.h"

enum { FILE_LIMIT = 4096 };

bool farm_load(struct farm *self, const char *folder, const char *file,
               struct error *error)
{
    *self = (struct farm){0};
    char *path = path_format("%s/%s", folder, file);
    struct buffer text = {0};
    char key[64] = "", signing[64] = "";
    bool ok = path_read(path, FILE_LIMIT, &text, error);
    if (ok && sscanf(buffer_text(&text), "%127s %63s%*1[\n]%63[^\n]%*1[\n]%63s",
                     self->address, key, self->name, signing) < 2)
        ok = error_set_kind(error, ERROR_INPUT,
                            "%s: expected an address and a key, one a line", path);
    if (ok && !key_parse(key, self->server_key, error))
        ok = error_prefix(error, "%s", path);
    if (ok)
        key_parse(signing, self->signing_key, NULL);
    buffer_clear(&text);
    free(path);
    return ok;
}

bool farm_save(const struct farm *self, const char *folder, struct error *error)
{
    char *path = path_format("%s/%s", folder, PLACE_FARM);
    char key[KEY_TEXT], signing[KEY_TEXT] = "";
    key_format(self->server_key, key);
    if (signing_is_known(self->signing_key))
        key_format(self->signing_key, signing);
    char *text =
        path_format("%s\n%s\n%s\n%s\n", self->address, key, self->name, signing);
    bool ok = path_write(path, text, strlen(text), 0600, error);
    free(text);
    free(path);
    return ok;
}

bool farm_learn_key(struct farm *self, const uint8_t *key, size_t size,
                    struct error *error)
{
    if (size != SIGNING_KEY || memcmp(self->signing_key, key, SIGNING_KEY) == 0)
        return false;
    if (signing_is_known(self->signing_key))
        return error_set_kind(error, ERROR_DENIED,
                              "farm %s signs with another key than before: if its "
                              "administrator confirms that, join it anew",
                              self->name);
    memcpy(self->signing_key, key, SIGNING_KEY);
    return true;
}

char *farm_bulk_address(const struct farm *self, unsigned port)
{
    const char *colon = strrchr(self->address, ':');
    int host = colon ? (int)(colon - self->address) : (int)strlen(self->address);
    return path_format("%.*s:%u", host, self->address, port);
}
