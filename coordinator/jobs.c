#include "coordinator/jobs.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/job/files.h"
#include "proto/wire.h"

enum { PRIORITY_MOST = 1000 };

/* The first `most` bytes of a text, not cutting a UTF-8 character. */
static char *shortened(ProtobufCBinaryData text, size_t most)
{
    if (text.len > most) {
        text.len = most;
        while (text.len && (text.data[text.len] & 0xc0) == 0x80)
            text.len--;
    }
    return wire_string(text);
}

struct job *job_new(const struct job_row *row, Farm__Job **specification)
{
    struct job *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    const Farm__Job *job = *specification;
    ProtobufCBinaryData prompt = {0};
    if (job->n_prompts)
        prompt = job->prompts[0];
    for (size_t a = 0; a < job->n_axes && !job->n_prompts; a++)
        if (wire_is(job->axes[a]->name, "prompt", 6))
            prompt = job->axes[a]->values[0];
    self->number = row->number;
    memcpy(self->submitter, row->submitter, 32);
    memcpy(self->content, row->content, 32);
    self->label = wire_string(job->label);
    self->first_prompt = shortened(prompt, PROMPT_SHOWN);
    self->device_kind = strdup(row->device_kind ? row->device_kind : "");
    self->created = row->created;
    self->ended = row->ended;
    self->deadline = job->deadline;
    self->cursor_stored = row->cursor;
    self->probed = self->view_index = UINT64_MAX;
    self->specification = *specification;
    *specification = NULL;
    return self;
}

void job_shut(struct job *self)
{
    expansion_destroy(&self->expansion);
    if (self->specification)
        farm__job__free_unpacked(self->specification, NULL);
    self->specification = NULL;
}

void job_destroy(struct job **self)
{
    if (!*self)
        return;
    job_shut(*self);
    free((*self)->label);
    free((*self)->first_prompt);
    free((*self)->device_kind);
    free((*self)->trouble);
    free(*self);
    *self = NULL;
}

static void set_value(ProtobufCBinaryData *value, const char *text)
{
    free(value->data);
    *value = wire_own(wire_text(text));
}

/* Every value the job names for an option, in settings and axes; NULL ends them. `at` is
 * the walk's state, 0 at first. */
static ProtobufCBinaryData *next_value(Farm__Job *job, const char *option, size_t *at)
{
    size_t seen = 0, length = strlen(option);
    for (size_t s = 0; s < job->n_settings; s++)
        if (wire_is(job->settings[s]->name, option, length) && seen++ == *at)
            return (*at)++, &job->settings[s]->value;
    for (size_t a = 0; a < job->n_axes; a++) {
        Farm__Axis *axis = job->axes[a];
        if (!wire_is(axis->name, option, length))
            continue;
        if (*at - seen < axis->n_values)
            return &axis->values[(*at)++ - seen];
        seen += axis->n_values;
    }
    return NULL;
}

static bool is_named(const Farm__Job *job, const char *option)
{
    size_t at = 0;
    return next_value((Farm__Job *)(uintptr_t)job, option, &at) != NULL;
}

static void add_setting(Farm__Job *job, const char *name, const char *value)
{
    Farm__Setting *setting = malloc(sizeof *setting);
    Farm__Setting **settings =
        realloc(job->settings, (job->n_settings + 1) * sizeof *settings);
    if (!setting || !settings)
        abort();
    farm__setting__init(setting);
    set_value(&setting->name, name);
    set_value(&setting->value, value);
    job->settings = settings;
    job->settings[job->n_settings++] = setting;
}

void job_impose(Farm__Job *job, const char *option, const char *value)
{
    size_t at = 0;
    ProtobufCBinaryData *given;
    if (!is_named(job, option))
        add_setting(job, option, value);
    while ((given = next_value(job, option, &at)))
        set_value(given, value);
}

/* Puts a model's id in place of its name. */
static bool resolve_models(Farm__Job *job, const struct models *models,
                           struct error *error)
{
    size_t at = 0;
    ProtobufCBinaryData *value;
    if (!is_named(job, "model"))
        add_setting(job, "model", option_find("model")->fallback);
    while ((value = next_value(job, "model", &at))) {
        char *name = wire_string(*value), id[BLOB_TEXT];
        const struct model *model = models_resolve(models, NULL, name, error);
        free(name);
        if (!model)
            return false;
        blob_format(model->id, id);
        set_value(value, id);
    }
    return true;
}

/* Puts the ids of files in place of their names in one value of the option. */
static bool resolve_value(ProtobufCBinaryData *value, const struct option *option,
                          const struct models *models, struct error *error)
{
    struct file_uses uses;
    char *text = wire_string(*value);
    const char *kind = strcmp(option->choices, "model") ? option->choices : NULL;
    bool ok = file_uses_read(&uses, option, text, error);
    for (size_t i = 0; ok && i < uses.count; i++) {
        const struct model *file =
            models_resolve(models, kind, uses.item[i].file, error);
        if (!file) {
            ok = false;
            break;
        }
        free(uses.item[i].file);
        uses.item[i].file = calloc(1, BLOB_TEXT);
        if (!uses.item[i].file)
            abort();
        blob_format(file->id, uses.item[i].file);
    }
    free(text);
    text = file_uses_text(&uses);
    if (ok)
        set_value(value, text);
    file_uses_clear(&uses);
    free(text);
    return ok;
}

static bool resolve_files(Farm__Job *job, const struct models *models,
                          struct error *error)
{
    for (const struct option *option = options; option->name; option++) {
        size_t at = 0;
        ProtobufCBinaryData *value;
        while (option->type == OPTION_FILE &&
               (value = next_value(job, option->name, &at)))
            if (!resolve_value(value, option, models, error))
                return error_prefix(error, "%s", option->name);
    }
    return true;
}

/* Any device stores f32: what is left open means that. */
static void resolve_precision(Farm__Job *job)
{
    size_t at = 0;
    ProtobufCBinaryData *value;
    if (!is_named(job, "precision"))
        add_setting(job, "precision", "f32");
    while ((value = next_value(job, "precision", &at)))
        if (wire_is(*value, "auto", 4))
            set_value(value, "f32");
}

static const struct model *model_named(const struct models *models, const char *hex)
{
    uint8_t id[BLOB_ID];
    return blob_parse(hex, id, NULL) ? models_find(models, id) : NULL;
}

static bool check_size(const struct task *task, const struct model *model,
                       struct error *error)
{
    uint64_t factor = model->manifest->factor;
    if (!factor || (task->width % factor == 0 && task->height % factor == 0))
        return true;
    return error_set_kind(
        error, ERROR_INPUT,
        "size: %" PRIu64 "x%" PRIu64 ", model %s needs multiples of %" PRIu64
        "; the nearest below is %" PRIu64 "x%" PRIu64,
        task->width, task->height, model->name, factor, task->width / factor * factor,
        task->height / factor * factor);
}

/* Every size against every model: few of each, where tasks may be millions. */
static bool check_sizes(Farm__Job *job, const struct models *models,
                        struct error *error)
{
    size_t s = 0;
    ProtobufCBinaryData *size, *name;
    bool ok = true;
    while (ok && (size = next_value(job, "size", &s))) {
        struct task task;
        task_init(&task);
        ok = task_set_bytes(&task, wire_text("size"), *size, error);
        for (size_t m = 0; ok && (name = next_value(job, "model", &m));) {
            char *hex = wire_string(*name);
            ok = check_size(&task, model_named(models, hex), error);
            free(hex);
        }
        task_clear(&task);
    }
    return ok;
}

bool job_priority_fits(int32_t priority, struct error *error)
{
    return (priority >= -PRIORITY_MOST && priority <= PRIORITY_MOST) ||
           error_set_kind(error, ERROR_INPUT, "priority: %" PRId32 ", from %d to %d",
                          priority, -PRIORITY_MOST, PRIORITY_MOST);
}

static bool deadline_fits(int64_t deadline, struct error *error)
{
    return deadline >= 0 ||
           error_set_kind(error, ERROR_INPUT,
                          "deadline: %" PRId64 ", expected unix seconds, or 0 for none",
                          deadline);
}

bool job_resolve(Farm__Job *job, const struct models *models, uint64_t *tasks,
                 struct error *error)
{
    if (!job_priority_fits(job->priority, error) ||
        !deadline_fits(job->deadline, error) || !job_check(job, tasks, error) ||
        !resolve_models(job, models, error) || !resolve_files(job, models, error) ||
        !check_sizes(job, models, error))
        return false;
    resolve_precision(job);
    job->expansion = JOB_EXPANSION;
    return true;
}

bool job_fill(struct task *task, const struct models *models, struct error *error)
{
    const struct model *model = model_named(models, task->model);
    if (!model)
        return error_set_kind(error, ERROR_NOT_FOUND, "model %.64s is not known",
                              task->model);
    if (!task->width) {
        task->width = model->manifest->width;
        task->height = model->manifest->height;
    }
    bool enlarges = task->hires_scale > 0 || task->hires_width;
    if (!*task->init && !enlarges)
        task->strength = 0;
    else if (!(task->strength > 0))
        task->strength = enlarges ? 0.7 : *task->mask ? 1 : 0.8;
    return true;
}

const struct task *job_task(struct job *self, const struct models *models,
                            uint64_t index)
{
    if (!self->expansion && self->specification)
        self->expansion = expansion_new(self->specification, NULL);
    struct task *task =
        self->expansion ? expansion_task(self->expansion, index, NULL) : NULL;
    return task && job_fill(task, models, NULL) ? task : NULL;
}

static int by_order_down(const void *one, const void *two)
{
    uint64_t a = (*(struct queue_job *const *)one)->order;
    uint64_t b = (*(struct queue_job *const *)two)->order;
    return a < b ? 1 : a > b ? -1 : 0;
}

static bool is_owned(const struct queue_job *job, const uint8_t *owner)
{
    return !owner || memcmp(((const struct job *)job->tag)->submitter, owner, 32) == 0;
}

struct queue_job **jobs_newest(const struct queue *queue, const uint8_t *owner,
                               bool open_only, size_t *count)
{
    struct queue_job **list = calloc(zhashx_size(queue->jobs) + 1, sizeof *list);
    if (!list)
        abort();
    *count = 0;
    for (struct queue_job *job = zhashx_first(queue->jobs); job;
         job = zhashx_next(queue->jobs))
        if (is_owned(job, owner) && (!open_only || job->state == QUEUE_OPEN))
            list[(*count)++] = job;
    qsort(list, *count, sizeof *list, by_order_down);
    return list;
}

struct queue_job *job_find(const struct queue *queue, const char *text,
                           const uint8_t *owner, struct error *error)
{
    size_t count, length = strlen(text), prefixed = 0;
    struct queue_job **list = jobs_newest(queue, owner, false, &count);
    struct queue_job *found = NULL, *labelled = NULL;
    for (size_t j = 0; j < count; j++) {
        char id[2 * QUEUE_JOB_ID + 1];
        sodium_bin2hex(id, sizeof id, list[j]->id, QUEUE_JOB_ID);
        if (length && strncmp(id, text, length) == 0) {
            found = list[j];
            prefixed++;
        }
        if (!labelled && length &&
            strcmp(((const struct job *)list[j]->tag)->label, text) == 0)
            labelled = list[j];
    }
    struct queue_job *newest = count ? list[0] : NULL;
    free(list);
    if (prefixed == 1)
        return found;
    if (labelled)
        return labelled;
    if (newest && strcmp(text, "last") == 0)
        return newest;
    error_set_kind(error, prefixed ? ERROR_INPUT : ERROR_NOT_FOUND,
                   prefixed
                       ? "the ids of %2$zu jobs begin with \"%1$.60s\"; give more of "
                         "the one meant"
                       : "there is no job \"%1$.60s\"; `farmctl jobs` lists them",
                   text, prefixed);
    return NULL;
}

void job_summary(const struct queue_job *job, const char *submitter, int64_t now,
                 Farm__JobSummary *into)
{
    static const Farm__JobState states[] = {
        [QUEUE_OPEN] = FARM__JOB_STATE__JOB_OPEN,
        [QUEUE_ALL_DONE] = FARM__JOB_STATE__JOB_DONE,
        [QUEUE_SOME_FAILED] = FARM__JOB_STATE__JOB_FAILED,
        [QUEUE_DROPPED] = FARM__JOB_STATE__JOB_CANCELED,
    };
    const struct job *own = job->tag;
    farm__job_summary__init(into);
    into->job = wire_bytes(job->id, QUEUE_JOB_ID);
    into->label = wire_text(own->label);
    into->state = states[job->state];
    into->tasks = job->tasks;
    into->done = job->done;
    into->failed = job->failed;
    into->canceled = job->canceled;
    into->leased = job->leased;
    into->created = own->created;
    into->priority = job->priority;
    into->paused = job->paused;
    into->ended = own->ended;
    into->submitter = wire_text(submitter);
    into->first_prompt = wire_text(own->first_prompt);
    into->device_kind = wire_text(own->device_kind);
    into->trouble = wire_text(own->trouble);
    into->deadline = own->deadline;
    into->late = own->deadline && (own->ended ? own->ended : now) > own->deadline;
}
