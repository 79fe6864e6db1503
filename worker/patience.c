#include "worker/patience.h"

#include "proto/files/transfer.h"

enum {
    FRAMES = 4,       /* a link may be silent for as long as so many frames take it */
    MOST_MS = 600000, /* but for no longer */
};

static int64_t within(const struct patience *self, double limit_ms)
{
    return limit_ms < (double)self->least_ms ? self->least_ms
           : limit_ms > MOST_MS              ? MOST_MS
                                             : (int64_t)limit_ms;
}

void patience_init(struct patience *self, int64_t least_ms, int64_t now_ms)
{
    *self = (struct patience){.least_ms = least_ms, .limit_ms = least_ms};
    patience_rest(self, now_ms);
}

void patience_rest(struct patience *self, int64_t now_ms)
{
    self->heard_ms = self->silent_ms = now_ms;
}

void patience_heard(struct patience *self, size_t size, int64_t now_ms)
{
    double took = (double)(now_ms - self->heard_ms);
    patience_rest(self, now_ms);
    if (!size)
        return;
    double measured = took / (double)size, before = self->ms_per_byte;
    self->ms_per_byte = before > 0 ? (before + measured) / 2 : measured;
    self->limit_ms = within(self, FRAMES * TRANSFER_FRAME * self->ms_per_byte);
}

bool patience_ends(struct patience *self, int64_t now_ms)
{
    if (now_ms - self->silent_ms <= self->limit_ms)
        return false;
    self->silent_ms = now_ms;
    self->limit_ms = within(self, 2 * (double)self->limit_ms);
    return true;
}
