/* A model in one file, with the names the original programs gave its tensors. */
#ifndef FARM_MODEL_SINGLE_H
#define FARM_MODEL_SINGLE_H

#include "worker/sd/model.h"

/* The one file of a model that is no folder; NULL for a folder. */
const struct model_file *model_single_file(const struct model_files *files);

/* Fills *self; what is loaded stays in *self when something is wrong. Tokenizer and schedule
 * are the family's. */
bool model_single_load(struct model *self, const struct model_file *file,
                       enum dtype dtype, struct error *error);

#endif
