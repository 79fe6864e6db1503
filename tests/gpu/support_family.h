/* The tiny models of tests/golden/families: their weights are invented, not stored. */
#ifndef FARM_SUPPORT_FAMILY_H
#define FARM_SUPPORT_FAMILY_H

#include "tests/gpu/support_model.h"
#include "worker/sd/model_files.h"
#include "worker/sd/resize.h"

struct family {
    json_t *golden; /* families/NAME.json */
    struct model_files files;
    char *folder; /* where they lie */
};

/* Writes the files of families/NAME.json into a folder of their own. */
void family_open(struct family *self, const char *name);
void family_close(struct family *self);

/* Tensor of families/NAME.safetensors. */
struct golden_tensor family_tensor(const char *name, const char *tensor);

/* The bytes of that name, for a run that begins with a picture; heap. */
struct pixels invented_picture(const char *name, size_t width, size_t height);

#endif
