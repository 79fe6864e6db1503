/* What was rendered for whom, so that submitters come to equal shares. Usage is counted in
 * step-pixels and halves in 24 hours. Pure: the time is an argument (unix seconds).
 */
#ifndef FARM_SHARES_H
#define FARM_SHARES_H

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

struct share {
    uint8_t submitter[32];
    double used; /* as of `at` */
    int64_t at;
    bool changed; /* since it was stored */
};

struct shares {
    zhashx_t *by_submitter; /* owns struct share */
};

void shares_init(struct shares *self);
void shares_clear(struct shares *self);

/* The submitter's, made when it is new. Stays where it is until shares_clear. */
struct share *shares_of(struct shares *self, const uint8_t submitter[32]);

/* What counts now. A clock that goes back halves nothing. */
double share_used(const struct share *self, int64_t now);

/* Work was given out for the submitter, or with a negative amount came back. */
void share_charge(struct share *self, double step_pixels, int64_t now);

#endif
