/* Jobs name their models by id; people know them by name. */
#ifndef FARM_MODEL_NAMES_H
#define FARM_MODEL_NAMES_H

#include "client/session.h"

/* A copy of the job in which every model the farm still knows stands by its name, or by its
 * name and the beginning of its id where several have that name. NULL and the error when the
 * farm cannot be asked; the copy is the caller's to free. */
Farm__Job *model_names_in(const Farm__Job *job, struct session *session,
                          struct error *error);

#endif
