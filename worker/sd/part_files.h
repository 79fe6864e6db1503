/* Which of a folder's files hold a part's weights. */
#ifndef FARM_PART_FILES_H
#define FARM_PART_FILES_H

#include "worker/sd/checkpoint.h"

/* Opens FOLDER/STEM.safetensors, else its f16 variant, else the shards that the index of
 * either names; an empty folder is the root. ERROR_INPUT when there is none of them. */
struct checkpoint *part_files_open(const struct model_files *files, const char *folder,
                                   const char *stem, struct error *error);

/* FOLDER/NAME, or NAME in the root; heap. */
char *part_files_name(const char *folder, const char *name);

/* The file of that name, which a model must have: ERROR_INPUT without. */
const char *part_files_need(const struct model_files *files, const char *name,
                            struct error *error);

#endif
