#include "worker/patience.h"

#include "proto/files/transfer.h"

enum {
    RANGES = 4,       /* a link may be silent for as long as so many ranges take it */
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

void patience_expect(struct patience *self, const struct patience *other)
{
    self->took_ms = other->took_ms;
    self->bytes = other->bytes;
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
    self->took_ms = self->took_ms / 2 + took;
    self->bytes = self->bytes / 2 + (double)size;
    self->limit_ms = self->least_ms;
}

bool patience_ends(struct patience *self, size_t awaited, int64_t now_ms)
{
    size_t next = awaited < TRANSFER_FRAME ? awaited : TRANSFER_FRAME;
    double takes = self->bytes > 0 ? self->took_ms / self->bytes * (double)next : 0;
    int64_t measured = within(self, RANGES * takes);
    int64_t limit = measured > self->limit_ms ? measured : self->limit_ms;
    if (now_ms - self->silent_ms <= limit)
        return false;
    self->silent_ms = now_ms;
    self->limit_ms = within(self, 2 * (double)limit);
    return true;
}
