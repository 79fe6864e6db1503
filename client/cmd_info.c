#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "client/command.h"
#include "client/print.h"
#include "proto/files/picture.h"
#include "proto/job/alternatives.h"
#include "proto/job/params.h"

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
    {"Eta DDIM", "eta"},
    {"Precision", "precision"},
};

/* The option a field is of; NULL when it is of none. */
static const char *option_of(const char *field)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(field, names[i][0]))
            return names[i][1];
    for (const struct option *option = options; option->name; option++) {
        char name[PARAMS_NAME];
        params_file_name(option, name);
        if (option->type == OPTION_FILE && !strcmp(field, name))
            return option->name;
    }
    return NULL;
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
    task_clear(&scratch);
    return job;
}

static void print_info(const struct picture *picture, const char *text,
                       const struct params *params, bool json)
{
    if (!json) {
        printf("%zux%zu\n%s\n", picture->width, picture->height, text);
        return;
    }
    json_t *fields = json_object();
    for (size_t i = 0; i < params->count; i++)
        json_object_set_new(fields, params->field[i].name,
                            json_string(params->field[i].value));
    print_json(json_pack("{sI sI ss so so}", "width", (json_int_t)picture->width,
                         "height", (json_int_t)picture->height, "parameters", text,
                         "fields", fields, "job", as_job(params)));
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
    if (ok)
        print_info(&picture, buffer_text(&text), &params, arguments->json);
    params_clear(&params);
    picture_clear(&picture);
    buffer_clear(&text);
    buffer_clear(&file);
    return ok ? EXIT_DONE : command_failed(error);
}

extern const struct command cmd_info;
const struct command cmd_info = {
    .name = "info",
    .usage = "FILE.png",
    .help = "how a picture was made: the parameters it carries",
    .least = 1,
    .most = 1,
    .run = run,
};
