/* The models the farm knows, by manifest. Pure but for asking which blobs are here. */
#ifndef FARM_MODELS_H
#define FARM_MODELS_H

#include <czmq.h>

#include "base/error.h"
#include "proto/files/blob.h"
#include "proto/files/manifest.h"

struct model {
    uint8_t id[BLOB_ID];
    char *name;
    Farm__Manifest *manifest;
    bool complete; /* all its files are here */
    int64_t added;
    uint64_t order; /* later ones take a name over */
};

struct models {
    zhashx_t *by_id; /* owns struct model */
    uint64_t orders;
};

void models_init(struct models *self);
void models_clear(struct models *self);

/* Takes the manifest (a copy is kept; one known by that id is given the new name). */
struct model *models_add(struct models *self, const Farm__Manifest *manifest,
                         const char *name, bool complete, int64_t added);
struct model *models_find(const struct models *self, const uint8_t id[BLOB_ID]);

/* By name, id as 64 hexadecimal digits, or a unique prefix of at least 6 of them; only
 * complete ones, and only files of that kind, or models where `kind` is NULL.
 * ERROR_NOT_FOUND lists what there is. */
struct model *models_resolve(const struct models *self, const char *kind,
                             const char *text, struct error *error);

/* The files of the model that are not in the store. */
size_t models_missing(const struct model *self, const struct blob_store *blobs);

#endif
