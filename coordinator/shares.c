#include "coordinator/shares.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/table.h"

static const double HALF_LIFE_S = 24 * 3600;

void shares_init(struct shares *self)
{
    self->by_submitter = table_new(32);
}

void shares_clear(struct shares *self)
{
    for (void *s = zhashx_first(self->by_submitter); s;
         s = zhashx_next(self->by_submitter))
        free(s);
    zhashx_destroy(&self->by_submitter);
}

struct share *shares_of(struct shares *self, const uint8_t submitter[32])
{
    struct share *share = zhashx_lookup(self->by_submitter, submitter);
    if (share)
        return share;
    share = calloc(1, sizeof *share);
    if (!share)
        abort();
    memcpy(share->submitter, submitter, sizeof share->submitter);
    zhashx_insert(self->by_submitter, share->submitter, share);
    return share;
}

double share_used(const struct share *self, int64_t now)
{
    return now > self->at ? self->used * exp2(-(double)(now - self->at) / HALF_LIFE_S)
                          : self->used;
}

void share_charge(struct share *self, double step_pixels, int64_t now)
{
    double used = share_used(self, now) + step_pixels;
    self->used = used > 0 ? used : 0;
    self->at = now;
    self->changed = true;
}
