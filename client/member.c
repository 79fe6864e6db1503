#include "client/member.h"

#include <dirent.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/places.h"

enum { JOIN_PATIENCE_MS = 10000 };

bool farm_load(struct farm *self, const char *folder, const char *file,
               struct error *error)
{
    *self = (struct farm){0};
    char *path = path_format("%s/%s", folder, file);
    struct buffer text = {0};
    char key[64] = "";
    bool ok = path_read(path, 4096, &text, error);
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

static bool farm_save(const struct farm *self, const char *folder, struct error *error)
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

static bool is_folder_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return *name && *name != '.' && !name[strspn(name, allowed)] && strlen(name) < 64;
}

char *member_folder(const char *name, struct error *error)
{
    if (name && !is_folder_name(name)) {
        error_set_kind(error, ERROR_INPUT,
                       "\"%.60s\" cannot be a farm's name here: letters, digits, dot, "
                       "dash and underscore can",
                       name);
        return NULL;
    }
    char *config = path_config();
    char *folder = path_format(name ? "%s/farms/%s" : "%s/farms", config, name);
    free(config);
    return folder;
}

static int has_farm(const struct dirent *entry)
{
    if (!is_folder_name(entry->d_name))
        return 0;
    char *folder = member_folder(entry->d_name, NULL);
    char *file = path_format("%s/%s", folder, PLACE_FARM);
    int found = access(file, F_OK) == 0;
    free(file);
    free(folder);
    return found;
}

char **member_farms(size_t *count)
{
    struct dirent **entry = NULL;
    char *folder = member_folder(NULL, NULL);
    int found = scandir(folder, &entry, has_farm, alphasort);
    free(folder);
    *count = found > 0 ? (size_t)found : 0;
    char **names = calloc(*count + 1, sizeof *names);
    for (size_t i = 0; i < *count; i++) {
        if (names)
            names[i] = path_format("%s", entry[i]->d_name);
        free(entry[i]);
    }
    free(entry);
    return names;
}

/* The key of the folder, made when there is none. */
static bool own_key(const char *folder, struct keypair *own, struct error *error)
{
    char *path = path_format("%s/%s", folder, PLACE_KEY);
    bool ok = path_make_folders(folder, 0700, error);
    if (ok && access(path, F_OK) == 0)
        ok = keypair_load(own, path, error);
    else
        ok = ok && keypair_make(own, error) && keypair_save(own, path, error);
    free(path);
    return ok;
}

static char *own_name(void)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    const struct passwd *user = getpwuid(getuid());
    return path_format("%.30s@%.30s", user ? user->pw_name : "user", host);
}

bool member_join(const char *folder, const char *token, const char *address,
                 struct joined *joined, struct error *error)
{
    struct token parsed;
    struct keypair own = {0};
    char *name = own_name();
    bool ok = token_parse(token, &parsed, error);
    if (ok && address) {
        memset(parsed.address, 0, sizeof parsed.address);
        snprintf(parsed.address[0], sizeof parsed.address[0], "%s", address);
    }
    ok = ok && own_key(folder, &own, error) &&
         join_farm(&parsed, &own, name, joined, JOIN_PATIENCE_MS, error);
    if (ok) {
        struct farm farm = {0};
        snprintf(farm.address, sizeof farm.address, "%s", joined->address);
        snprintf(farm.name, sizeof farm.name, "%s", joined->farm);
        memcpy(farm.server_key, joined->server_key, KEY_SIZE);
        ok = farm_save(&farm, folder, error);
    }
    keypair_wipe(&own);
    free(name);
    return ok;
}

bool token_read(const char *given, struct buffer *into, struct error *error)
{
    bool ok = true;
    if (!strcmp(given, "-"))
        ok = path_read("/dev/stdin", TOKEN_TEXT, into, error);
    else if (strncmp(given, "clfarm1-", 8))
        ok = path_read(given, TOKEN_TEXT, into, error);
    else
        ok = buffer_append(into, given, strlen(given), error);
    if (!ok && error->kind == ERROR_NOT_FOUND)
        return error_set_kind(error, ERROR_INPUT,
                              "\"%.60s\" is neither a token (they begin with clfarm1-) "
                              "nor a file that holds one",
                              given);
    buffer_text(into);
    while (ok && into->size && strchr(" \r\n\t", into->data[into->size - 1]))
        into->size--;
    return ok;
}
