/* models, and model add. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/path.h"
#include "client/ask.h"
#include "client/command.h"
#include "client/import.h"
#include "client/json.h"
#include "client/print.h"
#include "proto/files/manifest.h"

static void print_models(const Farm__Models *models)
{
    struct table *table = table_new((const char *[]){"MODEL", "FAMILY", "SIZE", "MIB",
                                                     "ID", "STATE", "BECAUSE", NULL});
    for (size_t i = 0; i < models->n_models; i++) {
        const Farm__Manifest *manifest = models->models[i]->manifest;
        if (manifest_is_input(manifest)) /* --json lists those too */
            continue;
        json_t *model = json_model(models->models[i]);
        char *size =
            path_format("%" PRIu32 "x%" PRIu32, manifest->width, manifest->height);
        char *mib = path_format(
            "%.1f",
            (double)json_integer_value(json_object_get(model, "size")) / 1048576);
        char *id = path_format("%.8s", json_string_value(json_object_get(model, "id")));
        const char *family = json_string_value(json_object_get(model, "family"));
        table_row(table, (const char *[]){
                             json_string_value(json_object_get(model, "name")),
                             *family ? family : "-", size, mib, id,
                             models->models[i]->complete ? "complete" : "partial",
                             json_string_value(json_object_get(model, "reason"))});
        free(id);
        free(mib);
        free(size);
        json_decref(model);
    }
    table_print(&table);
}

static int run_models(const struct arguments *arguments, struct error *error)
{
    Farm__ModelList list = FARM__MODEL_LIST__INIT;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_MODEL_LIST;
    ask.model_list = &list;
    struct asked asked;
    bool ok = ask_once(&asked, arguments, &ask, FARM__ENVELOPE__BODY_MODELS, error);
    if (ok && arguments->json) {
        const Farm__Models *models = asked.answer.envelope->models;
        json_t *all = json_array();
        for (size_t i = 0; i < models->n_models; i++)
            json_array_append_new(all, json_model(models->models[i]));
        print_json(all);
    } else if (ok) {
        print_models(asked.answer.envelope->models);
    }
    asked_clear(&asked);
    return ok ? EXIT_DONE : command_failed(error);
}

static int run_add(const struct arguments *arguments, struct error *error)
{
    char id[BLOB_TEXT];
    const char *path = arguments->rest[0],
               *kind = arguments_value(arguments, "kind", NULL);
    bool quiet = arguments->quiet || arguments->json;
    struct session *session = session_open(arguments, error);
    bool ok = session && (kind ? file_import(session, path, kind, quiet, id, error)
                               : model_import(session, path,
                                              arguments_value(arguments, "name", NULL),
                                              quiet, id, error));
    if (ok && arguments->json)
        print_json(json_pack("{ss}", "id", id));
    else if (ok)
        printf("model %s\n", id);
    session_close(&session);
    return ok ? EXIT_DONE : command_failed(error);
}

static const struct flag add_flags[] = {
    {"name", 0, "NAME", "what to call it; default the folder's or file's name"},
    {"kind", 0, "KIND",
     "of a file that is no model: embedding, lora, picture, safety-checker, vae; "
     "it is called as its file"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_models, cmd_model_add;
const struct command cmd_models = {
    .name = "models",
    .usage = "",
    .help = "list the models the farm knows",
    .run = run_models,
};
const struct command cmd_model_add = {
    .name = "model add",
    .usage = "PATH [--name NAME | --kind KIND]",
    .help = "add a model to the farm: a diffusers folder or a safetensors file",
    .flags = add_flags,
    .least = 1,
    .most = 1,
    .run = run_add,
};
