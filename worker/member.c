#include "worker/member.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/join.h"
#include "proto/places.h"

enum { JOIN_PATIENCE_MS = 10000, TOKEN_LIMIT = 4096, FARM_LIMIT = 4096 };

static bool load_farm(struct member *self, const char *state, struct error *error)
{
    char *path = path_format("%s/%s", state, PLACE_FARM);
    struct buffer text = {0};
    struct error missing = {0};
    char key[64] = "";
    bool ok = path_read(path, FARM_LIMIT, &text, &missing);
    if (!ok)
        error_set_kind(error, missing.kind,
                       missing.kind == ERROR_NOT_FOUND
                           ? "this worker is in no farm yet: farm-worker join TOKEN (a "
                             "token comes from farmctl token new --role worker)"
                           : "%s",
                       missing.text);
    else if (sscanf(buffer_text(&text), "%127s %63s %63[^\n]", self->address, key,
                    self->farm) < 2)
        ok = error_set_kind(error, ERROR_INPUT,
                            "%s: expected an address and a key, one a line; join again",
                            path);
    if (ok && !key_parse(key, self->server_key, error))
        ok = error_prefix(error, "%s", path);
    buffer_clear(&text);
    free(path);
    return ok;
}

bool member_load(struct member *self, const char *state, struct error *error)
{
    *self = (struct member){0};
    char *path = path_format("%s/%s", state, PLACE_KEY);
    bool ok = load_farm(self, state, error) && keypair_load(&self->own, path, error);
    free(path);
    return ok;
}

void member_wipe(struct member *self)
{
    keypair_wipe(&self->own);
}

static bool save_farm(const struct member *self, const char *state, struct error *error)
{
    char *path = path_format("%s/%s", state, PLACE_FARM);
    char key[KEY_TEXT];
    key_format(self->server_key, key);
    char *text = path_format("%s\n%s\n%s\n", self->address, key, self->farm);
    bool ok = path_write(path, text, strlen(text), 0600, error);
    free(text);
    free(path);
    return ok;
}

/* The key of an earlier join, perhaps cut short, is used again: the same Join by the same
 * key gets the same answer. */
static bool own_key(struct keypair *own, const char *state, struct error *error)
{
    char *path = path_format("%s/%s", state, PLACE_KEY);
    bool ok = path_make_folders(state, 0700, error);
    if (ok && access(path, F_OK) == 0)
        ok = keypair_load(own, path, error);
    else
        ok = ok && keypair_make(own, error) && keypair_save(own, path, error);
    free(path);
    return ok;
}

static bool read_stdin(struct buffer *into, struct error *error)
{
    for (;;) {
        uint8_t *room = buffer_room(into, TOKEN_LIMIT, error);
        ssize_t got = room ? read(STDIN_FILENO, room, TOKEN_LIMIT) : -1;
        if (got <= 0)
            return got == 0;
        into->size += (size_t)got;
        if (into->size > TOKEN_LIMIT)
            return error_set_kind(error, ERROR_INPUT, "stdin: too long for a token");
    }
}

static bool read_token(const char *given, struct token *token, struct error *error)
{
    struct buffer text = {0};
    bool ok;
    if (strcmp(given, "-") == 0)
        ok = read_stdin(&text, error);
    else if (access(given, F_OK) == 0)
        ok = path_read(given, TOKEN_LIMIT, &text, error);
    else
        ok = buffer_append(&text, given, strlen(given), error);
    ok = ok && token_parse(buffer_text(&text), token, error);
    buffer_clear(&text);
    return ok;
}

bool member_join(struct member *self, const char *state, const char *given,
                 struct error *error)
{
    struct token token = {0};
    struct joined joined;
    char host[64] = "worker";
    gethostname(host, sizeof host - 1);
    *self = (struct member){0};
    bool ok = read_token(given, &token, error) && own_key(&self->own, state, error) &&
              join_farm(&token, &self->own, host, &joined, JOIN_PATIENCE_MS, error);
    if (ok && joined.role != FARM__ROLE__ROLE_WORKER)
        ok = error_set_kind(error, ERROR_INPUT,
                            "this token is not for workers; a worker's comes from "
                            "farmctl token new --role worker");
    if (ok) {
        snprintf(self->address, sizeof self->address, "%s", joined.address);
        snprintf(self->farm, sizeof self->farm, "%s", joined.farm);
        memcpy(self->server_key, joined.server_key, KEY_SIZE);
        ok = save_farm(self, state, error);
    }
    return ok;
}
