#include "worker/sd/residents.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct pipeline *residents_find(struct residents *self, const uint8_t id[32],
                                enum dtype dtype)
{
    size_t i = 0;
    while (i < self->count && (self->item[i].dtype != dtype ||
                               memcmp(self->item[i].id, id, sizeof self->item[i].id)))
        i++;
    if (i == self->count)
        return NULL;
    struct resident found = self->item[i];
    memmove(&self->item[1], &self->item[0], i * sizeof found);
    self->item[0] = found;
    return found.pipeline;
}

struct pipeline *residents_first(const struct residents *self, const uint8_t id[32],
                                 enum dtype dtype)
{
    const struct resident *first = &self->item[0];
    bool same = self->count && first->dtype == dtype &&
                memcmp(first->id, id, sizeof first->id) == 0;
    return same ? first->pipeline : NULL;
}

size_t residents_planned(const struct residents *self)
{
    size_t planned = 0, taken = gpu_allocated(self->gpu);
    for (size_t i = 0; i < self->count; i++)
        planned += self->item[i].bytes;
    return planned > taken ? planned : taken;
}

static void drop_last(struct residents *self)
{
    pipeline_destroy(&self->item[--self->count].pipeline);
}

/* Not the one in use. */
static bool make_room(void *owner)
{
    struct residents *self = owner;
    if (self->count < 2)
        return false;
    drop_last(self);
    return true;
}

/* What the machine has left for all its programs; much where it does not say. */
static size_t host_spares(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    size_t kib = SIZE_MAX >> 10;
    char line[128];
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %zu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib << 10;
}

/* A processor's memory is the machine's, and not this program's alone. */
static bool holds(const struct residents *self, size_t bytes)
{
    const struct gpu_info *info = gpu_info(self->gpu);
    size_t taken = gpu_allocated(self->gpu);
    return taken <= info->memory && bytes <= info->memory - taken &&
           (!info->is_cpu || bytes <= host_spares());
}

struct pipeline *residents_bring(struct residents *self, const uint8_t id[32],
                                 enum dtype dtype, const struct model_files *files,
                                 size_t bytes, struct error *error)
{
    struct error why = {0};
    struct pipeline *pipeline = NULL;
    while (self->count && (self->count == RESIDENTS_MOST || !holds(self, bytes)))
        drop_last(self);
    while (!(pipeline = pipeline_load(self->gpu, files, dtype, &why)) &&
           why.kind == ERROR_MEMORY && self->count)
        drop_last(self);
    if (!pipeline) {
        if (error)
            *error = why;
        return NULL;
    }
    pipeline_on_shortage(pipeline, make_room, self);
    memmove(&self->item[1], &self->item[0], self->count * sizeof *self->item);
    self->item[0] =
        (struct resident){.dtype = dtype, .bytes = bytes, .pipeline = pipeline};
    memcpy(self->item[0].id, id, sizeof self->item[0].id);
    self->count++;
    return pipeline;
}

void residents_clear(struct residents *self)
{
    while (self->count)
        drop_last(self);
}
