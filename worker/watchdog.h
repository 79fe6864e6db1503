/* When a device must be taken for stuck.
 *
 * A batch is watched from sign of life to sign of life: start, each step, end. A gap may be
 * `factor` times as long as the longest one seen before, scaled by pixels; before anything of this
 * kind was measured it may take minutes, because drivers build programs then. Pure: the
 * time is an argument.
 */
#ifndef FARM_WATCHDOG_H
#define FARM_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WATCHDOG_SHAPES = 64 };

struct watchdog {
    double factor;                   /* settings: see above; */
    int64_t least_ms, first_ms;      /* the shortest limit; the unmeasured one */
    double ms_per_pixel;             /* longest gap so far; 0: none */
    uint64_t shape[WATCHDOG_SHAPES]; /* shapes rendered since the model was loaded */
    size_t shapes;
    bool watching, known;
    uint64_t current;
    uint64_t pixels;
    int64_t last_ms, longest_ms;
};

/* A model was loaded: its programs are new to the driver. Keeps the measured speed. */
void watchdog_forget_shapes(struct watchdog *self);

/* A batch of `count` images begins; a sign of life; its end. Only a batch that ended well
 * counts as measured. */
void watchdog_start(struct watchdog *self, uint64_t width, uint64_t height,
                    size_t count, int64_t now_ms);
void watchdog_alive(struct watchdog *self, int64_t now_ms);
void watchdog_stop(struct watchdog *self, bool well, int64_t now_ms);

/* Milliseconds the present gap may last, and those left of them (0: stuck; INT64_MAX:
 * nothing is watched). */
int64_t watchdog_limit(const struct watchdog *self);
int64_t watchdog_left(const struct watchdog *self, int64_t now_ms);

#endif
