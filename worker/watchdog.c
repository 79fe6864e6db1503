#include "worker/watchdog.h"

static bool is_known(const struct watchdog *self, uint64_t shape)
{
    for (size_t i = 0; i < self->shapes && i < WATCHDOG_SHAPES; i++)
        if (self->shape[i] == shape)
            return true;
    return false;
}

void watchdog_forget_shapes(struct watchdog *self)
{
    self->shapes = 0;
}

void watchdog_start(struct watchdog *self, uint64_t width, uint64_t height,
                    size_t count, int64_t now_ms)
{
    self->watching = true;
    self->pixels = width * height * count;
    self->current = width << 40 | height << 16 | count;
    self->known = is_known(self, self->current);
    self->last_ms = now_ms;
    self->longest_ms = 0;
}

void watchdog_alive(struct watchdog *self, int64_t now_ms)
{
    if (now_ms - self->last_ms > self->longest_ms)
        self->longest_ms = now_ms - self->last_ms;
    self->last_ms = now_ms;
}

void watchdog_stop(struct watchdog *self, bool well, int64_t now_ms)
{
    watchdog_alive(self, now_ms);
    if (self->watching && well && self->pixels) {
        double gap = (double)self->longest_ms / (double)self->pixels;
        /* a first batch also built programs: its gaps say nothing when better are known */
        if (self->known ? gap > self->ms_per_pixel : self->ms_per_pixel <= 0)
            self->ms_per_pixel = gap;
        if (!self->known)
            self->shape[self->shapes++ % WATCHDOG_SHAPES] = self->current;
    }
    self->watching = false;
}

int64_t watchdog_limit(const struct watchdog *self)
{
    if (!self->known)
        return self->first_ms;
    double limit = self->factor * self->ms_per_pixel * (double)self->pixels;
    return limit > (double)self->least_ms ? (int64_t)limit : self->least_ms;
}

int64_t watchdog_left(const struct watchdog *self, int64_t now_ms)
{
    if (!self->watching)
        return INT64_MAX;
    int64_t left = self->last_ms + watchdog_limit(self) - now_ms;
    return left > 0 ? left : 0;
}
