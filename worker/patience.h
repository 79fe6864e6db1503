/* How long who was asked for ranges may be silent. A range takes a slow link long: asking for
 * it again would only make what is on its way longer. So the limit follows what the link was
 * measured to carry and what is awaited of it, and doubles whenever it was too short. Bytes
 * and times are added up, the older the less, so that a range of few bytes, which takes as long
 * as its way does, makes no quick link slow.
 */
#ifndef FARM_PATIENCE_H
#define FARM_PATIENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct patience {
    int64_t least_ms;  /* the limit of a quick link */
    int64_t limit_ms;  /* now, whatever was measured */
    int64_t heard_ms;  /* something came, or was asked for where nothing was before */
    int64_t silent_ms; /* the same, or the last silence ended */
    double took_ms, bytes; /* of what came; 0: not measured */
};

void patience_init(struct patience *self, int64_t least_ms, int64_t now_ms);

/* Until it is measured itself, the link is taken to carry what another one carried. */
void patience_expect(struct patience *self, const struct patience *other);

/* Nothing is on its way: the silence begins anew. */
void patience_rest(struct patience *self, int64_t now_ms);

/* So many bytes that were asked for came; 0: a sign of life that measures nothing. */
void patience_heard(struct patience *self, size_t size, int64_t now_ms);

/* The silence was too long for one who was asked for so many bytes; the next one may be
 * longer. */
bool patience_ends(struct patience *self, size_t awaited, int64_t now_ms);

#endif
