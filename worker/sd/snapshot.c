#include "worker/sd/snapshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE_MOST = 4096,
    CHANNELS_MOST = 64,
    STEPS_MOST = 100000,
    NUMBERS = 8,
    NUMBER = 8,
    MAGIC = 12,
    HEAD = MAGIC + NUMBERS * NUMBER + SNAPSHOT_TAG,
};
static const char magic[MAGIC + 1] = "clfarm half\n";

size_t snapshot_values(const struct snapshot *self)
{
    return self->c * self->h * self->w;
}

static size_t all_values(const struct snapshot *self)
{
    return (1 + SNAPSHOT_HISTORY) * snapshot_values(self);
}

bool snapshot_make(struct snapshot *self, struct error *error)
{
    self->values = calloc(all_values(self) + 1, sizeof *self->values);
    return self->values ||
           error_set_kind(error, ERROR_MEMORY, "no memory for a snapshot");
}

void snapshot_clear(struct snapshot *self)
{
    free(self->values);
    *self = (struct snapshot){0};
}

static void put_number(uint8_t *into, uint64_t value)
{
    for (int i = 0; i < NUMBER; i++)
        into[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_number(const uint8_t *from)
{
    uint64_t value = 0;
    for (int i = NUMBER; i-- > 0;)
        value = value << 8 | from[i];
    return value;
}

bool snapshot_write(const struct snapshot *self, struct buffer *into,
                    struct error *error)
{
    const uint64_t numbers[NUMBERS] = {SNAPSHOT_VERSION, self->c,    self->h,
                                       self->w,          self->step, self->steps,
                                       self->draws,      self->seed};
    uint8_t head[HEAD];
    memcpy(head, magic, MAGIC);
    for (size_t i = 0; i < NUMBERS; i++)
        put_number(head + MAGIC + i * NUMBER, numbers[i]);
    memcpy(head + MAGIC + NUMBERS * NUMBER, self->tag, SNAPSHOT_TAG);
    bool ok = buffer_append(into, head, HEAD, error);
    for (size_t i = 0; ok && i < all_values(self); i++) {
        uint32_t bits;
        memcpy(&bits, &self->values[i], sizeof bits);
        const uint8_t bytes[] = {(uint8_t)bits, (uint8_t)(bits >> 8),
                                 (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
        ok = buffer_append(into, bytes, sizeof bytes, error);
    }
    return ok;
}

static bool refuse(struct error *error, const char *why)
{
    return error_set_kind(error, ERROR_INPUT, "snapshot: %s", why);
}

static bool read_head(struct snapshot *self, const uint8_t *data, size_t size,
                      struct error *error)
{
    uint64_t number[NUMBERS];
    if (size < HEAD || memcmp(data, magic, MAGIC) != 0)
        return refuse(error, "these bytes are none");
    for (size_t i = 0; i < NUMBERS; i++)
        number[i] = get_number(data + MAGIC + i * NUMBER);
    if (number[0] != SNAPSHOT_VERSION)
        return error_set_kind(error, ERROR_INPUT,
                              "snapshot: it is of version %llu, %d is known",
                              (unsigned long long)number[0], SNAPSHOT_VERSION);
    if (number[1] < 1 || number[1] > CHANNELS_MOST || number[2] < 1 ||
        number[2] > SIDE_MOST || number[3] < 1 || number[3] > SIDE_MOST)
        return refuse(error, "its size is beyond all limits");
    if (number[5] > STEPS_MOST || number[4] > number[5] || number[6] > number[5])
        return refuse(error, "its steps do not fit each other");
    *self = (struct snapshot){.c = number[1],
                              .h = number[2],
                              .w = number[3],
                              .step = number[4],
                              .steps = number[5],
                              .draws = number[6],
                              .seed = number[7]};
    memcpy(self->tag, data + MAGIC + NUMBERS * NUMBER, SNAPSHOT_TAG);
    return true;
}

bool snapshot_read(struct snapshot *self, const void *data, size_t size,
                   struct error *error)
{
    const uint8_t *bytes = data;
    *self = (struct snapshot){0};
    if (!read_head(self, bytes, size, error))
        return false;
    size_t count = all_values(self); /* at most 64 x 4096 x 4096 x 5: no overflow */
    if (size - HEAD != count * 4)
        return refuse(error, "it is not as long as its size says");
    if (!snapshot_make(self, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = bytes + HEAD + i * 4;
        uint32_t bits = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                        (uint32_t)at[3] << 24;
        memcpy(&self->values[i], &bits, sizeof bits);
        if (!isfinite(self->values[i])) {
            snapshot_clear(self);
            return refuse(error, "it holds a value that is not finite");
        }
    }
    return true;
}
