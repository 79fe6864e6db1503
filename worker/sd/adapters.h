/* LoRA files on a loaded model.
 *
 * The layers a set of files changes get packed weights of their own, computed in float32
 * from the mapped file: never by taking something off again. The last few sets stay on the
 * device, so that jobs that alternate between them only exchange pointers.
 */
#ifndef FARM_ADAPTERS_H
#define FARM_ADAPTERS_H

#include "worker/sd/model.h"
#include "worker/sd/request_files.h"

struct adapters;

/* The model is borrowed for the life of it. */
struct adapters *adapters_new(struct model *model, struct error *error);
void adapters_destroy(struct adapters **self);

/* From here on the model's weights are those with these files, in this order; none: its
 * own. *set differs between sets of different content (0: none); a path means the same
 * content as long as the model is loaded. ERROR_INPUT names file and key of what does not
 * fit the model; it is then without adapters. */
bool adapters_set(struct adapters *self, const struct adapter_use *uses, size_t count,
                  uint64_t *set, struct error *error);

/* Forgets the sets that are not in use; false where there were none. */
bool adapters_trim(struct adapters *self);

#endif
