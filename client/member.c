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

static bool signs(const char *folder, const uint8_t key[SIGNING_KEY], struct farm *farm)
{
    return farm_load(farm, folder, PLACE_FARM, NULL) &&
           memcmp(farm->signing_key, key, SIGNING_KEY) == 0;
}

bool member_signer(const uint8_t key[SIGNING_KEY], struct farm *farm)
{
    size_t count;
    char **names = member_farms(&count), *state = path_state();
    char *local = path_format("%s/local/client", state);
    bool found = signing_is_known(key) && signs(local, key, farm);
    for (size_t i = 0; i < count; i++) {
        char *folder = member_folder(names[i], NULL);
        found = found || (signing_is_known(key) && signs(folder, key, farm));
        free(folder);
        free(names[i]);
    }
    free(names);
    free(local);
    free(state);
    return found;
}

static char *own_name(void)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    const struct passwd *user = getpwuid(getuid());
    return path_format("%.30s@%.30s", user ? user->pw_name : "user", host);
}

bool member_join(const char *folder, const struct token *token, const char *address,
                 struct joined *joined, struct error *error)
{
    struct token tried = *token;
    struct keypair own = {0};
    char *name = own_name(), *key = path_format("%s/%s", folder, PLACE_KEY);
    if (address) {
        memset(tried.address, 0, sizeof tried.address);
        snprintf(tried.address[0], sizeof tried.address[0], "%s", address);
    }
    bool ok = path_make_folders(folder, 0700, error) &&
              keypair_keep(&own, key, error) &&
              join_farm(&tried, &own, name, joined, JOIN_PATIENCE_MS, error) &&
              farm_save(&joined->farm, folder, error);
    keypair_wipe(&own);
    free(key);
    free(name);
    return ok;
}
