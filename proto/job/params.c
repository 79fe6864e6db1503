/* The text as A1111 writes it: the prompt's lines; from a line that begins with "Negative
 * prompt:" on the negative prompt's; last one line of fields "Name: value, Name: value".
 * A last line with fewer than three fields is part of the prompt. Nothing marks where a
 * prompt ends, so a prompt can be written that reads back otherwise; A1111's own can too.
 */
#include "proto/job/params.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/job/files.h"

enum { FIELDS_LEAST = 3 };

const char *const params_rare[][2] = {
    {"Class", "class"},
    {"Original size", "original-size"},
    {"Crop", "crop"},
    {"Aesthetic score", "aesthetic"},
    {"Guidance rescale", "guidance-rescale"},
    {"Prediction", "prediction"},
    {"Zero SNR", "zsnr"},
    {"Empty negative", "empty-negative"},
    {"Hires steps", "hires-steps"},
    {"Hires sampler", "hires-sampler"},
    {"Hires schedule type", "hires-schedule"},
    {"Hires CFG Scale", "hires-cfg"},
    {NULL, NULL},
};

/* ", Name: value", quoted where it could not be read back otherwise. */
static bool write_field(struct buffer *into, const char *name, const char *value,
                        struct error *error)
{
    char *quoted = NULL;
    if (strpbrk(value, ",:\n")) {
        json_t *string = json_string(value);
        quoted = json_dumps(string, JSON_ENCODE_ANY);
        json_decref(string);
    }
    bool ok = buffer_printf(into, error, ", %s: %s", name, quoted ? quoted : value);
    free(quoted);
    return ok;
}

static bool write_option(struct buffer *into, const char *name, const char *option,
                         const struct task *task, struct error *error)
{
    char *value = task_get(task, option_find(option));
    bool ok = write_field(into, name, value, error);
    free(value);
    return ok;
}

void params_file_name(const struct option *option, char name[PARAMS_NAME])
{
    snprintf(name, PARAMS_NAME, "%s file", option->name);
    name[0] = (char)toupper((unsigned char)name[0]);
}

/* Files stand as the ids of their manifests: the farm knows them by that. */
static bool write_files(struct buffer *into, const struct task *task,
                        struct error *error)
{
    bool ok = true;
    for (const struct option *option = options; ok && option->name; option++) {
        char name[PARAMS_NAME], *value = NULL;
        if (option->type != OPTION_FILE)
            continue;
        params_file_name(option, name);
        value = task_get(task, option);
        ok = !*value || write_field(into, name, value, error);
        free(value);
    }
    return ok;
}

/* What decides the noise besides the seed, in A1111's words where it has them. */
static bool write_noise(struct buffer *into, const struct task *task,
                        struct error *error)
{
    bool is_comfy = !strcmp(task->rng, "comfy-batch");
    const char *rng = !strcmp(task->rng, "philox") ? "NV"
                      : is_comfy                   ? task->rng
                                                   : "CPU";
    char number[32];
    snprintf(number, sizeof number, "%" PRIu64, task->variation_seed);
    if (task->variation > 0 &&
        !(write_field(into, "Variation seed", number, error) &&
          buffer_printf(into, error, ", Variation seed strength: %g", task->variation)))
        return false;
    return (!task->noise_width ||
            write_option(into, "Seed resize from", "seed-resize", task, error)) &&
           (!task->ensd || write_option(into, "ENSD", "ensd", task, error)) &&
           write_field(into, "RNG", rng, error) &&
           (!is_comfy || (write_option(into, "Batch size", "batch", task, error) &&
                          write_option(into, "Batch pos", "batch-index", task, error)));
}

/* Options of some models only, where they are not what they are by default. */
static bool write_rare(struct buffer *into, const struct task *task,
                       struct error *error)
{
    bool ok = true;
    for (size_t i = 0; ok && params_rare[i][0]; i++) {
        const struct option *option = option_find(params_rare[i][1]);
        char *value = task_get(task, option);
        ok = strcmp(value, option->fallback) == 0 ||
             write_field(into, params_rare[i][0], value, error);
        free(value);
    }
    return ok;
}

/* What is made of a picture that is given, and of the first pass's. */
static bool write_pictures(struct buffer *into, const struct task *task,
                           struct error *error)
{
    bool enlarges = task->hires_scale > 0 || task->hires_width;
    const char *content = !strcmp(task->inpaint_fill, "latent-noise") ? "latent noise"
                          : !strcmp(task->inpaint_fill, "latent-nothing")
                              ? "latent nothing"
                              : task->inpaint_fill;
    const char *hires = task->hires_width ? "Hires resize" : "Hires upscale";
    return ((!*task->init && !enlarges) ||
            write_option(into, "Denoising strength", "strength", task, error)) &&
           (!enlarges ||
            (write_option(into, hires, "hires", task, error) &&
             write_option(into, "Hires upscaler", "hires-upscaler", task, error))) &&
           (!(task->mask_blur > 0) ||
            write_option(into, "Mask blur", "mask-blur", task, error)) &&
           (!*task->mask || !strcmp(task->inpaint_fill, "original") ||
            write_field(into, "Masked content", content, error)) &&
           (strcmp(task->mask_invert, "on") != 0 ||
            write_field(into, "Mask mode", "Inpaint not masked", error)) &&
           (strcmp(task->inpaint_full_res, "on") != 0 ||
            (write_field(into, "Inpaint area", "Only masked", error) &&
             write_option(into, "Masked area padding", "inpaint-padding", task,
                          error)));
}

/* As A1111 has it: the model's name with its hash, and where it went on. */
static bool write_refiner(struct buffer *into, const struct task *task,
                          const char *refiner, struct error *error)
{
    struct file_uses uses;
    if (!*refiner ||
        !file_uses_read(&uses, option_find("refiner"), task->refiner, error))
        return !*refiner;
    bool ok = !uses.count || (write_field(into, "Refiner", refiner, error) &&
                              buffer_printf(into, error, ", Refiner switch at: %g",
                                            uses.item[0].weight));
    file_uses_clear(&uses);
    return ok;
}

bool params_write(const struct task *task, const struct params_models *models,
                  struct buffer *into, struct error *error)
{
    return buffer_printf(into, error, "%s\n", task->prompt) &&
           (!*task->negative ||
            buffer_printf(into, error, "Negative prompt: %s\n", task->negative)) &&
           buffer_printf(into, error, "Steps: %" PRIu64, task->steps) &&
           write_option(into, "Sampler", "sampler", task, error) &&
           write_option(into, "Schedule type", "schedule", task, error) &&
           write_option(into, "CFG scale", "cfg", task, error) &&
           write_option(into, "Seed", "seed", task, error) &&
           write_option(into, "Size", "size", task, error) &&
           write_field(into, "Model hash", models->hash, error) &&
           write_field(into, "Model", models->name, error) &&
           (task->clip_skip <= 1 ||
            write_option(into, "Clip skip", "clip-skip", task, error)) &&
           write_pictures(into, task, error) &&
           write_refiner(into, task, models->refiner, error) &&
           (!strcmp(task->tile, "off") ||
            write_option(into, "Tiled VAE", "tile", task, error)) &&
           (!*task->image ||
            write_option(into, "Image CFG scale", "image-cfg", task, error)) &&
           (!(task->eta > 0) || write_option(into, "Eta DDIM", "eta", task, error)) &&
           write_noise(into, task, error) &&
           (!strcmp(task->syntax, "auto") ||
            write_option(into, "Prompt syntax", "syntax", task, error)) &&
           (!strcmp(task->precision, "auto") ||
            write_option(into, "Precision", "precision", task, error)) &&
           write_rare(into, task, error) && write_files(into, task, error) &&
           write_field(into, "Version", "clfarm " FARM_VERSION, error);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

struct span {
    const char *start, *end;
};

/* The end of a JSON string that begins at `at` and is followed by a comma or the end of the
 * line; NULL when none does. */
static const char *quoted_end(const char *at, const char *end)
{
    if (at == end || *at != '"')
        return NULL;
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    if (at >= end)
        return NULL;
    at++;
    return at == end || *at == ',' ? at : NULL;
}

/* The next "Name: value" at or behind *at. */
static bool next_field(const char **at, const char *end, struct span *name,
                       struct span *value)
{
    while (*at < end) {
        if (!is_word(**at)) {
            ++*at;
            continue;
        }
        name->start = *at;
        while (*at < end && (is_word(**at) || strchr(" -/", **at)))
            ++*at;
        name->end = *at;
        if (*at == end || **at != ':' || name->end - name->start < 2)
            continue;
        for (++*at; *at < end && isspace((unsigned char)**at);)
            ++*at;
        value->start = *at;
        value->end = quoted_end(*at, end);
        if (!value->end)
            value->end = memchr(*at, ',', (size_t)(end - *at));
        if (!value->end)
            value->end = end;
        *at = value->end < end ? value->end + 1 : end;
        return true;
    }
    return false;
}

static char *unquote(struct span value)
{
    size_t size = (size_t)(value.end - value.start);
    if (size >= 2 && *value.start == '"') {
        json_t *string = json_loadb(value.start, size, JSON_DECODE_ANY, NULL);
        char *text = json_is_string(string) ? strdup(json_string_value(string)) : NULL;
        json_decref(string);
        if (text)
            return text;
    }
    return strndup(value.start, size);
}

static bool read_fields(struct span line, struct params *into)
{
    struct span name, value;
    size_t count = 0;
    for (const char *at = line.start; next_field(&at, line.end, &name, &value);)
        count++;
    if (count < FIELDS_LEAST)
        return true;
    into->field = calloc(count, sizeof *into->field);
    if (!into->field)
        return false;
    for (const char *at = line.start; next_field(&at, line.end, &name, &value);) {
        struct params_field *field = &into->field[into->count++];
        field->name = strndup(name.start, (size_t)(name.end - name.start));
        field->value = unquote(value);
        if (!field->name || !field->value)
            return false;
    }
    return true;
}

static struct span trim(struct span span)
{
    while (span.start < span.end && isspace((unsigned char)*span.start))
        span.start++;
    while (span.start < span.end && isspace((unsigned char)span.end[-1]))
        span.end--;
    return span;
}

/* Sorts the lines before the fields into the two prompts. */
static bool read_prompts(struct span text, struct params *into, struct error *error)
{
    static const char mark[] = "Negative prompt:";
    struct buffer prompts[2] = {{0}, {0}};
    size_t lines[2] = {0, 0}, which = 0;
    bool ok = true;
    while (ok && text.start < text.end) {
        const char *end = memchr(text.start, '\n', (size_t)(text.end - text.start));
        struct span line = trim((struct span){text.start, end ? end : text.end});
        text.start = end ? end + 1 : text.end;
        if ((size_t)(line.end - line.start) >= strlen(mark) &&
            !memcmp(line.start, mark, strlen(mark))) {
            which = 1;
            line = trim((struct span){line.start + strlen(mark), line.end});
        }
        ok = (!lines[which]++ || buffer_append(&prompts[which], "\n", 1, error)) &&
             buffer_append(&prompts[which], line.start, (size_t)(line.end - line.start),
                           error);
    }
    if (ok) {
        into->prompt = strdup(buffer_text(&prompts[0]));
        into->negative = strdup(buffer_text(&prompts[1]));
    }
    buffer_clear(&prompts[0]);
    buffer_clear(&prompts[1]);
    return ok && into->prompt && into->negative;
}

bool params_read(const char *text, struct params *into, struct error *error)
{
    *into = (struct params){0};
    struct span all = trim((struct span){text, text + strlen(text)});
    const char *last = memrchr(all.start, '\n', (size_t)(all.end - all.start));
    struct span line = {last ? last + 1 : all.start, all.end};
    bool ok = read_fields(line, into);
    if (into->count)
        all.end = line.start;
    ok = ok && read_prompts(trim(all), into, error);
    if (!ok) {
        params_clear(into);
        error_set_kind(error, ERROR_MEMORY, "parameters: out of memory");
    }
    return ok;
}

void params_clear(struct params *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->field[i].name);
        free(self->field[i].value);
    }
    free(self->field);
    free(self->prompt);
    free(self->negative);
    *self = (struct params){0};
}
