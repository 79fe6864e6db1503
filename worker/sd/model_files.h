/* A model's files by their names in its diffusers folder; in a cache of pieces their paths
 * are hashes.
 */
#ifndef FARM_MODEL_FILES_H
#define FARM_MODEL_FILES_H

#include <stddef.h>

#include "base/error.h"

/* Names and paths are heap, owned by whoever made the list. */
struct model_file {
    char *name; /* "unet/config.json" */
    char *path; /* where it lies */
};
struct model_files {
    struct model_file *file;
    size_t count;
};

/* The folder's files, all levels, sorted by name; hidden ones and what is neither file nor
 * folder aside. ERROR_NOT_FOUND when there is no such folder, ERROR_INPUT above 4096 files
 * or 8 levels. */
bool model_files_from_folder(struct model_files *self, const char *folder,
                             struct error *error);

/* The path of one, borrowed; NULL when there is none. */
const char *model_files_path(const struct model_files *self, const char *name);

/* Puts names in the place of paths in an error's text: a path in a cache of pieces says
 * nothing, and others need not know it. Returns false. */
bool model_files_rename(const struct model_files *self, struct error *error);

/* A copy of its own, and whether two name the same files. */
void model_files_copy(struct model_files *self, const struct model_files *from);
bool model_files_same(const struct model_files *a, const struct model_files *b);

void model_files_clear(struct model_files *self);

#endif
