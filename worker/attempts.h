/* The attempts a device holds, in the order they came: what waits, what renders, what is on
 * its way up. Pure bookkeeping; the loop in device.c moves them along.
 */
#ifndef FARM_ATTEMPTS_H
#define FARM_ATTEMPTS_H

#include "proto/farm.pb-c.h"
#include "proto/files/blob.h"
#include "proto/job/files.h"
#include "proto/job/job.h"
#include "worker/sd/snapshot.h"

enum { ATTEMPTS_MOST = 256, BATCH_MOST = 32 };

/* Where an attempt begins: at step 0, or where an earlier one came to. */
struct attempt_start {
    enum { START_ANEW, START_ELSEWHERE, START_COMING, START_HERE } state;
    uint8_t blob[BLOB_ID]; /* of the snapshot, while it is not here */
    uint64_t size;
    uint32_t step;            /* that it is of; 0: anew */
    struct snapshot snapshot; /* when it is here */
};

struct attempt {
    uint64_t epoch, counter;
    uint8_t job[16];
    uint64_t index;
    uint8_t key[32];
    uint8_t model[BLOB_ID];              /* manifest id */
    uint8_t input[INPUTS_MOST][BLOB_ID]; /* manifests of the files its settings name */
    size_t inputs;
    struct task task;
    bool latents;
    uint32_t checkpoint_every;
    bool hand_on; /* goes back after its last step, to be decoded elsewhere */
    struct attempt_start start;
    uint32_t kept, kept_there; /* steps of the last snapshot: made here, told there */
    int64_t ready_us;          /* all it needs is here since then; clock_us */
    int64_t shown_until;       /* previews are wanted; clock_ms */
    bool returns; /* goes back when its last snapshot is there; UPLOADING till then */
    uint32_t at_once; /* images its batch should have; 0: as many as there may be */
    Farm__AttemptState state;
    bool withdrawn; /* nobody wants it; it only waits for its batch to end */
    bool ahead;     /* its texts were sent ahead */
    bool alone;     /* shares no batch: its last one failed for somebody's input */
    uint32_t step, steps;
    struct error *failed; /* what the coordinator must still hear; heap, else NULL */
};

struct attempts {
    struct attempt *item[ATTEMPTS_MOST]; /* heap, owned */
    size_t count;
};

void attempts_clear(struct attempts *self);

/* Takes a copy of what was assigned, to be rendered `at_once` with others. ERROR_INPUT when
 * a setting or a field is not what it must be, ERROR_BUSY above ATTEMPTS_MOST. One that is
 * held already is left as it is. */
bool attempts_add(struct attempts *self, const Farm__Attempt *from, uint32_t at_once,
                  struct error *error);

/* One whose result lies in the spool from an earlier run: UPLOADING, its id is all that is
 * known of it. */
void attempts_adopt(struct attempts *self, uint64_t epoch, uint64_t counter);

struct attempt *attempts_find(const struct attempts *self, uint64_t epoch,
                              uint64_t counter);
void attempts_remove(struct attempts *self, uint64_t epoch, uint64_t counter);

/* A copy with a task and a beginning of its own, for another thread; cleared there. */
void attempt_copy(struct attempt *into, const struct attempt *from);
void attempt_copy_clear(struct attempt *copy);

/* It begins anew, whatever it was to go on from. */
void attempt_start_anew(struct attempt *attempt);

/* The snapshot came: it is held against the task. ERROR_INPUT when these bytes are no
 * snapshot, or of another task, seed or step; the attempt then begins anew. */
bool attempt_start_from(struct attempt *attempt, const void *data, size_t size,
                        struct error *error);

/* The next batch: the oldest attempt in state ASSIGNED of this model, and others of that
 * state that differ from it in prompt, negative prompt and seed only and begin at the same
 * step and end alike; at most `most`, and no more than its batch should have, as they came.
 * Gives their number. */
size_t attempts_batch(const struct attempts *self, const uint8_t model[BLOB_ID],
                      size_t most, struct attempt *batch[BATCH_MOST]);

/* The attempt failed; it stays, not to be rendered any more, until that was told. */
void attempt_keep_failure(struct attempt *attempt, const struct error *why);

/* How many are not rendered yet and still wanted. */
size_t attempts_unrendered(const struct attempts *self);
size_t attempts_in_state(const struct attempts *self, Farm__AttemptState state);

#endif
