/* Files of named tensors in the safetensors format: mapped, strictly checked, listed.
 *
 * Format: https://github.com/huggingface/safetensors: 8 bytes header length, JSON, data.
 * Refused: header above 8 MiB, offsets outside the file, overlapping or with holes, sizes
 * that do not fit dtype and shape, more than 4 dimensions, duplicate names.
 */
#ifndef FARM_TENSOR_FILE_H
#define FARM_TENSOR_FILE_H

#include <stddef.h>

#include "base/error.h"

struct tensor_file;

struct tensor_entry {
    char *name;
    const char *type; /* "F32", "BF16", ...: the format's own words */
    size_t dims, shape[4];
    size_t begin, end; /* from the start of the data */
};

/* ERROR_NOT_FOUND when there is none, ERROR_INPUT naming the file for all that is wrong. */
struct tensor_file *tensor_file_open(const char *path, struct error *error);
void tensor_file_close(struct tensor_file **self);

const char *tensor_file_path(const struct tensor_file *self);
size_t tensor_file_count(const struct tensor_file *self);

/* What the header's __metadata__ says under a key; NULL: nothing. */
const char *tensor_file_metadata(const struct tensor_file *self, const char *key);

/* Sorted by name. */
const struct tensor_entry *tensor_file_at(const struct tensor_file *self, size_t i);

/* NULL when there is no tensor of that name. */
const struct tensor_entry *tensor_file_find(const struct tensor_file *self,
                                            const char *name);

/* end - begin bytes of the mapping. */
const void *tensor_file_data(const struct tensor_file *self,
                             const struct tensor_entry *entry);

#endif
