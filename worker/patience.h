/* How long who was asked for ranges may be silent. A frame takes a slow link long: asking for
 * it again would only make what is on its way longer. So the limit follows what the link was
 * measured to carry, and while nothing was measured it doubles whenever it was too short.
 */
#ifndef FARM_PATIENCE_H
#define FARM_PATIENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct patience {
    int64_t least_ms; /* the limit of a quick link */
    int64_t limit_ms;
    int64_t heard_ms;   /* something came, or was asked for where nothing was before */
    int64_t silent_ms;  /* the same, or the last silence ended */
    double ms_per_byte; /* 0: not measured */
};

void patience_init(struct patience *self, int64_t least_ms, int64_t now_ms);

/* Nothing is on its way: the silence begins anew. */
void patience_rest(struct patience *self, int64_t now_ms);

/* So many bytes that were asked for came; 0: a sign of life that measures nothing. */
void patience_heard(struct patience *self, size_t size, int64_t now_ms);

/* The silence was too long; the next one may be longer. */
bool patience_ends(struct patience *self, int64_t now_ms);

#endif
