#include "coordinator/members.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/table.h"
#include "proto/keys.h"

void members_init(struct members *self)
{
    self->by_key = table_new(32);
}

void members_clear(struct members *self)
{
    for (void *m = zhashx_first(self->by_key); m; m = zhashx_next(self->by_key))
        free(m);
    zhashx_destroy(&self->by_key);
}

struct member *members_add(struct members *self, const struct member *member)
{
    struct member *known = zhashx_lookup(self->by_key, member->key);
    struct member *copy = known ? NULL : malloc(sizeof *copy);
    if (known)
        return known;
    if (!copy)
        abort();
    *copy = *member;
    zhashx_insert(self->by_key, copy->key, copy);
    return copy;
}

void members_remove(struct members *self, struct member **member)
{
    zhashx_delete(self->by_key, (*member)->key);
    free(*member);
    *member = NULL;
}

struct member *members_find(const struct members *self, const uint8_t key[32])
{
    return zhashx_lookup(self->by_key, key);
}

static bool is_valid(const struct member *member, int64_t unix_now)
{
    return !member->revoked &&
           (member->role != FARM__ROLE__ROLE_JOIN || unix_now < member->expires);
}

Farm__Role members_role(const struct members *self, const uint8_t key[32],
                        int64_t unix_now)
{
    const struct member *member = members_find(self, key);
    return member && is_valid(member, unix_now) ? member->role : FARM__ROLE__ROLE_NONE;
}

static const char *role_word(Farm__Role role)
{
    static const char *const words[] = {
        [FARM__ROLE__ROLE_ADMIN] = "admin",   [FARM__ROLE__ROLE_SUBMIT] = "client",
        [FARM__ROLE__ROLE_WORKER] = "worker", [FARM__ROLE__ROLE_OBSERVER] = "observer",
        [FARM__ROLE__ROLE_JOIN] = "token",
    };
    size_t index = (size_t)role;
    return index < sizeof words / sizeof words[0] && words[index] ? words[index]
                                                                  : "key";
}

static bool is_taken(const struct members *self, const char *name)
{
    for (struct member *m = zhashx_first(self->by_key); m;
         m = zhashx_next(self->by_key))
        if (m->role != FARM__ROLE__ROLE_JOIN && strcmp(m->name, name) == 0)
            return true;
    return false;
}

void members_name(const struct members *self, const char *wanted, Farm__Role role,
                  char name[MEMBER_NAME])
{
    char base[MEMBER_NAME - 12];
    snprintf(base, sizeof base, "%s", wanted && wanted[0] ? wanted : role_word(role));
    for (char *c = base; *c; c++)
        if (*c <= ' ' || *c == ':' || *c == '/' || (unsigned char)*c >= 127)
            *c = '-';
    snprintf(name, MEMBER_NAME, "%s", base);
    for (unsigned number = 2; is_taken(self, name); number++)
        snprintf(name, MEMBER_NAME, "%s-%u", base, number);
}

struct member *members_resolve(const struct members *self, const char *text,
                               struct error *error)
{
    struct member *found = NULL;
    size_t length = strlen(text), count = 0;
    for (struct member *m = zhashx_first(self->by_key); m;
         m = zhashx_next(self->by_key)) {
        char key[KEY_TEXT];
        key_format(m->key, key);
        if (strcmp(m->name, text) == 0 && !m->revoked) {
            found = m;
            count = 1;
            if (m->role != FARM__ROLE__ROLE_JOIN)
                break;
        } else if (length >= 4 && strncmp(key, text, length) == 0) {
            found = m;
            count++;
        }
    }
    if (count == 1)
        return found;
    error_set_kind(error, count ? ERROR_INPUT : ERROR_NOT_FOUND,
                   count ? "%zu keys begin with \"%.60s\"; give more of the one meant"
                         : "%zu keys match \"%.60s\"; `farmctl keys` lists them",
                   count, text);
    return NULL;
}

size_t members_count(const struct members *self, Farm__Role role, bool tokens,
                     int64_t unix_now)
{
    size_t count = 0;
    for (struct member *m = zhashx_first(self->by_key); m;
         m = zhashx_next(self->by_key))
        if (is_valid(m, unix_now))
            count += m->role == role || (tokens && m->role == FARM__ROLE__ROLE_JOIN &&
                                         !m->used && m->grants == role);
    return count;
}
