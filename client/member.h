/* Farms this user is a member of: path_config()/farms/NAME with a key and an address. */
#ifndef FARM_MEMBER_H
#define FARM_MEMBER_H

#include "proto/join.h"

/* path_config()/farms or, with a name, the farm's folder below it; heap. ERROR_INPUT for a
 * name that could not be a folder's. */
char *member_folder(const char *name, struct error *error);

/* The names of all farms joined, sorted; heap, as many as *count. */
char **member_farms(size_t *count);

/* The farm of that signing key among those joined, the private one included. */
bool member_signer(const uint8_t key[SIGNING_KEY], struct farm *farm);

/* Joins with the token, under a name made of user and host, and keeps key and
 * address in the folder. `address`, where not NULL, is tried in place of the token's. What
 * a crash left half done is taken up with the same key. */
bool member_join(const char *folder, const struct token *token, const char *address,
                 struct joined *joined, struct error *error);

#endif
