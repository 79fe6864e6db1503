/* The models and files of tasks a device knows of: which are here, which were used last. */
#ifndef FARM_MODELS_H
#define FARM_MODELS_H

#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"
#include "worker/sd/pipeline.h"

enum { MODELS_MOST = 384 };

struct model {
    uint8_t id[BLOB_ID];
    bool listed;              /* a model, and the cache has every file of it */
    bool wanted;              /* the I/O actor was asked for it */
    uint64_t request;         /* of the ModelGet under way; 0: none */
    Farm__Manifest *manifest; /* with files: ready to be rendered with; NULL before */
    struct model_files files;
};

/* The first is the one used last. */
struct models {
    struct model *item[MODELS_MOST]; /* heap, owned */
    size_t count;
};

void models_clear(struct models *self);

/* The model of that id, made when it is new; then the one least used that nobody waits for
 * is forgotten when there are too many. NULL: all are waited for. */
struct model *models_get(struct models *self, const uint8_t id[BLOB_ID]);
struct model *models_find(const struct models *self, const uint8_t id[BLOB_ID]);
struct model *models_asked(const struct models *self, uint64_t request);

/* Moves it to the front. */
void models_use(struct models *self, struct model *model);

/* Takes files and manifest over and nulls them. */
void model_fill(struct model *self, struct model_files *files,
                Farm__Manifest **manifest);

/* The files may go from the cache: they are to be asked for again. */
void model_empty(struct model *self);

#endif
