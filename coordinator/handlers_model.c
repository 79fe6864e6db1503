/* Models: manifests in, files through the depot, complete when all of them are here. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "coordinator/handlers.h"
#include "coordinator/work.h"

/* A ModelAdd that waits until the importer looked at local files. */
struct import {
    uint64_t ticket, request;
    uint8_t peer[PEER_ID];
    uint8_t model[BLOB_ID];
    struct import *next;
};

static void store_model(struct coordinator *self, const struct model *model)
{
    size_t size;
    uint8_t *packed = wire_pack(&model->manifest->base, &size);
    struct model_row row = {.name = model->name,
                            .manifest = packed,
                            .manifest_size = size,
                            .complete = model->complete,
                            .added = model->added};
    memcpy(row.id, model->id, BLOB_ID);
    change_model(self->change, &row);
    free(packed);
}

/* All files are here: from this commit on jobs may name the model. */
static void complete_if_whole(struct coordinator *self, struct model *model)
{
    if (model->complete || models_missing(model, self->blobs))
        return;
    model->complete = true;
    for (size_t f = 0; f < model->manifest->n_files; f++) {
        const Farm__ModelFile *file = model->manifest->files[f];
        work_name_blob(self, file->blob.data, file->size);
    }
    store_model(self, model);
    log_info("model %s is here", model->name);
}

/* Files that will be offered go on after a break, here or there. */
void models_expect(struct coordinator *self, const struct model *model)
{
    for (size_t f = 0; f < model->manifest->n_files; f++)
        if (!blob_has(self->blobs, model->manifest->files[f]->blob.data, NULL))
            depot_expect(self->depot, model->manifest->files[f]);
}

static void answer_state(struct coordinator *self, const uint8_t peer[PEER_ID],
                         uint64_t request, const struct model *model)
{
    const Farm__Manifest *manifest = model->manifest;
    Farm__ModelState state = FARM__MODEL_STATE__INIT;
    state.id = wire_bytes(model->id, BLOB_ID);
    state.missing = calloc(manifest->n_files + 1, sizeof *state.missing);
    if (!state.missing)
        abort();
    for (size_t f = 0; f < manifest->n_files; f++)
        if (!blob_has(self->blobs, manifest->files[f]->blob.data, NULL))
            state.missing[state.n_missing++] = manifest->files[f]->blob;
    Farm__Envelope *envelope = ANSWER(model_state, MODEL_STATE, &state);
    envelope->request = request;
    outbox_push(self->outbox, peer, envelope);
    free(state.missing);
}

/* Starts the import of files that lie in STATE/import; false when none does. */
static bool import_local(struct coordinator *self, const struct request *request,
                         const struct model *model)
{
    const Farm__Manifest *manifest = model->manifest;
    uint8_t(*ids)[BLOB_ID] = calloc(manifest->n_files + 1, sizeof *ids);
    char *folder = path_format("%s/import", self->state);
    size_t count = 0;
    if (!ids)
        abort();
    for (size_t f = 0; f < manifest->n_files; f++) {
        char name[BLOB_TEXT];
        blob_format(manifest->files[f]->blob.data, name);
        char *path = path_format("%s/%s", folder, name);
        if (access(path, R_OK) == 0)
            memcpy(ids[count++], manifest->files[f]->blob.data, BLOB_ID);
        free(path);
    }
    if (count) {
        struct import *import = calloc(1, sizeof *import);
        if (!import)
            abort();
        import->ticket = ++self->tickets;
        import->request = request->message->envelope->request;
        memcpy(import->peer, request->peer, PEER_ID);
        memcpy(import->model, model->id, BLOB_ID);
        import->next = self->imports;
        self->imports = import;
        depot_import(self->depot, import->ticket, folder, ids, count);
    }
    free(folder);
    free(ids);
    return count > 0;
}

bool handle_model_add(struct coordinator *self, struct request *request,
                      struct error *error)
{
    const Farm__Manifest *manifest = request->message->envelope->model_add->manifest;
    if (!manifest_check(manifest, error))
        return false;
    if (!manifest->name.len || manifest->name.len > 200)
        return error_set_kind(error, ERROR_INPUT,
                              "model: a name of 1 to 200 bytes is expected");
    char *name = wire_string(manifest->name);
    struct model *model =
        models_add(&self->models, manifest, name, false, clock_unix());
    audit_write(self->audit, "model name=%s by=%s", name, request->member->name);
    free(name);
    store_model(self, model);
    if (models_missing(model, self->blobs) && import_local(self, request, model))
        return true;
    complete_if_whole(self, model);
    models_expect(self, model);
    answer_state(self, request->peer, request->message->envelope->request, model);
    return true;
}

void models_imported(struct coordinator *self, uint64_t ticket)
{
    struct import **at = &self->imports;
    while (*at && (*at)->ticket != ticket)
        at = &(*at)->next;
    struct import *import = *at;
    if (!import)
        return;
    *at = import->next;
    struct model *model = models_find(&self->models, import->model);
    complete_if_whole(self, model);
    answer_state(self, import->peer, import->request, model);
    free(import);
}

void models_imports_clear(struct coordinator *self)
{
    while (self->imports) {
        struct import *next = self->imports->next;
        free(self->imports);
        self->imports = next;
    }
}

void models_blob_came(struct coordinator *self, const uint8_t id[BLOB_ID])
{
    for (struct model *m = zhashx_first(self->models.by_id); m;
         m = zhashx_next(self->models.by_id)) {
        bool concerned = false;
        for (size_t f = 0; f < m->manifest->n_files && !m->complete; f++)
            concerned = concerned || wire_is(m->manifest->files[f]->blob, id, BLOB_ID);
        if (concerned)
            complete_if_whole(self, m);
    }
}

/* The manifest without the hashes of pieces, which only a download needs. */
static Farm__Manifest *outline(const struct model *model)
{
    Farm__Manifest brief = *model->manifest;
    Farm__ModelFile *file = calloc(brief.n_files + 1, sizeof *file);
    brief.files = calloc(brief.n_files + 1, sizeof *brief.files);
    if (!file || !brief.files)
        abort();
    for (size_t f = 0; f < brief.n_files; f++) {
        file[f] = *model->manifest->files[f];
        file[f].n_pieces = 0;
        brief.files[f] = &file[f];
    }
    brief.name = wire_text(model->name);
    Farm__Manifest *copy = wire_copy(&brief.base);
    free(brief.files);
    free(file);
    return copy;
}

bool handle_model_list(struct coordinator *self, struct request *request,
                       struct error *error)
{
    (void)error;
    size_t count = zhashx_size(self->models.by_id), i = 0;
    Farm__ModelInfo *info = calloc(count + 1, sizeof *info);
    Farm__Models models = FARM__MODELS__INIT;
    models.models = calloc(count + 1, sizeof *models.models);
    if (!info || !models.models)
        abort();
    for (struct model *m = zhashx_first(self->models.by_id); m;
         m = zhashx_next(self->models.by_id), i++) {
        farm__model_info__init(&info[i]);
        info[i].id = wire_bytes(m->id, BLOB_ID);
        info[i].manifest = outline(m);
        info[i].complete = m->complete;
        models.models[i] = &info[i];
    }
    models.n_models = count;
    tell_answer(self, request, ANSWER(models, MODELS, &models));
    for (i = 0; i < count; i++)
        farm__manifest__free_unpacked(info[i].manifest, NULL);
    free(models.models);
    free(info);
    return true;
}

bool handle_model_get(struct coordinator *self, struct request *request,
                      struct error *error)
{
    const struct model *model =
        models_find(&self->models, request->message->envelope->model_get->id.data);
    if (!model)
        return error_set_kind(error, ERROR_NOT_FOUND, "the farm has no such model");
    Farm__Manifest shown = *model->manifest;
    uint8_t signature[SIGNING_SIGNATURE];
    shown.name = wire_text(model->name);
    manifest_sign(&shown, &self->signer, signature);
    shown.signature = wire_bytes(signature, sizeof signature);
    tell_answer(self, request, ANSWER(manifest, MANIFEST, &shown));
    return true;
}
