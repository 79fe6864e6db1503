/* What was: tried again, removed, measured, told. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/handlers.h"
#include "coordinator/parked.h"
#include "coordinator/past.h"

enum {
    LOG_LINES = 1000,
    DISK_TASKS = 20000, /* added up for one answer: the loop must not wait long */
    DISK_JOBS = 500,
};

static void note(struct coordinator *self, const struct request *request,
                 const char *what, const struct queue_job *job)
{
    char id[2 * QUEUE_JOB_ID + 1];
    sodium_bin2hex(id, sizeof id, job->id, QUEUE_JOB_ID);
    audit_write(self->audit, "%s job=%s by=%s", what, id, request->member->name);
}

static bool answer_done(struct coordinator *self, const struct request *request)
{
    Farm__Done done = FARM__DONE__INIT;
    tell_answer(self, request, ANSWER(done, DONE, &done));
    return true;
}

bool handle_job_retry(struct coordinator *self, struct request *request,
                      struct error *error)
{
    struct queue_job *job =
        job_named(self, request, request->message->envelope->job_retry->job, error);
    if (job && parked_add(self, request, ((const struct job *)job->tag)->settled_by))
        return true;
    if (!job || !past_retry(self, job, error))
        return false;
    note(self, request, "retried", job);
    return answer_done(self, request);
}

bool handle_job_remove(struct coordinator *self, struct request *request,
                       struct error *error)
{
    struct queue_job *job =
        job_named(self, request, request->message->envelope->job_remove->job, error);
    if (!job)
        return false;
    if (job->state != QUEUE_OPEN)
        note(self, request, "removed", job);
    return past_remove(self, &job, error) && answer_done(self, request);
}

static Farm__DiskUse *add_use(Farm__Disk *disk, const char *kind)
{
    Farm__DiskUse *use = malloc(sizeof *use);
    if (!use)
        abort();
    farm__disk_use__init(use);
    use->kind = wire_own(wire_text(kind));
    disk->uses[disk->n_uses++] = use;
    return use;
}

/* Jobs in the order of submission from where the last answer ended. */
static bool add_jobs(struct coordinator *self, const struct request *request,
                     Farm__Disk *disk, struct error *error)
{
    const Farm__DiskList *asked = request->message->envelope->disk_list;
    size_t count;
    struct queue_job **list =
        jobs_newest(self->queue, owner_of(request), false, &count);
    uint64_t tasks = 0;
    bool ok = true;
    for (size_t j = count; ok && j-- > 0;) {
        const struct job *own = list[j]->tag;
        if ((uint64_t)own->number < asked->job)
            continue;
        uint64_t first = (uint64_t)own->number == asked->job ? asked->task : 0;
        if (tasks >= DISK_TASKS || disk->n_uses == DISK_JOBS) {
            disk->next_job = (uint64_t)own->number;
            disk->next_task = first;
            break;
        }
        uint64_t end =
            list[j]->tasks - first < DISK_TASKS ? list[j]->tasks : first + DISK_TASKS;
        Farm__DiskUse *use = add_use(disk, "job");
        use->id = wire_own(wire_bytes(list[j]->id, QUEUE_JOB_ID));
        use->name = wire_own(wire_text(own->label));
        ok = store_job_size(self->store, own->number, first, end, &use->files,
                            &use->bytes, error);
        tasks += end - first;
        if (end < list[j]->tasks) {
            disk->next_job = (uint64_t)own->number;
            disk->next_task = end;
            break;
        }
    }
    free(list);
    return ok;
}

static void add_models(const struct coordinator *self, Farm__Disk *disk)
{
    for (struct model *model = zhashx_first(self->models.by_id);
         model && disk->n_uses < DISK_JOBS; model = zhashx_next(self->models.by_id)) {
        char *kind = wire_string(model->manifest->kind);
        Farm__DiskUse *use = add_use(disk, strcmp(kind, "diffusers") ? kind : "model");
        free(kind);
        use->id = wire_own(wire_bytes(model->id, BLOB_ID));
        use->name = wire_own(wire_text(model->name));
        use->files = model->manifest->n_files;
        for (size_t f = 0; f < model->manifest->n_files; f++)
            use->bytes += model->manifest->files[f]->size;
    }
}

bool handle_disk_list(struct coordinator *self, struct request *request,
                      struct error *error)
{
    if (parked_add(self, request, 0))
        return true;
    const Farm__DiskList *asked = request->message->envelope->disk_list;
    Farm__Disk disk = FARM__DISK__INIT;
    disk.uses = calloc(DISK_JOBS + 1, sizeof *disk.uses);
    if (!disk.uses)
        abort();
    disk.free = depot_free_space(self->state);
    disk.reserve = (uint64_t)self->settings->reserve_mib << 20;
    bool ok = add_jobs(self, request, &disk, error);
    if (ok && !asked->job)
        add_models(self, &disk);
    if (ok)
        tell_answer(self, request, ANSWER(disk, DISK, &disk));
    for (size_t u = 0; u < disk.n_uses; u++)
        farm__disk_use__free_unpacked(disk.uses[u], NULL);
    free(disk.uses);
    return ok;
}

struct telling {
    struct coordinator *self;
    Farm__Logs logs;
    size_t bytes;
};

static void take_line(void *context, const struct attempt_row *row)
{
    struct telling *telling = context;
    if (telling->bytes > WIRE_CONTROL_LIMIT / 2)
        return;
    Farm__LogLine *line = malloc(sizeof *line);
    if (!line)
        abort();
    farm__log_line__init(line);
    line->index = row->index;
    line->node = wire_own(wire_text(row->node));
    line->started = row->started;
    line->text = wire_own(wire_text(row->ended));
    line->fault = row->fault;
    for (struct queue_job *job = zhashx_first(telling->self->queue->jobs);
         job && !line->job.len; job = zhashx_next(telling->self->queue->jobs))
        if (((const struct job *)job->tag)->number == row->job)
            line->job = wire_own(wire_bytes(job->id, QUEUE_JOB_ID));
    if (!line->job.len) {
        farm__log_line__free_unpacked(line, NULL);
        return;
    }
    telling->bytes += farm__log_line__get_packed_size(line);
    telling->logs.lines[telling->logs.n_lines++] = line;
}

/* A job's, or for those who see every job, a node's. */
static bool tell_logs(struct telling *telling, const struct request *request,
                      const char *text, struct error *error)
{
    struct coordinator *self = telling->self;
    const struct queue_job *job = job_find(self->queue, text, owner_of(request), error);
    if (job)
        return store_log(self->store, ((const struct job *)job->tag)->number, NULL,
                         LOG_LINES, take_line, telling, error);
    bool known = false;
    for (size_t n = 0; n < self->registry.count; n++)
        known = known || strcmp(self->registry.node[n]->name, text) == 0;
    if (owner_of(request) || !known)
        return error_set_kind(error, ERROR_NOT_FOUND,
                              "there is no job and no node \"%.60s\"; `farmctl jobs` "
                              "and `farmctl nodes` list them",
                              text);
    return store_log(self->store, 0, text, LOG_LINES, take_line, telling, error);
}

bool handle_log_list(struct coordinator *self, struct request *request,
                     struct error *error)
{
    if (parked_add(self, request, 0))
        return true;
    struct telling telling = {.self = self, .logs = FARM__LOGS__INIT};
    Farm__Logs *logs = &telling.logs;
    char *text = wire_string(request->message->envelope->log_list->of);
    telling.logs.lines = calloc(LOG_LINES, sizeof *telling.logs.lines);
    if (!telling.logs.lines)
        abort();
    bool ok = tell_logs(&telling, request, text, error);
    if (ok)
        tell_answer(self, request, ANSWER(logs, LOGS, logs));
    for (size_t l = 0; l < telling.logs.n_lines; l++)
        farm__log_line__free_unpacked(telling.logs.lines[l], NULL);
    free(telling.logs.lines);
    free(text);
    return ok;
}
