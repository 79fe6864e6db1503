#include "worker/sd/layer_sites.h"

#include <stdlib.h>
#include <string.h>

bool layer_sites_add(struct layer_sites *self, const struct layer_site *site,
                     struct error *error)
{
    if (self->count == self->capacity) {
        size_t wider = 2 * self->capacity + 64;
        struct layer_site *grown = realloc(self->item, wider * sizeof *grown);
        if (!grown)
            return error_set_kind(error, ERROR_MEMORY, "no memory for a layer's name");
        self->item = grown;
        self->capacity = wider;
    }
    char *name = strdup(site->name);
    if (!name)
        return error_set_kind(error, ERROR_MEMORY, "no memory for a layer's name");
    self->item[self->count] = *site;
    self->item[self->count++].name = name;
    return true;
}

void layer_sites_clear(struct layer_sites *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->item[i].name);
    free(self->item);
    *self = (struct layer_sites){0};
}
