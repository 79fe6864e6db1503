#include "coordinator/show.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/work.h"

enum {
    TASKS_MOST = 1000,
    ATTEMPTS_MOST = 8, /* the last ones of a task */
    PAGE_BYTES = WIRE_CONTROL_LIMIT * 6 / 10,
};

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static void take_attempt(void *context, const struct attempt_row *row)
{
    Farm__TaskRow *task = context;
    task->attempts++;
    free(task->node.data);
    task->node = wire_own(wire_text(row->node));
    if (task->n_history == ATTEMPTS_MOST) {
        farm__attempt_row__free_unpacked(task->history[0], NULL);
        memmove(task->history, task->history + 1,
                --task->n_history * sizeof *task->history);
    }
    if (!task->history)
        task->history = need(calloc(ATTEMPTS_MOST, sizeof *task->history));
    Farm__AttemptRow *attempt = need(malloc(sizeof *attempt));
    farm__attempt_row__init(attempt);
    attempt->node = wire_own(wire_text(row->node));
    attempt->started = row->started;
    attempt->ended = wire_own(wire_text(row->ended));
    task->history[task->n_history++] = attempt;
}

/* Ended tasks of the page, found in the store. */
struct page {
    Farm__JobDetail *detail;
    uint64_t first;
};

static void take_task(void *context, const struct task_row *row,
                      const struct result_row *result)
{
    struct page *page = context;
    if (row->index - page->first >= page->detail->n_tasks)
        return;
    Farm__TaskRow *task = page->detail->tasks[row->index - page->first];
    task->state = row->state == QUEUE_DONE ? FARM__TASK_STATE__TASK_DONE
                                           : FARM__TASK_STATE__TASK_FAILED;
    free(task->reason.data);
    task->reason = wire_own(wire_text(row->reason));
    if (result) {
        Farm__Result shown;
        tell_result(result, &shown);
        task->result = wire_copy(&shown.base);
        task->node = wire_own(wire_text(result->node));
    }
}

/* What memory knows of tasks that did not end. */
static Farm__TaskState state_of(const struct queue_job *job, uint64_t index)
{
    if (job->state != QUEUE_OPEN)
        return FARM__TASK_STATE__TASK_CANCELED;
    enum queue_task state = job->task[index];
    bool ends = state == QUEUE_DONE || state == QUEUE_FAILED; /* not on disk yet */
    return state == QUEUE_LEASED || ends ? FARM__TASK_STATE__TASK_LEASED
                                         : FARM__TASK_STATE__TASK_READY;
}

/* Why a ready task of the job is not given out; NULL: it is next in turn. */
static const char *waits_for(const struct coordinator *self,
                             const struct queue_job *job)
{
    bool any = false;
    for (size_t n = 0; n < self->registry.count; n++)
        any = any || node_works(self->registry.node[n], self->now);
    return job->paused ? "the job is paused"
           : !any      ? "no worker is here"
           : !work_nodes(self, job)
               ? "no device of the kind that the job keeps to is here"
               : NULL;
}

static const char *reason_of(const struct queue_job *job, uint64_t index,
                             const char *waits)
{
    const struct queue_trouble *trouble = queue_trouble(job, index);
    if (trouble && trouble->count)
        return trouble->fault[trouble->count - 1].text;
    if (job->state != QUEUE_OPEN)
        return NULL;
    return job->task[index] == QUEUE_SHARING ? "an equal task is being rendered"
           : job->task[index] == QUEUE_READY ? waits
                                             : NULL;
}

static void add_rows(const struct coordinator *self, const struct queue_job *job,
                     struct page *page, uint64_t limit)
{
    const char *waits = waits_for(self, job);
    Farm__JobDetail *detail = page->detail;
    detail->tasks = need(calloc(limit + 1, sizeof *detail->tasks));
    for (uint64_t index = page->first; detail->n_tasks < limit; index++) {
        Farm__TaskRow *task = need(malloc(sizeof *task));
        farm__task_row__init(task);
        task->index = index;
        task->state = state_of(job, index);
        task->reason = wire_own(wire_text(reason_of(job, index, waits)));
        detail->tasks[detail->n_tasks++] = task;
    }
}

/* Attempts, and then no more tasks than fit. */
static bool add_attempts(struct coordinator *self, int64_t number,
                         Farm__JobDetail *detail, struct error *error)
{
    size_t bytes = farm__job_detail__get_packed_size(detail);
    for (size_t t = 0; t < detail->n_tasks; t++)
        bytes -= farm__task_row__get_packed_size(detail->tasks[t]);
    size_t kept = 0;
    bool ok = true;
    for (; ok && kept < detail->n_tasks && bytes < PAGE_BYTES; kept++) {
        Farm__TaskRow *task = detail->tasks[kept];
        char *renderer = task->result ? wire_string(task->node) : NULL;
        ok = store_history(self->store, number, task->index, take_attempt, task, error);
        if (renderer) { /* it is who made the result, not who tried last */
            free(task->node.data);
            task->node = wire_own(wire_text(renderer));
            free(renderer);
        }
        bytes += farm__task_row__get_packed_size(task);
    }
    if (!kept && ok && detail->n_tasks)
        kept = 1;
    while (detail->n_tasks > kept)
        farm__task_row__free_unpacked(detail->tasks[--detail->n_tasks], NULL);
    return ok;
}

static Farm__Job *specification_of(struct coordinator *self, int64_t number,
                                   struct error *error)
{
    struct buffer packed = {0};
    Farm__Job *job = NULL;
    if (store_specification(self->store, number, &packed, error))
        job = need(farm__job__unpack(NULL, packed.size, packed.data));
    buffer_clear(&packed);
    return job;
}

Farm__JobDetail *show_job(struct coordinator *self, const struct queue_job *job,
                          uint64_t first, uint32_t limit, struct error *error)
{
    const struct job *own = job->tag;
    Farm__JobSummary summary;
    Farm__JobDetail *detail = need(malloc(sizeof *detail));
    farm__job_detail__init(detail);
    tell_summary(self, job, &summary);
    detail->summary = wire_copy(&summary.base);
    detail->job = specification_of(self, own->number, error);
    uint64_t rows = first < job->tasks ? job->tasks - first : 0;
    rows = rows < limit ? rows : limit;
    rows = rows < TASKS_MOST ? rows : TASKS_MOST;
    struct page page = {detail, first};
    add_rows(self, job, &page, rows);
    if (detail->job &&
        store_tasks(self->store, own->number, first, rows, take_task, &page, error) &&
        add_attempts(self, own->number, detail, error))
        return detail;
    farm__job_detail__free_unpacked(detail, NULL);
    return NULL;
}
