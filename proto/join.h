/* Becoming a member: a token and a key of one's own against a place in a farm. */
#ifndef FARM_JOIN_H
#define FARM_JOIN_H

#include "proto/farm.h"
#include "proto/farm.pb-c.h"

struct joined {
    Farm__Role role;
    char name[64];    /* the one the farm gave, made unique there */
    struct farm farm; /* its address is the one of the token's that answered */
};

/* Connects to the token's addresses in turn with the token's key and asks to let `own` in
 * under `name`. Save `own` first: the same Join may be repeated by the same key until the
 * token expires, and gets the same answer.
 * ERROR_INPUT: the token expired; ERROR_DENIED: it was used, withdrawn, or the server's key
 * is another; ERROR_UNREACHABLE: no address answered within timeout_ms. */
bool join_farm(const struct token *token, const struct keypair *own, const char *name,
               struct joined *out, int timeout_ms, struct error *error);

#endif
