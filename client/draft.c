#include "client/draft.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/command.h"
#include "client/deadline.h"
#include "client/draft_parts.h"

enum { FROM_MOST = 1 << 20, ONE_WORD_PROMPTS_MOST = 3, IMAGES_MOST = 10000000 };

const struct flag flags_of_jobs[] = {
    {"images", 'n', "N", "N images, with seeds S to S+N-1"},
    {"axis", 0, "KEY=V1,V2",
     "a value after the other for any option; repeatable; "
     "KEY=@FILE: one a line"},
    {"from", 0, "FILE", "prompts, one a line; or a whole job as JSON"},
    {"label", 0, "TEXT", "a name for the job"},
    {"priority", 0, "N", "before (above 0) or behind your other jobs"},
    {"deadline", 0, "TIME",
     "before your other jobs of that priority that are due later; 2h, 18:30, "
     "2027-03-01"},
    {"latents", 0, NULL, "keep each image's final latents too"},
    {"checkpoint-every", 0, "N",
     "keep each image half way every N steps, to go on from elsewhere"},
    {"force", 0, NULL, "render again what is known"},
    {"same-device-kind", 0, NULL,
     "all by devices of one kind, that of the first to take one"},
    {"dry-run", 0, NULL, "only say what it would be"},
    {"yes", 'y', NULL, "do not ask before large jobs"},
    {"out", 'o', "DIR", "folder for results; default out/{job}"},
    {"name", 0, "TEMPLATE", "their names; default {index:05}-{seed}"},
    {"preview", 0, NULL,
     "render: DIR/previews/NAME.png as they denoise; the newest here, too, in kitty's "
     "terminals"},
    {"print-id", 0, NULL, "print the job's id alone"},
    {NULL, 0, NULL, NULL},
};

/* Prompts, one a line; empty lines are left out. */
static void take_lines(Farm__Job *job, char *text)
{
    for (char *save = NULL, *line = strtok_r(text, "\r\n", &save); line;
         line = strtok_r(NULL, "\r\n", &save))
        if (line[strspn(line, " \t")])
            draft_add_prompt(job, line);
}

static bool is_json(const char *path)
{
    size_t length = strlen(path);
    return length > 5 && !strcmp(path + length - 5, ".json");
}

static bool take_from(Farm__Job *job, const char *path, struct error *error)
{
    struct buffer text = {0};
    bool ok =
        path_read(strcmp(path, "-") ? path : "/dev/stdin", FROM_MOST, &text, error);
    if (!ok && error->kind == ERROR_NOT_FOUND)
        error->kind = ERROR_INPUT;
    char *start = (char *)buffer_text(&text);
    if (ok && memchr(start, 0, text.size))
        ok = error_set_kind(error, ERROR_INPUT, "%s: is no text file", path);
    start += strspn(start, " \t\r\n");
    if (ok && (*start == '{' || is_json(path)))
        ok = draft_take_json(job, start, error) || error_prefix(error, "%s", path);
    else if (ok)
        take_lines(job, start);
    buffer_clear(&text);
    return ok;
}

static bool take_prompts(Farm__Job *job, const struct arguments *arguments,
                         struct error *error)
{
    bool all_words = arguments->rest_count > ONE_WORD_PROMPTS_MOST;
    for (size_t i = 0; i < arguments->rest_count; i++) {
        all_words = all_words && !strpbrk(arguments->rest[i], " \t,");
        draft_add_prompt(job, arguments->rest[i]);
    }
    if (all_words)
        return error_set_kind(
            error, ERROR_INPUT,
            "%zu prompts of one word each: put quotes around a prompt "
            "of several words, or give them with --from",
            arguments->rest_count);
    return true;
}

static bool has_axis(const Farm__Job *job, const char *name)
{
    for (size_t i = 0; i < job->n_axes; i++)
        if (!strcmp((const char *)job->axes[i]->name.data, name))
            return true;
    return false;
}

static bool says(const Farm__Job *job, const char *name, const char *value)
{
    for (size_t i = 0; i < job->n_settings; i++)
        if (wire_is(job->settings[i]->name, name, strlen(name)))
            return wire_is(job->settings[i]->value, value, strlen(value));
    return false;
}

/* ComfyUI's -n: one seed, whose noise is drawn for all images at once. */
static bool take_batch(Farm__Job *job, long images, struct error *error)
{
    struct buffer axis = {0};
    char *count = path_format("%ld", images);
    bool ok = buffer_printf(&axis, error, "batch-index=0");
    for (long i = 1; ok && i < images; i++)
        ok = buffer_printf(&axis, error, ",%ld", i);
    draft_set(job, "batch", count);
    ok = ok && draft_add_axis(job, buffer_text(&axis), error);
    buffer_clear(&axis);
    free(count);
    return ok;
}

/* --seed and -n; one random seed where nothing says otherwise. */
static bool take_seeds(Farm__Job *job, const struct arguments *arguments,
                       struct error *error)
{
    const char *seeds = arguments_value(arguments, "seed", NULL);
    long images = 0;
    if (!arguments_number(arguments, "images", 1, IMAGES_MOST, &images, error))
        return false;
    if (seeds)
        draft_clear_seeds(job);
    if (!seeds && !job->n_seeds && !has_axis(job, "seed"))
        seeds = "-1";
    if (seeds && !seeds_parse(seeds, &job->seeds, &job->n_seeds, error))
        return false;
    if (!images)
        return true;
    if (job->n_seeds != 1 || job->seeds[0]->count != 1)
        return error_set_kind(error, ERROR_INPUT,
                              "images: -n counts on from one seed, \"%s\" is more",
                              seeds ? seeds : "the list given");
    if (says(job, "rng", "comfy-batch"))
        return take_batch(job, images, error);
    job->seeds[0]->count = (uint64_t)images;
    return true;
}

/* --lora A --lora B is one list of files. */
static void set_files(Farm__Job *job, const struct arguments *arguments,
                      const struct option *option)
{
    char *all = NULL;
    size_t at = 0;
    for (const char *value; (value = arguments_next(arguments, option->name, &at));) {
        char *more = path_format("%s%s%s", all ? all : "", all ? ";" : "", value);
        free(all);
        all = more;
    }
    if (all)
        draft_set(job, option->name, all);
    free(all);
}

static bool take_arguments(Farm__Job *job, const struct arguments *arguments,
                           struct error *error)
{
    size_t at = 0;
    for (const char *axis; (axis = arguments_next(arguments, "axis", &at));)
        if (!draft_add_axis(job, axis, error))
            return false;
    for (const struct option *option = options; option->name; option++) {
        const char *value = arguments_value(arguments, option->name, NULL);
        if (option->type == OPTION_FILE && option->most > 1)
            set_files(job, arguments, option);
        else if (!option->metavar && arguments_has(arguments, option->name))
            draft_set(job, option->name, "on");
        else if (value && strcmp(option->name, "seed"))
            draft_set(job, option->name, value);
    }
    /* An empty text that was asked for is one. */
    const char *negative = arguments_value(arguments, "negative", NULL);
    if (negative && !*negative && !arguments_value(arguments, "empty-negative", NULL))
        draft_set(job, "empty-negative", "text");
    const char *label = arguments_value(arguments, "label", NULL);
    if (label)
        draft_set_label(job, label);
    const char *priority = arguments_value(arguments, "priority", NULL);
    if (priority && !argument_priority(priority, &job->priority, error))
        return false;
    const char *deadline = arguments_value(arguments, "deadline", NULL);
    if (deadline && !deadline_read(deadline, clock_unix(), &job->deadline, error))
        return false;
    const char *every = arguments_value(arguments, "checkpoint-every", NULL);
    if (every && !argument_steps(every, &job->checkpoint_every, error))
        return false;
    job->latents = job->latents || arguments_has(arguments, "latents");
    job->force = job->force || arguments_has(arguments, "force");
    job->same_device_kind =
        job->same_device_kind || arguments_has(arguments, "same-device-kind");
    return true;
}

bool draft_make(struct draft *self, const struct arguments *arguments,
                struct error *error)
{
    const char *from = arguments_value(arguments, "from", NULL);
    Farm__Job *job = self->job = malloc(sizeof *job);
    if (!job)
        abort();
    farm__job__init(job);
    job->expansion = JOB_EXPANSION;
    bool ok =
        (!from || take_from(job, from, error)) && take_prompts(job, arguments, error) &&
        take_arguments(job, arguments, error) && take_seeds(job, arguments, error);
    /* A class is all that such models are told. */
    bool classed = arguments_value(arguments, "class", NULL) || has_axis(job, "class");
    if (ok && !job->n_prompts && !has_axis(job, "prompt") && classed)
        draft_add_prompt(job, "");
    if (ok && !job->n_prompts && !has_axis(job, "prompt"))
        ok = error_set_kind(error, ERROR_INPUT,
                            "there is no prompt (\"\" is one, for models that take no "
                            "text); usage: farmctl %s %s",
                            arguments->command->name, arguments->command->usage);
    ok = ok && draft_wildcards(job, error) && draft_tags(job, error) &&
         job_check(job, &self->tasks, error);
    if (!ok)
        draft_clear(self);
    return ok;
}

void draft_clear(struct draft *self)
{
    if (self->job)
        farm__job__free_unpacked(self->job, NULL);
    *self = (struct draft){0};
}
