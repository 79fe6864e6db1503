/* What the loop decided, on its way to the database: rows as flat bytes.
 *
 * The loop adds rows to a change in the order in which they depend on each other; the store
 * applies whole changes, in order, many in one transaction.
 */
#ifndef FARM_CHANGE_H
#define FARM_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"

struct key_row {
    uint8_t public_key[32];
    int role;
    const char *name;
    int64_t created, revoked;
    bool greeted;
};

struct token_row {
    uint8_t join_key[32];
    int role;
    const char *name;
    int64_t created, expires;
    bool used;
    uint8_t used_by[32];
};

struct model_row {
    uint8_t id[32];
    const char *name;
    const uint8_t *manifest; /* packed Farm__Manifest */
    size_t manifest_size;
    bool complete;
    int64_t added;
};

struct job_row {
    int64_t number;
    uint8_t id[16];
    uint8_t submitter[32];
    uint8_t content[32];
    const uint8_t *specification; /* packed Farm__Job, model names resolved */
    size_t specification_size;
    bool latents;
    uint64_t tasks, cursor;
    int state; /* enum queue_state */
    uint64_t done, failed, canceled;
    int64_t created, ended;
    int32_t priority;
    bool paused;
    const char *device_kind; /* what it keeps to; "" for any, or none yet */
};

struct result_row {
    int64_t number;
    uint8_t key[32];
    uint8_t png[32], latents[32], pixels[32];
    uint64_t png_size, latents_size;
    bool has_latents;
    double seconds;
    uint64_t step_pixels;
    const char *node;
    bool superseded;
    const char *provenance; /* signed text; "" for one of before there was any */
};

/* A copy whose texts are its own, and its end. */
void result_row_own(struct result_row *self);
void result_row_clear(struct result_row *self);

struct task_row {
    int64_t job;
    uint64_t index;
    int state;      /* enum queue_task */
    int64_t result; /* 0: none */
    const char *reason;
};

struct attempt_row {
    uint64_t epoch, counter;
    int64_t job;
    uint64_t index;
    uint8_t key[32];
    uint8_t worker[32];
    uint32_t device;
    const char *node;
    int64_t started;
    const char *ended; /* "" while open */
    bool fault;
};

struct node_row {
    uint8_t worker[32];
    uint32_t device;
    int state; /* enum node_order */
    const char *reason;
};

struct speed_row {
    uint8_t worker[32];
    uint32_t device;
    uint8_t model[32];
    uint32_t size_class, batch;
    double step_pixels_per_s;
    uint64_t images;
};

struct usage_row {
    uint8_t submitter[32];
    double step_pixels;
    int64_t at;
};

/* What a device measured of a kernel's variants (proto: Tuned). */
struct tuning_row {
    const char *kind;
    uint8_t identity[16];
    const char *shape, *variant;
    double gain;
    int64_t at;
    const char *node;
};

/* The newest picture half way of a task that has not ended (proto: Checkpoint). */
struct checkpoint_row {
    uint8_t key[32]; /* of the task */
    int64_t job;
    uint8_t blob[32];
    uint64_t size;
    uint32_t step;
    uint64_t epoch, counter; /* of the attempt it is of */
    const char *kind;        /* of that attempt's device */
    bool is_from;            /* `from` is known: not stored */
    uint32_t from;           /* number of that attempt's node */
};

struct change {
    struct buffer rows;
    bool blobs; /* names files that must be on disk first */
    int sync;   /* a descriptor to be synced first; -1: none */
};

enum change_value {
    CHANGE_NULL,
    CHANGE_INTEGER,
    CHANGE_REAL,
    CHANGE_BLOB,
    CHANGE_TEXT
};

/* In the order of store_apply.c's statements. */
enum change_kind {
    CHANGE_KEY,
    CHANGE_TOKEN,
    CHANGE_TOKEN_DEAD,
    CHANGE_BLOB_HERE,
    CHANGE_MODEL,
    CHANGE_JOB,
    CHANGE_JOB_KIND,
    CHANGE_JOB_CURSOR,
    CHANGE_JOB_ENDED,
    CHANGE_JOB_STEERED,
    CHANGE_JOB_REOPENED,
    CHANGE_TASKS_RETRIED,
    CHANGE_FAULTS_FORGIVEN,
    CHANGE_RESULT,
    CHANGE_PROVENANCE,
    CHANGE_TASK,
    CHANGE_ATTEMPT,
    CHANGE_ATTEMPT_MOVED,
    CHANGE_ATTEMPT_ENDED,
    CHANGE_NODE,
    CHANGE_SPEED,
    CHANGE_USAGE,
    CHANGE_TUNING,
    CHANGE_TUNING_OLD,
    CHANGE_CHECKPOINT,
    CHANGE_CHECKPOINT_GONE,
    CHANGE_GONE_RESULTS,
    CHANGE_GONE_ATTEMPTS,
    CHANGE_GONE_TASKS,
    CHANGE_GONE_PROVENANCE,
    CHANGE_GONE_RESULT,
    CHANGE_GONE_MARKS,
    CHANGE_GONE_JOB,
    CHANGE_KINDS,
};

struct change *change_new(void);
void change_destroy(struct change **self);
bool change_is_empty(const struct change *self);

void change_key(struct change *self, const struct key_row *row);     /* new or other */
void change_token(struct change *self, const struct token_row *row); /* new or other */
void change_token_dead(struct change *self, const uint8_t join_key[32]);
void change_blob(struct change *self, const uint8_t id[32], uint64_t size);
/* The same for one that is on disk already: this change need not sync. */
void change_synced_blob(struct change *self, const uint8_t id[32], uint64_t size);
void change_model(struct change *self, const struct model_row *row); /* new or other */
void change_job(struct change *self, const struct job_row *row);
void change_job_kind(struct change *self, int64_t number, const char *device_kind);
void change_job_cursor(struct change *self, int64_t number, uint64_t cursor);
void change_job_ended(struct change *self, const struct job_row *row);
void change_job_steered(struct change *self, const struct job_row *row);
void change_job_retried(struct change *self, int64_t number); /* what failed is ready */
void change_job_gone(struct change *self, int64_t number); /* with results of its own */
void change_result(struct change *self, const struct result_row *row);
void change_task(struct change *self, const struct task_row *row); /* new or other */
void change_attempt(struct change *self, const struct attempt_row *row);
void change_attempt_moved(struct change *self, const struct attempt_row *row);
void change_attempt_ended(struct change *self, uint64_t epoch, uint64_t counter,
                          const char *ended, bool fault);
void change_node(struct change *self, const struct node_row *row);   /* new or other */
void change_speed(struct change *self, const struct speed_row *row); /* new or other */
void change_usage(struct change *self, const struct usage_row *row); /* new or other */
void change_tuning(struct change *self,
                   const struct tuning_row *row); /* new or other */
void change_tuning_old(struct change *self,
                       uint32_t kept); /* the newest so many stay */
void change_checkpoint(struct change *self, const struct checkpoint_row *row);
void change_checkpoint_gone(struct change *self, const uint8_t key[32]);

#endif
