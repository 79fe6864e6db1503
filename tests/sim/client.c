/* Submitters: they send each job until it is answered, and some cancel one. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum {
    TICK_MS = 700,
    SUBMIT_WITHIN_MS = 60000,
    ALIKE_WITHIN_MS = 2000, /* they meet at the same tasks */
    PAUSE_MS = 60000,
    PROMPTS = 3,
    CANCELS = 100, /* request numbers: with the job's, which is smaller */
    PAUSES = 200,
    RESUMES = 300,
    SHOWS = 400,
    SHOWN_MOST = 20, /* tasks */
};

unsigned job_numbered(const uint8_t id[16])
{
    unsigned job = id[1];
    return id[0] == 9 && job < world->plan.jobs ? job : JOBS_MOST;
}

static unsigned client_of(unsigned job)
{
    return job % SUBMITTERS;
}

static void add_setting(Farm__Job *job, Farm__Setting *setting, const char *name,
                        const char *value)
{
    farm__setting__init(setting);
    setting->name = wire_text(name);
    setting->value = wire_text(value);
    job->settings[job->n_settings++] = setting;
}

/* A job with few different prompts and seeds, so that equal tasks meet. */
static void plan_job(unsigned number, uint64_t tasks)
{
    static const char *const prompts[PROMPTS] = {"cat", "dog", "owl"};
    struct sim_job *self = &world->job[number];
    const struct plan *plan = &world->plan;
    char model[16], size[16];
    Farm__Setting setting[3], *settings[3];
    bool same = plan->plain || plan->alike;
    ProtobufCBinaryData prompt = wire_text(prompts[same ? 0 : chance_below(2)]);
    Farm__SeedRange range = FARM__SEED_RANGE__INIT, *ranges[] = {&range};
    Farm__Job job = FARM__JOB__INIT;
    job.settings = settings;
    snprintf(model, sizeof model, "model%u", same ? 0 : (unsigned)chance_below(MODELS));
    snprintf(size, sizeof size, "%s", "64x64");
    add_setting(&job, &setting[0], "model", model);
    add_setting(&job, &setting[1], "size", size);
    add_setting(&job, &setting[2], "steps", "20");
    range.first = same ? 0 : chance_below(3) * tasks / 2;
    range.count = tasks;
    job.prompts = &prompt;
    job.seeds = ranges;
    job.n_prompts = job.n_seeds = 1;
    job.expansion = 1;
    job.latents = self->latents = !plan->plain && chance_percent(30);
    job.force = plan->plain || (!plan->alike && chance_percent(20));
    job.same_device_kind = self->same_kind =
        !plan->plain && !plan->alike && chance_percent(20);
    job.priority = plan->plain ? 0 : (int32_t)chance_below(3);
    self->poisonous = !plan->plain && chance_percent(10);
    self->id[0] = 9;
    self->id[1] = (uint8_t)number;
    self->tasks = tasks;
    self->answered = calloc(tasks, 1);
    self->at = plan->plain ? 0
                           : (int64_t)chance_below(plan->alike ? ALIKE_WITHIN_MS
                                                               : SUBMIT_WITHIN_MS);
    self->at += world->now;
    self->cancel_at = !plan->plain && chance_percent(plan->alike ? 60 : 20)
                          ? self->at + (int64_t)chance_below(SUBMIT_WITHIN_MS)
                          : INT64_MAX;
    self->pause_at = !plan->plain && chance_percent(20)
                         ? self->at + (int64_t)chance_below(SUBMIT_WITHIN_MS)
                         : INT64_MAX;
    Farm__Submit submit = FARM__SUBMIT__INIT;
    submit.id = wire_bytes(self->id, 16);
    submit.job = &job;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = 1;
    envelope.body_case = FARM__ENVELOPE__BODY_SUBMIT;
    envelope.submit = &submit;
    self->packed = wire_pack(&envelope.base, &self->size);
    if (!self->answered)
        abort();
}

void client_plan(void)
{
    uint64_t left = world->plan.tasks;
    for (unsigned j = 0; j < world->plan.jobs; j++) {
        uint64_t share = left / (world->plan.jobs - j);
        uint64_t tasks = world->plan.even ? share : 1 + chance_below(2 * share);
        plan_job(j, tasks);
        left -= tasks < left ? tasks : left;
    }
}

static void greet(struct client *self, uint32_t number)
{
    uint8_t instance[16] = {2, (uint8_t)number};
    Farm__Hello hello = FARM__HELLO__INIT;
    hello.version = WIRE_VERSION;
    hello.host = wire_text("host");
    hello.instance = wire_bytes(instance, sizeof instance);
    hello.program = wire_text("sim");
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = 1;
    envelope.body_case = FARM__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    self->greeted = false;
    self->connection = connect_peer(WORKERS_MOST + number, self->key);
    send_to_coordinator(self->connection, &envelope);
}

static void write_id(const struct sim_job *job, char id[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", job->id[i]);
}

/* Said again and again: the answer may be lost. */
static void send_pause(const struct client *self, const struct sim_job *job)
{
    char id[33];
    write_id(job, id);
    Farm__JobSteer steer = FARM__JOB_STEER__INIT;
    steer.job = wire_text(id);
    steer.change_case = FARM__JOB_STEER__CHANGE_PAUSED;
    steer.paused = !world->healed && world->now < job->pause_at + PAUSE_MS;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = (steer.paused ? PAUSES : RESUMES) + job_numbered(job->id);
    envelope.body_case = FARM__ENVELOPE__BODY_JOB_STEER;
    envelope.job_steer = &steer;
    send_to_coordinator(self->connection, &envelope);
}

static void send_cancel(const struct client *self, struct sim_job *job)
{
    char id[33];
    write_id(job, id);
    Farm__JobCancel cancel = FARM__JOB_CANCEL__INIT;
    cancel.job = wire_text(id);
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = CANCELS + job_numbered(job->id);
    envelope.body_case = FARM__ENVELOPE__BODY_JOB_CANCEL;
    envelope.job_cancel = &cancel;
    send_to_coordinator(self->connection, &envelope);
    job->stage = JOB_CANCELING;
}

/* Some of the tasks of a job that may end at any time. */
static void send_show(const struct client *self, const struct sim_job *job)
{
    char id[33];
    write_id(job, id);
    Farm__JobShow show = FARM__JOB_SHOW__INIT;
    show.job = wire_text(id);
    show.first = chance_below(job->tasks);
    show.limit = SHOWN_MOST;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.request = SHOWS + job_numbered(job->id);
    envelope.body_case = FARM__ENVELOPE__BODY_JOB_SHOW;
    envelope.job_show = &show;
    send_to_coordinator(self->connection, &envelope);
}

/* Of a job that is shown as ended every task is. */
static void shown(const Farm__JobDetail *detail)
{
    if (detail->summary->state == FARM__JOB_STATE__JOB_OPEN)
        return;
    for (size_t t = 0; t < detail->n_tasks; t++) {
        const Farm__TaskRow *task = detail->tasks[t];
        if (task->state < FARM__TASK_STATE__TASK_DONE ||
            (task->state == FARM__TASK_STATE__TASK_CANCELED &&
             detail->summary->state != FARM__JOB_STATE__JOB_CANCELED))
            broken("job %u is shown as ended and its task %llu is not",
                   job_numbered(detail->summary->job.data),
                   (unsigned long long)task->index);
    }
}

void client_tick(uint32_t number)
{
    struct client *self = &world->client[number];
    happen(TICK_MS, EVENT_TICK, WORKERS_MOST + number, 0);
    if (!world->coordinator)
        return;
    if (self->connection >= world->connections ||
        !world->connection[self->connection].open) {
        greet(self, number);
        return;
    }
    if (!self->greeted)
        return;
    for (unsigned j = 0; j < world->plan.jobs; j++) {
        struct sim_job *job = &world->job[j];
        if (client_of(j) != number || world->now < job->at)
            continue;
        if (job->stage >= JOB_ACCEPTED && chance_percent(30))
            send_show(self, job);
        if (job->stage <= JOB_SENT) {
            struct error error = {0};
            Farm__Envelope *submit = wire_unpack(job->packed, job->size, &error);
            send_to_coordinator(self->connection, submit);
            farm__envelope__free_unpacked(submit, NULL);
            job->stage = JOB_SENT;
        } else if (job->stage == JOB_ACCEPTED && world->now >= job->pause_at &&
                   !job->resumed) {
            send_pause(self, job);
        } else if (job->stage < JOB_CANCELED && world->now >= job->cancel_at) {
            send_cancel(self, job);
        }
    }
}

static void steered(uint64_t request, bool done)
{
    uint64_t number = request % CANCELS;
    if (request < CANCELS || request >= SHOWS || number >= world->plan.jobs)
        return;
    struct sim_job *job = &world->job[number];
    job->resumed = job->resumed || request >= RESUMES || !done;
    if (request >= PAUSES)
        return;
    job->stage = done ? JOB_CANCELED : JOB_ACCEPTED;
    if (!done)
        job->cancel_at = INT64_MAX; /* it had ended */
}

void client_hears(uint32_t number, const Farm__Envelope *envelope)
{
    struct client *self = &world->client[number];
    if (envelope->body_case == FARM__ENVELOPE__BODY_WELCOME)
        self->greeted = true;
    else if (envelope->body_case == FARM__ENVELOPE__BODY_JOB_DETAIL)
        shown(envelope->job_detail);
    else if (envelope->body_case == FARM__ENVELOPE__BODY_DONE)
        steered(envelope->request, true);
    else if (envelope->body_case == FARM__ENVELOPE__BODY_REFUSED)
        steered(envelope->request, false);
    if (envelope->body_case != FARM__ENVELOPE__BODY_ACCEPTED)
        return;
    unsigned number_of_job = job_numbered(envelope->accepted->job.data);
    if (number_of_job == JOBS_MOST)
        return;
    struct sim_job *job = &world->job[number_of_job];
    if (envelope->accepted->tasks != job->tasks)
        broken("job %u has %llu tasks, %llu were submitted", number_of_job,
               (unsigned long long)envelope->accepted->tasks,
               (unsigned long long)job->tasks);
    if (job->stage <= JOB_SENT) {
        job->stage = JOB_ACCEPTED;
        job->accepted_at = world->now;
    }
}
