#include "coordinator/models.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "coordinator/table.h"
#include "proto/wire.h"

enum { PREFIX_LEAST = 6, LISTED_MOST = 8 };

void models_init(struct models *self)
{
    self->by_id = table_new(BLOB_ID);
    self->orders = 0;
}

static void model_destroy(struct model *model)
{
    farm__manifest__free_unpacked(model->manifest, NULL);
    free(model->name);
    free(model);
}

void models_clear(struct models *self)
{
    for (void *m = zhashx_first(self->by_id); m; m = zhashx_next(self->by_id))
        model_destroy(m);
    zhashx_destroy(&self->by_id);
}

struct model *models_add(struct models *self, const Farm__Manifest *manifest,
                         const char *name, bool complete, int64_t added)
{
    uint8_t id[BLOB_ID];
    manifest_id(manifest, id);
    struct model *model = models_find(self, id);
    if (!model) {
        model = calloc(1, sizeof *model);
        if (!model)
            abort();
        memcpy(model->id, id, BLOB_ID);
        model->manifest = wire_copy(&manifest->base);
        model->added = added;
        model->complete = complete;
        zhashx_insert(self->by_id, model->id, model);
    }
    char *copy = strdup(name);
    if (!copy)
        abort();
    free(model->name);
    model->name = copy;
    model->order = ++self->orders;
    return model;
}

struct model *models_find(const struct models *self, const uint8_t id[BLOB_ID])
{
    return zhashx_lookup(self->by_id, id);
}

static bool is_kind(const struct model *model, const char *kind)
{
    return kind ? wire_is(model->manifest->kind, kind, strlen(kind))
                : !manifest_is_input(model->manifest);
}

static void say_what_there_is(const struct models *self, const char *kind,
                              const char *text, struct error *error)
{
    struct buffer names = {0};
    size_t listed = 0;
    for (struct model *m = zhashx_first(self->by_id); m; m = zhashx_next(self->by_id))
        if (m->complete && is_kind(m, kind) && ++listed <= LISTED_MOST)
            buffer_printf(&names, NULL, "%s%.60s", listed > 1 ? ", " : "", m->name);
    const char *what = kind ? kind : "model";
    error_set_kind(
        error, ERROR_NOT_FOUND,
        listed ? "%1$s: the farm has no %1$s \"%2$.60s\"; it has %3$s%4$s"
        : kind ? "%1$s: the farm has no %1$s \"%2$.60s\", and there is no such "
                 "file here%3$s%4$s"
               : "%1$s: the farm has no model \"%2$.60s\" and no other%3$s%4$s; "
                 "add one with `farmctl model add`",
        what, text, listed ? buffer_text(&names) : "",
        listed > LISTED_MOST ? ", ..." : "");
    buffer_clear(&names);
}

struct model *models_resolve(const struct models *self, const char *kind,
                             const char *text, struct error *error)
{
    struct model *named = NULL, *prefixed = NULL;
    size_t length = strlen(text), count = 0;
    for (struct model *m = zhashx_first(self->by_id); m; m = zhashx_next(self->by_id)) {
        char id[BLOB_TEXT];
        blob_format(m->id, id);
        if (!m->complete || !is_kind(m, kind))
            continue;
        if (strcmp(m->name, text) == 0 && (!named || m->order > named->order))
            named = m;
        if (length >= PREFIX_LEAST && strncmp(id, text, length) == 0) {
            prefixed = m;
            count++;
        }
    }
    if (named)
        return named;
    if (count == 1)
        return prefixed;
    const char *what = kind ? kind : "model";
    if (count > 1)
        error_set_kind(error, ERROR_INPUT,
                       "%s: the ids of %zu %ss begin with \"%.60s\"", what, count, what,
                       text);
    else
        say_what_there_is(self, kind, text, error);
    return NULL;
}

size_t models_missing(const struct model *self, const struct blob_store *blobs)
{
    size_t missing = 0;
    for (size_t f = 0; f < self->manifest->n_files; f++)
        missing += !blob_has(blobs, self->manifest->files[f]->blob.data, NULL);
    return missing;
}
