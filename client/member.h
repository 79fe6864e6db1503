/* Farms this user is a member of: path_config()/farms/NAME with a key and an address. */
#ifndef FARM_MEMBER_H
#define FARM_MEMBER_H

#include "base/buffer.h"
#include "base/error.h"
#include "proto/join.h"
#include "proto/keys.h"

/* A coordinator as a program on its machine or a member knows it (proto/places.h). */
struct farm {
    char address[128];
    uint8_t server_key[KEY_SIZE];
    char name[64];
};

/* Reads FOLDER/FILE; ERROR_NOT_FOUND when there is none. */
bool farm_load(struct farm *self, const char *folder, const char *file,
               struct error *error);

/* path_config()/farms or, with a name, the farm's folder below it; heap. ERROR_INPUT for a
 * name that could not be a folder's. */
char *member_folder(const char *name, struct error *error);

/* The names of all farms joined, sorted; heap, as many as *count. */
char **member_farms(size_t *count);

/* Joins with the token's text, under a name made of user and host, and keeps key and
 * address in the folder. `address`, where not NULL, is tried in place of the token's. What
 * a crash left half done is taken up with the same key. */
bool member_join(const char *folder, const char *token, const char *address,
                 struct joined *joined, struct error *error);

/* The text of a token given as such, as a file's name, or "-" for stdin. Appends. */
bool token_read(const char *given, struct buffer *into, struct error *error);

#endif
