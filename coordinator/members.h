/* Keys and what they may do: members, and tokens that are not dead yet. Pure. */
#ifndef FARM_MEMBERS_H
#define FARM_MEMBERS_H

#include <czmq.h>

#include "base/error.h"
#include "proto/farm.pb-c.h"

enum { MEMBER_NAME = 64 };

struct member {
    uint8_t key[32];
    Farm__Role role; /* ROLE_JOIN: a token's key */
    char name[MEMBER_NAME];
    int64_t created;
    int64_t revoked; /* 0: valid */
    bool greeted;    /* was here with this key */

    /* limits.h */
    double tokens;
    int64_t filled, told;
    unsigned offences, hurried;

    /* of a token's key */
    Farm__Role grants;
    int64_t expires;
    bool used;
    uint8_t used_by[32];
};

struct members {
    zhashx_t *by_key; /* owns struct member */
};

void members_init(struct members *self);
void members_clear(struct members *self);

/* A copy is kept; of a key that is known the first one. */
struct member *members_add(struct members *self, const struct member *member);
void members_remove(struct members *self, struct member **member);
struct member *members_find(const struct members *self, const uint8_t key[32]);

/* What the key may do now: ROLE_NONE for unknown and revoked keys and expired tokens. */
Farm__Role members_role(const struct members *self, const uint8_t key[32],
                        int64_t unix_now);

/* `wanted` (or the role's name) as a name no other key bears: "iris", "iris-2", ... What
 * is not printable becomes '-'. */
void members_name(const struct members *self, const char *wanted, Farm__Role role,
                  char name[MEMBER_NAME]);

/* By name, or a prefix of the key's Z85 text of at least 4 characters. Tokens count too.
 * ERROR_NOT_FOUND, or ERROR_INPUT when it could be several. */
struct member *members_resolve(const struct members *self, const char *text,
                               struct error *error);

/* Valid keys with that role, tokens that grant it included when asked. */
size_t members_count(const struct members *self, Farm__Role role, bool tokens,
                     int64_t unix_now);

#endif
