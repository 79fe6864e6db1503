#include "coordinator/speeds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The weight of a new value once some were seen; the first ones count equally, but for what
 * made the first batch slow. */
static const double WEIGHT = 0.2;

static const uint64_t MEASURED = 2; /* batches before their size is judged */

void speeds_clear(struct speeds *self)
{
    free(self->entry);
    *self = (struct speeds){0};
}

uint32_t speeds_class(uint64_t count)
{
    uint32_t class = 0;
    while (count >>= 1)
        class ++;
    return class;
}

static struct speed *find(const struct speeds *self, const uint8_t model[32],
                          uint32_t size_class, uint32_t batch)
{
    for (size_t e = 0; e < self->count; e++) {
        struct speed *entry = &self->entry[e];
        if (entry->size_class == size_class && entry->batch == batch &&
            memcmp(entry->model, model, 32) == 0)
            return entry;
    }
    return NULL;
}

void speeds_restore(struct speeds *self, const struct speed *stored)
{
    if (self->count == self->room) {
        self->room = self->room ? 2 * self->room : 8;
        self->entry = realloc(self->entry, self->room * sizeof *self->entry);
        if (!self->entry)
            abort();
    }
    self->entry[self->count++] = *stored;
    if (self->any <= 0)
        self->any = stored->value;
}

static double averaged(double old, double new, uint64_t seen)
{
    double weight = 1 / (double)(seen + 1);
    weight = weight > WEIGHT ? weight : WEIGHT;
    return (1 - weight) * old + weight * new;
}

void speeds_measure(struct speeds *self, const uint8_t model[32], uint32_t size_class,
                    uint32_t images_at_once, double step_pixels_per_s)
{
    if (!isfinite(step_pixels_per_s) || step_pixels_per_s <= 0)
        return;
    uint32_t batch = speeds_class(images_at_once ? images_at_once : 1);
    struct speed *entry = find(self, model, size_class, batch);
    if (!entry) {
        struct speed fresh = {.size_class = size_class, .batch = batch};
        memcpy(fresh.model, model, sizeof fresh.model);
        speeds_restore(self, &fresh);
        entry = &self->entry[self->count - 1];
    }
    bool warm = entry->images < MEASURED << batch && step_pixels_per_s > entry->value;
    entry->value = warm ? step_pixels_per_s
                        : averaged(entry->value, step_pixels_per_s, entry->images);
    entry->images++;
    entry->changed = true;
    self->any =
        averaged(self->any, step_pixels_per_s, self->any > 0 ? entry->images : 0);
}

double speeds_expect(const struct speeds *self, const uint8_t model[32],
                     uint32_t size_class)
{
    double best = 0;
    uint32_t nearest = UINT32_MAX;
    for (size_t e = 0; e < self->count; e++) {
        const struct speed *entry = &self->entry[e];
        if (memcmp(entry->model, model, 32) != 0)
            continue;
        uint32_t away = entry->size_class > size_class ? entry->size_class - size_class
                                                       : size_class - entry->size_class;
        if (away > nearest || (away == nearest && entry->value <= best))
            continue;
        nearest = away;
        best = entry->value;
    }
    return nearest == UINT32_MAX ? self->any : best;
}

bool speeds_known(const struct speeds *self, const uint8_t model[32])
{
    for (size_t e = 0; e < self->count; e++)
        if (memcmp(self->entry[e].model, model, 32) == 0 &&
            self->entry[e].images > 1u << self->entry[e].batch)
            return true;
    return false;
}

static bool is_judged(const struct speed *entry)
{
    return entry && entry->images >= MEASURED << entry->batch;
}

uint32_t speeds_batch(const struct speeds *self, const uint8_t model[32],
                      uint32_t size_class, uint32_t most)
{
    uint32_t top = speeds_class(most ? most : 1), best = top;
    for (uint32_t batch = 0; batch <= top; batch++) {
        const struct speed *entry = find(self, model, size_class, batch);
        const struct speed *leader = find(self, model, size_class, best);
        if (is_judged(entry) && is_judged(leader) && entry->value > leader->value)
            best = batch;
    }
    if (!is_judged(find(self, model, size_class, top)))
        return most;
    if (best > 0 && !is_judged(find(self, model, size_class, best - 1)))
        best--;
    return best == top ? most : 1u << best;
}
