#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/path.h"
#include "client/command.h"
#include "client/json.h"
#include "client/member.h"
#include "client/print.h"
#include "proto/files/blob.h"
#include "proto/files/picture.h"
#include "proto/job/alternatives.h"
#include "proto/job/params.h"
#include "proto/provenance.h"
#include "proto/wire.h"

enum { FILE_MOST = 1 << 30 };

/* A1111's field names that are options of ours. */
static const char *const names[][2] = {
    {"Steps", "steps"},
    {"Sampler", "sampler"},
    {"Schedule type", "schedule"},
    {"CFG scale", "cfg"},
    {"Seed", "seed"},
    {"Size", "size"},
    {"Model", "model"},
    {"Clip skip", "clip-skip"},
    {"Prompt syntax", "syntax"},
    {"Eta DDIM", "eta"},
    {"Precision", "precision"},
    {"Denoising strength", "strength"},
    {"Mask blur", "mask-blur"},
    {"Tiled VAE", "tile"},
    {"Inpaint fill", "inpaint-fill"},
    {"Masked content", "inpaint-fill"},
    {"Mask mode", "mask-invert"},
    {"Inpaint area", "inpaint-full-res"},
    {"Masked area padding", "inpaint-padding"},
    {"Hires upscale", "hires"},
    {"Hires resize", "hires"},
    {"Hires upscaler", "hires-upscaler"},
    {"Image CFG scale", "image-cfg"},
    {"RNG", "rng"},
    {"ENSD", "ensd"},
    {"Seed resize from", "seed-resize"},
    {"Batch size", "batch"},
    {"Batch pos", "batch-index"},
};

/* The option a field is of; NULL when it is of none. */
static const char *option_of(const char *field)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(field, names[i][0]))
            return names[i][1];
    for (size_t i = 0; params_rare[i][0]; i++)
        if (!strcmp(field, params_rare[i][0]))
            return params_rare[i][1];
    for (const struct option *option = options; option->name; option++) {
        char name[PARAMS_NAME];
        params_file_name(option, name);
        if (option->type == OPTION_FILE && !strcmp(field, name))
            return option->name;
    }
    return NULL;
}

static const char *find_field(const struct params *params, const char *name)
{
    for (size_t i = 0; i < params->count; i++)
        if (!strcmp(params->field[i].name, name))
            return params->field[i].value;
    return NULL;
}

/* A1111 writes it as two fields. */
static void add_variation(json_t *job, const struct params *params)
{
    const char *seed = find_field(params, "Variation seed");
    const char *strength = find_field(params, "Variation seed strength");
    struct task scratch;
    if (!seed || !strength)
        return;
    char *text = path_format("%s:%s", seed, strength);
    task_init(&scratch);
    if (task_set(&scratch, "variation", text, NULL))
        json_object_set_new(job, "variation", json_string(text));
    task_clear(&scratch);
    free(text);
}

/* So does it with the refiner, which it calls "name [hash]". Of ours the file is known. */
static void add_refiner(json_t *job, const struct params *params)
{
    const char *name = find_field(params, "Refiner");
    const char *at = find_field(params, "Refiner switch at");
    struct task scratch;
    if (!name || !at || json_object_get(job, "refiner"))
        return;
    const char *hash = strrchr(name, '[');
    size_t size = hash && hash > name ? (size_t)(hash - name) : strlen(name);
    while (size && name[size - 1] == ' ')
        size--;
    char *text = path_format("%.*s:%s", (int)size, name, at);
    task_init(&scratch);
    if (task_set(&scratch, "refiner", text, NULL))
        json_object_set_new(job, "refiner", json_string(text));
    task_clear(&scratch);
    free(text);
}

/* What --from takes: the fields that are options here, with values they take. */
static json_t *as_job(const struct params *params)
{
    json_t *job = json_object();
    struct task scratch;
    struct buffer prompt = {0};
    task_init(&scratch);
    alternatives_escape(params->prompt, &prompt, NULL);
    json_object_set_new(job, "prompt", json_pack("[s]", buffer_text(&prompt)));
    buffer_clear(&prompt);
    if (*params->negative)
        json_object_set_new(job, "negative", json_string(params->negative));
    for (size_t i = 0; i < params->count; i++) {
        const char *option = option_of(params->field[i].name);
        if (option && task_set(&scratch, option, params->field[i].value, NULL))
            json_object_set_new(job, option, json_string(params->field[i].value));
    }
    add_variation(job, params);
    add_refiner(job, params);
    if (!find_field(params, "RNG")) /* A1111's own default */
        json_object_set_new(job, "rng", json_string("philox"));
    task_clear(&scratch);
    return job;
}

/* What became of a picture's provenance. */
struct origin {
    bool there, holds; /* holds: signature and pixels, by a farm joined here */
    struct provenance made;
    struct farm farm;
    struct error why; /* it does not hold */
};

static void look_at_origin(const struct buffer *file, const struct picture *picture,
                           struct origin *self)
{
    struct buffer text = {0};
    *self = (struct origin){0};
    self->there =
        picture_read_text(file->data, file->size, PROVENANCE_KEYWORD, &text, NULL);
    if (self->there && provenance_read(buffer_text(&text), &self->made, &self->why))
        self->holds =
            provenance_verify(buffer_text(&text), self->made.farm, picture->rgb,
                              picture->width * picture->height * 3, &self->why);
    if (self->holds && !member_signer(self->made.farm, &self->farm)) {
        char key[KEY_TEXT];
        key_format(self->made.farm, key);
        self->holds =
            error_set_kind(&self->why, ERROR_NOT_FOUND,
                           "signed by a farm that was not joined here (%s)", key);
    }
    buffer_clear(&text);
}

static json_t *origin_json(const struct origin *self)
{
    char node[KEY_TEXT], task[BLOB_TEXT];
    if (!self->there)
        return json_null();
    key_format(self->made.node, node);
    blob_format(self->made.task, task);
    json_t *models = json_array();
    for (size_t m = 0; m < self->made.models; m++)
        json_array_append_new(models,
                              json_hex(wire_bytes(self->made.model[m], BLOB_ID)));
    json_t *list = self->made.listed ? json_hex(wire_bytes(self->made.deny_list, 32))
                                     : json_null();
    return json_pack("{sb ss ss ss so so ss ss ss sI}", "verified", self->holds, "why",
                     self->why.text, "farm", self->farm.name, "task", task, "models",
                     models, "deny_list", list, "engine", self->made.engine, "variant",
                     self->made.variant, "node", node, "time",
                     (json_int_t)self->made.time);
}

static void print_origin(const struct origin *self)
{
    char when[40], node[KEY_TEXT];
    time_t at = (time_t)self->made.time;
    struct tm utc;
    if (!self->there) {
        puts("Provenance: none; only fetched pictures carry one");
        return;
    }
    if (!self->holds) {
        printf("Provenance: NOT VERIFIED: %s\n", self->why.text);
        return;
    }
    key_format(self->made.node, node);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &utc));
    printf("Provenance: verified, by farm %s on %s; engine %s on %s, node %s%s\n",
           self->farm.name, when, self->made.engine, self->made.variant, node,
           self->made.listed ? "; its prompts were held against a deny list" : "");
}

static void print_info(const struct picture *picture, const char *text,
                       const struct params *params, const struct origin *origin,
                       bool json)
{
    if (!json) {
        printf("%zux%zu\n%s\n", picture->width, picture->height, text);
        print_origin(origin);
        return;
    }
    json_t *fields = json_object();
    for (size_t i = 0; i < params->count; i++)
        json_object_set_new(fields, params->field[i].name,
                            json_string(params->field[i].value));
    print_json(json_pack("{sI sI ss so so so}", "width", (json_int_t)picture->width,
                         "height", (json_int_t)picture->height, "parameters", text,
                         "fields", fields, "job", as_job(params), "provenance",
                         origin_json(origin)));
}

static int run(const struct arguments *arguments, struct error *error)
{
    const char *path = arguments->rest[0];
    struct buffer file = {0}, text = {0};
    struct picture picture = {0};
    struct params params = {0};
    bool ok = path_read(path, FILE_MOST, &file, error);
    if (ok && (!picture_read_png(file.data, file.size, &picture, error) ||
               !picture_read_text(file.data, file.size, "parameters", &text, error) ||
               !params_read(buffer_text(&text), &params, error)))
        ok = error_prefix(error, "%s", path);
    struct origin origin = {0};
    if (ok) {
        look_at_origin(&file, &picture, &origin);
        print_info(&picture, buffer_text(&text), &params, &origin, arguments->json);
    }
    params_clear(&params);
    picture_clear(&picture);
    buffer_clear(&text);
    buffer_clear(&file);
    if (!ok)
        return command_failed(error);
    return origin.there && origin.why.kind == ERROR_INPUT ? EXIT_FARM_FAILED
                                                          : EXIT_DONE;
}

extern const struct command cmd_info;
const struct command cmd_info = {
    .name = "info",
    .usage = "FILE.png",
    .help = "how a picture was made, and whether the farm's signature on it holds",
    .least = 1,
    .most = 1,
    .run = run,
};
