/* Jobs and their tasks, decided in memory: which task is next, who holds it, how it ended.
 *
 * Pure: no I/O, and the time is an argument (milliseconds of any clock that runs forward).
 * A job that was just submitted is a count and a cursor; what costs memory is one byte a
 * task of an open job, and the tasks in hand.
 */
#ifndef FARM_QUEUE_H
#define FARM_QUEUE_H

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
    QUEUE_JOB_ID = 16,
    QUEUE_KEY = 32,
    QUEUE_FAULTS = 3, /* a task fails after faults on so many nodes */
};

enum queue_task {
    QUEUE_READY,
    QUEUE_SHARING, /* waits for an equal task's rendering */
    QUEUE_LEASED,
    QUEUE_DONE,
    QUEUE_FAILED,
    QUEUE_CANCELED,
};

enum queue_state { QUEUE_OPEN, QUEUE_ALL_DONE, QUEUE_SOME_FAILED, QUEUE_DROPPED };

struct queue_attempt {
    uint64_t epoch, counter;
};

struct queue_returned {
    uint64_t index;
    int64_t not_before;
    uint32_t only; /* the node it is kept for; 0: any */
};

struct queue_job {
    uint8_t id[QUEUE_JOB_ID];
    uint64_t order; /* of submission: earlier ones first */
    uint64_t tasks;
    uint64_t cursor; /* tasks from here on are ready, */
    uint64_t beyond; /* but for so many: done by what was assigned before a crash */
    uint64_t done, failed, canceled, leased, sharing;
    bool latents;    /* its results must hold latents */
    bool paused;     /* nothing new of it is leased */
    uint32_t takers; /* nodes that may take its tasks: the owner's to keep true */
    int32_t priority;
    enum queue_state state;
    void *tag; /* the owner's; not freed here */

    /* of open jobs only */
    uint8_t *task;                   /* enum queue_task of each */
    struct queue_returned *returned; /* ready again, in the order they came back */
    size_t returned_count, returned_room;
    size_t kept;        /* of these: for one node only */
    zhashx_t *troubles; /* index -> struct queue_trouble */
    TAILQ_ENTRY(queue_job) open;
};
TAILQ_HEAD(queue_jobs, queue_job);

/* What went wrong with a task so far. */
struct queue_trouble {
    uint64_t index;
    unsigned faults;
    struct {
        uint32_t node;
        uint64_t mark; /* the owner's */
        char *text;
    } fault
        [QUEUE_FAULTS]; /* of distinct nodes where there are so many; the last ones */
    unsigned count;
};

/* Another task that waits for the same pixels. */
struct queue_sharer {
    struct queue_job *job;
    uint64_t index;
    struct queue_sharer *next;
};

/* A task may have two leases near its job's end, twins: the first, which keys and sharers
 * belong to, and the marked one. When the first ends, the marked one takes its place. */
struct queue_lease {
    struct queue_attempt id;
    uint8_t key[QUEUE_KEY];
    struct queue_job *job;
    uint64_t index;
    uint32_t node;
    int64_t started, expires;
    bool confirmed; /* the node named it in a heartbeat since it last greeted */
    uint32_t state, step, steps; /* progress, as the node reports it */
    struct queue_sharer *sharers;
    struct queue_lease *twin; /* NULL: none */
    bool marked;

    /* the owner's: what the task needs and costs */
    uint8_t model[32];
    uint32_t size_class;
    uint64_t step_pixels;
    bool goes_on, hand_on; /* from a checkpoint; after its last step */
    TAILQ_ENTRY(queue_lease) by_expiry;
};
TAILQ_HEAD(queue_leases, queue_lease);

struct queue {
    uint64_t epoch, counter;
    int64_t lease_ms;
    struct queue_jobs open;     /* by order */
    struct queue_leases leases; /* the next to expire first */
    zhashx_t *jobs;             /* id -> struct queue_job; all jobs, ended ones too */
    zhashx_t *attempts;         /* struct queue_attempt -> struct queue_lease */
    zhashx_t *keys;             /* task key -> struct queue_lease */
};

struct queue *queue_new(uint64_t epoch, int64_t lease_ms);
void queue_destroy(struct queue **self);

/* A new job, open, all tasks ready; orders must grow. The queue owns it. */
struct queue_job *queue_add(struct queue *self, const uint8_t id[QUEUE_JOB_ID],
                            uint64_t order, uint64_t tasks, bool latents);
struct queue_job *queue_find(const struct queue *self, const uint8_t id[QUEUE_JOB_ID]);

uint64_t queue_ready(const struct queue_job *job);

/* The next task `node` may take now; false when there is none. Tasks with a fault on that
 * node are kept for others while there are any; `alone` says that there are none. */
bool queue_next(const struct queue_job *job, uint32_t node, bool alone, int64_t now,
                uint64_t *index);

/* ready -> leased. The index must be ready, the key rendered by nobody. */
struct queue_lease *queue_lease(struct queue *self, struct queue_job *job,
                                uint64_t index, const uint8_t key[QUEUE_KEY],
                                uint32_t node, int64_t now);

/* A second attempt at a leased task that has no twin yet. */
struct queue_lease *queue_twin(struct queue *self, struct queue_lease *lease,
                               uint32_t node, int64_t now);

/* ready -> sharing: it gets the result of that rendering. */
void queue_share(struct queue_lease *lease, struct queue_job *job, uint64_t index);

struct queue_lease *queue_attempt(const struct queue *self, struct queue_attempt id);
struct queue_lease *queue_rendering(const struct queue *self,
                                    const uint8_t key[QUEUE_KEY]);

/* Its node was heard of: the lease runs from now. */
void queue_renew(struct queue *self, struct queue_lease *lease, int64_t now);

/* A lease that ran out, or NULL; when the next one runs out, or INT64_MAX. */
struct queue_lease *queue_expired(const struct queue *self, int64_t now);
int64_t queue_next_expiry(const struct queue *self);

/* The attempt ends without a result: its tasks are ready again, not before that time,
 * unless its twin goes on. */
void queue_release(struct queue *self, struct queue_lease **lease, int64_t not_before);

/* A task that came back is kept for that node, which is to go on with it (any other is left
 * as it is); how many of the job are; and all that are kept for nodes of which `goes` is
 * false are anybody's again. */
void queue_keep(struct queue_job *job, uint64_t index, uint32_t node);
size_t queue_kept(const struct queue_job *job, uint32_t node);
void queue_unkeep(struct queue_job *job, bool (*goes)(const void *, uint32_t node),
                  const void *context);

/* The attempt failed for a reason of the task's own or the node's: true when the task has
 * had its chances (faults on QUEUE_FAULTS nodes, or on all there are). It stays leased. */
bool queue_fault(struct queue_lease *lease, unsigned nodes, uint64_t mark,
                 const char *text);
bool queue_failed_on(const struct queue_job *job, uint64_t index, uint32_t node);
/* Nobody of those who may take it is left who has not tried: then all may again. */
bool queue_failed_everywhere(const struct queue_job *job, uint64_t index);
const struct queue_trouble *queue_trouble(const struct queue_job *job, uint64_t index);

typedef void(queue_task_fn)(void *context, struct queue_job *job, uint64_t index);
typedef void(queue_lease_fn)(void *context, struct queue_lease *lease);

/* A result came (the lease has no twin any more): the task and those sharing it are done,
 * `done` is called for each; a sharer that asks for latents which the result lacks is ready again. */
void queue_finish(struct queue *self, struct queue_lease **lease, bool latents,
                  queue_task_fn *done, void *context);

/* A result without latents came for a task like the lease's, which asks for them and goes
 * on: this task, which is not done, and all that share the lease and ask for none are done. */
void queue_finish_plain(struct queue_lease *lease, struct queue_job *job,
                        uint64_t index, queue_task_fn *done, void *context);

/* All tasks of the lease, which has no twin, failed; `failed` is called for each. */
void queue_give_up(struct queue *self, struct queue_lease **lease,
                   queue_task_fn *failed, void *context);

/* A ready or failed task of an open job has its result already. */
void queue_known(struct queue_job *job, uint64_t index);

/* Ends the job: what is not done or failed is canceled. Its attempts end, each after
 * `dropped`, except those another job shares: they become that job's, after `moved`. */
void queue_cancel(struct queue *self, struct queue_job *job, queue_lease_fn *dropped,
                  queue_lease_fn *moved, void *context);

/* A failed task of an open job is ready again, what went wrong forgotten. */
void queue_retry(struct queue_job *job, uint64_t index);

/* An ended job is open again, with no task done yet: what is done is restored after it,
 * as below, then queue_restored. */
void queue_reopen(struct queue *self, struct queue_job *job);

/* Forgets a job that has ended. */
void queue_remove(struct queue *self, struct queue_job **job);

/* Closes a job whose tasks have all ended; false while some have not. */
bool queue_close(struct queue *self, struct queue_job *job);

/* Building the queue from what was stored: a job as it was, then its task rows, then
 * leases with a fresh term, then queue_restored once a job: what lies before the cursor
 * and is in no state is ready again. Ended jobs take no rows. */
struct queue_job *queue_restore(struct queue *self, const struct queue_job *stored);
void queue_restore_task(struct queue_job *job, uint64_t index, enum queue_task state);
void queue_restore_lease(struct queue *self, struct queue_job *job, uint64_t index,
                         const uint8_t key[QUEUE_KEY], struct queue_attempt id,
                         uint32_t node, int64_t now);
void queue_restore_fault(struct queue_job *job, uint64_t index, uint32_t node,
                         const char *text);
void queue_restored(struct queue_job *job);

#endif
