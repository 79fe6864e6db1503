/* What manifest_folder.c, manifest_single.c and manifest_describe.c share. */
#ifndef FARM_MANIFEST_MODEL_H
#define FARM_MANIFEST_MODEL_H

#include <jansson.h>

#include "proto/files/manifest.h"

/* The object in FOLDER/PATH; NULL and ERROR_INPUT when there is none. */
json_t *manifest_json(const char *folder, const char *path, struct error *error);

/* The class of a part in model_index.json; NULL: the model has no such part. */
const char *manifest_part_class(const json_t *index, const char *part);

/* The folder a part's files lie in: "unet/", or "" in the root when `folder` has no folder of
 * that name. */
const char *manifest_part_place(const char *folder, const char *part);

/* Fills family, reason, factor and default size from the configurations in the folder. */
bool manifest_describe(Farm__Manifest *into, const char *folder, const json_t *index,
                       struct error *error);

/* Sets family and reason. */
void manifest_set_family(Farm__Manifest *into, const char *family, const char *reason);

/* Sets factor and default size from a side in latents; ERROR_INPUT naming `source` when that
 * is too much. */
bool manifest_set_size(Farm__Manifest *into, const char *source, uint32_t factor,
                       int64_t width, int64_t height, uint32_t scale,
                       struct error *error);

#endif
