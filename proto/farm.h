/* A farm as the programs on its machine and its members know it: what the files
 * PLACE_ADDRESS and PLACE_FARM (proto/places.h) hold, one a line: the control address, the
 * server's public key as Z85, the farm's name; PLACE_FARM also the farm's signing key. */
#ifndef FARM_FARM_H
#define FARM_FARM_H

#include "proto/keys.h"
#include "proto/signing.h"

struct farm {
    char address[128];
    uint8_t server_key[KEY_SIZE];
    char name[64];
    uint8_t signing_key[SIGNING_KEY]; /* zeros while it is not known */
};

/* Reads FOLDER/FILE; ERROR_NOT_FOUND when there is none. */
bool farm_load(struct farm *self, const char *folder, const char *file,
               struct error *error);

/* Writes FOLDER/PLACE_FARM. */
bool farm_save(const struct farm *self, const char *folder, struct error *error);

/* "tcp://host:7610" and 7611 make "tcp://host:7611"; heap. */
char *farm_bulk_address(const struct farm *self, unsigned port);

/* Takes the signing key that a Welcome names (size 0: an older farm). True when it was not
 * known before and is to be saved. ERROR_DENIED in *error when another was known: a farm
 * never changes it. */
bool farm_learn_key(struct farm *self, const uint8_t *key, size_t size,
                    struct error *error);

#endif
