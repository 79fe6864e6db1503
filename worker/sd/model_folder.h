/* A model as a folder of parts, as diffusers saves it. */
#ifndef FARM_MODEL_FOLDER_H
#define FARM_MODEL_FOLDER_H

#include "worker/sd/model.h"

/* Fills *self from model_index.json and the parts it names; what is loaded stays in *self
 * when something is wrong. */
bool model_folder_load(struct model *self, const struct model_files *files,
                       enum dtype dtype, struct error *error);

#endif
