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
    char key[64] = "";
    bool ok = path_read(path, FILE_LIMIT, &text, error);
    if (ok && sscanf(buffer_text(&text), "%127s %63s %63[^\n]", self->address, key,
                     self->name) < 2)
        ok = error_set_kind(error, ERROR_INPUT,
                            "%s: expected an address and a key, one a line", path);
    if (ok && !key_parse(key, self->server_key, error))
        ok = error_prefix(error, "%s", path);
    buffer_clear(&text);
    free(path);
    return ok;
}

bool farm_save(const struct farm *self, const char *folder, struct error *error)
{
    char *path = path_format("%s/%s", folder, PLACE_FARM);
    char key[KEY_TEXT];
    key_format(self->server_key, key);
    char *text = path_format("%s\n%s\n%s\n", self->address, key, self->name);
    bool ok = path_write(path, text, strlen(text), 0600, error);
    free(text);
    free(path);
    return ok;
}
