#include "worker/member.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/join.h"
#include "proto/places.h"

enum { JOIN_PATIENCE_MS = 10000 };

bool member_load(struct member *self, const char *state, struct error *error)
{
    *self = (struct member){0};
    if (!farm_load(&self->farm, state, PLACE_FARM, error)) {
        if (error->kind == ERROR_NOT_FOUND)
            error_set_kind(error, ERROR_NOT_FOUND,
                           "this worker is in no farm yet: farm-worker join TOKEN (a "
                           "token comes from farmctl token new --role worker)");
        return false;
    }
    char *path = path_format("%s/%s", state, PLACE_KEY);
    bool ok = keypair_load(&self->own, path, error);
    free(path);
    return ok;
}

const char *member_peer_bind(const struct member *self, const char *setting)
{
    bool local = strncmp(self->farm.address, "tcp://127.", 10) == 0 ||
                 strncmp(self->farm.address, "tcp://localhost", 15) == 0;
    if (strcmp(setting, "none") == 0)
        return NULL;
    if (strcmp(setting, "auto") == 0)
        return local ? "tcp://127.0.0.1" : "tcp://*";
    return setting;
}

void member_wipe(struct member *self)
{
    keypair_wipe(&self->own);
}

bool member_join(struct member *self, const char *state, const char *given,
                 struct error *error)
{
    struct token token;
    struct joined joined;
    char host[64] = "worker";
    gethostname(host, sizeof host - 1);
    char *key = path_format("%s/%s", state, PLACE_KEY);
    *self = (struct member){0};
    /* The key of an earlier join, perhaps cut short, is used again: the same Join by the
     * same key gets the same answer. */
    bool ok = token_read(given, &token, error) &&
              path_make_folders(state, 0700, error) &&
              keypair_keep(&self->own, key, error) &&
              join_farm(&token, &self->own, host, &joined, JOIN_PATIENCE_MS, error);
    if (ok && joined.role != FARM__ROLE__ROLE_WORKER)
        ok = error_set_kind(error, ERROR_INPUT,
                            "this token is not for workers; a worker's comes from "
                            "farmctl token new --role worker");
    if (ok) {
        self->farm = joined.farm;
        ok = farm_save(&self->farm, state, error);
    }
    free(key);
    return ok;
}
