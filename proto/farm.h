/* A farm as the programs on its machine and its members know it: what the files
 * PLACE_ADDRESS and PLACE_FARM (proto/places.h) hold, one a line: the control address, the
 * server's public key as Z85, the farm's name. */
#ifndef FARM_FARM_H
#define FARM_FARM_H

#include "proto/keys.h"

struct farm {
    char address[128];
    uint8_t server_key[KEY_SIZE];
    char name[64];
};

/* Reads FOLDER/FILE; ERROR_NOT_FOUND when there is none. */
bool farm_load(struct farm *self, const char *folder, const char *file,
               struct error *error);

/* Writes FOLDER/PLACE_FARM. */
bool farm_save(const struct farm *self, const char *folder, struct error *error);

#endif
