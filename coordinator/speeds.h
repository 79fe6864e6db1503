/* How fast a device renders: measured step-pixels per second, by model, by the picture's
 * size and by how many pictures it renders at once. Pure.
 */
#ifndef FARM_SPEEDS_H
#define FARM_SPEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct speed {
    uint8_t model[32];
    uint32_t size_class; /* speeds_class of the picture's pixels */
    uint32_t batch;      /* speeds_class of the pictures at once */
    double value;        /* step-pixels per second of the whole batch, moving average */
    uint64_t images;     /* that were measured */
    bool changed;        /* since it was stored */
};

struct speeds {
    struct speed *entry; /* heap */
    size_t count, room;
    double any; /* of whatever was rendered last, moving average; 0: nothing was */
};

void speeds_clear(struct speeds *self);

/* floor(log2(count)); sizes of one class render about equally fast per pixel. */
uint32_t speeds_class(uint64_t count);

/* A picture was rendered at that speed, model load excluded. */
void speeds_measure(struct speeds *self, const uint8_t model[32], uint32_t size_class,
                    uint32_t images_at_once, double step_pixels_per_s);

/* As it was stored. */
void speeds_restore(struct speeds *self, const struct speed *stored);

/* What to expect: of this model and class with its best batch, else of this model in
 * another class, else of anything. 0: nothing was measured. */
double speeds_expect(const struct speeds *self, const uint8_t model[32],
                     uint32_t size_class);

/* Whether that is known: more than one batch of the model was measured. The first one may
 * have waited for kernels to be built. */
bool speeds_known(const struct speeds *self, const uint8_t model[32]);

/* How many pictures to render at once, at most `most`: the measured best. As long as its
 * half is not measured, or, before anything is, `most`, that is tried. */
uint32_t speeds_batch(const struct speeds *self, const uint8_t model[32],
                      uint32_t size_class, uint32_t most);

#endif
