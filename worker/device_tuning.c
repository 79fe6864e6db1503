/* What the device measured of its kernels, and what others of its kind did. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "worker/device_private.h"

void device_tell_tuned(struct device *self, const struct tuned *tuned)
{
    if (self->tuning)
        tuning_learn(self->tuning, tuned);
    if (self->greeted && self->tuning)
        control_tuning(self->link, self->tuning, tuned, 1);
}

void device_ask_tuning(struct device *self)
{
    if (self->tuning)
        control_tuning(self->link, self->tuning, NULL, 0);
}

static bool read_result(const Farm__Tuned *told, struct tuned *into)
{
    char *shape = wire_string(told->shape), *variant = wire_string(told->variant);
    bool ok = tuned_read(into, shape, variant, told->gain, told->at);
    free(shape);
    free(variant);
    return ok;
}

/* What the farm does not know yet, is told; what it knows and we do not, is taken. */
void device_on_tuning(struct device *self, const Farm__Tuning *message)
{
    if (!self->tuning ||
        memcmp(message->identity.data, self->tuning->identity, TUNING_IDENTITY) != 0)
        return;
    struct tuning *farms = tuning_new(self->tuning->identity);
    struct tuned *ours = calloc(TUNED_MOST, sizeof *ours);
    size_t count = 0, strange = 0;
    if (!ours)
        abort();
    for (size_t i = 0; i < message->n_results; i++) {
        struct tuned tuned;
        if (read_result(message->results[i], &tuned))
            tuning_learn(farms, &tuned);
        else
            strange++;
    }
    if (strange)
        log_warn("%zu results of tuning name nothing this worker has", strange);
    for (size_t i = 0; i < self->tuning->count; i++)
        if (self->tuning->tuned[i].own &&
            !tuning_find(farms, &self->tuning->tuned[i].shape))
            ours[count++] = self->tuning->tuned[i];
    if (count)
        control_tuning(self->link, self->tuning, ours, count);
    if (farms->count)
        render_tuned(self->render, farms->tuned, farms->count);
    free(ours);
    tuning_destroy(&farms);
}
