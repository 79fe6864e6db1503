#include "client/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/path.h"
#include "client/command.h"
#include "client/local.h"
#include "client/print.h"
#include "proto/files/manifest.h"
#include "proto/files/transfer.h"
#include "proto/places.h"

/* What is brought in: the files of a folder, or one file. */
struct import {
    struct session *session;
    Farm__Manifest *manifest;
    const char *folder, *file; /* one of them NULL */
    bool quiet;
};

static char *source_of(const struct import *self, const Farm__ModelFile *file)
{
    if (self->file)
        return path_format("%s", self->file);
    char *name = wire_string(file->path);
    char *path = path_format("%s/%s", self->folder, name);
    free(name);
    return path;
}

/* Puts the files where the private coordinator looks for them before it asks for any. What
 * cannot be linked is uploaded instead. */
static void link_files(const struct import *self)
{
    const Farm__Manifest *manifest = self->manifest;
    char *state = local_state();
    char *import = path_format("%s/%s", state, PLACE_IMPORT);
    path_make_folders(import, 0700, NULL);
    for (size_t i = 0; i < manifest->n_files; i++) {
        char hex[BLOB_TEXT];
        blob_format(manifest->files[i]->blob.data, hex);
        char *from = source_of(self, manifest->files[i]);
        char *to = path_format("%s/%s", import, hex);
        (void)!link(from, to);
        free(to);
        free(from);
    }
    free(import);
    free(state);
}

/* One file on its way up. */
struct upload {
    struct session *session;
    const Farm__ModelFile *file;
    int descriptor;
    uint64_t sent;
    bool quiet;
};

static bool send_range(struct upload *self, Farm__Envelope *envelope, uint64_t offset,
                       size_t size, struct error *error)
{
    uint8_t *bytes = malloc(size ? size : 1);
    ssize_t got = bytes ? pread(self->descriptor, bytes, size, (off_t)offset) : -1;
    bool ok = got == (ssize_t)size;
    if (!ok)
        error_set(error, "the file changed while it was uploaded");
    struct link *bulk = ok ? session_bulk(self->session, error) : NULL;
    ok = bulk && link_send(bulk, envelope, bytes, size, error);
    free(bytes);
    return ok;
}

/* The first frame goes with the offer: small files need no more. */
static bool send_offer(struct upload *self, struct error *error)
{
    Farm__Offer offer = FARM__OFFER__INIT;
    offer.blob = self->file->blob;
    offer.size = self->file->size;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_OFFER;
    envelope.offer = &offer;
    size_t size = self->file->size < TRANSFER_FRAME ? self->file->size : TRANSFER_FRAME;
    return send_range(self, &envelope, 0, size, error);
}

static bool send_chunk(struct upload *self, const Farm__Want *want, struct error *error)
{
    uint64_t size = self->file->size;
    if (want->length > TRANSFER_FRAME || want->offset > size ||
        want->length > size - want->offset)
        return error_set(error,
                         "the coordinator asks for %" PRIu32 " bytes at %" PRIu64
                         " of a file of %" PRIu64,
                         want->length, want->offset, size);
    Farm__Chunk chunk = FARM__CHUNK__INIT;
    chunk.blob = self->file->blob;
    chunk.offset = want->offset;
    chunk.size = size;
    Farm__Envelope envelope = FARM__ENVELOPE__INIT;
    envelope.body_case = FARM__ENVELOPE__BODY_CHUNK;
    envelope.chunk = &chunk;
    self->sent += want->length;
    if (!self->quiet)
        progress_bytes("uploading", self->sent, size);
    return send_range(self, &envelope, want->offset, want->length, error);
}

static bool is_ours(const struct upload *self, ProtobufCBinaryData blob)
{
    return wire_is(blob, self->file->blob.data, self->file->blob.len);
}

/* Whether the message ends the upload; *ok says how. */
static bool take(struct upload *self, const Farm__Envelope *envelope, bool *ok,
                 struct error *error)
{
    switch (envelope->body_case) {
    case FARM__ENVELOPE__BODY_STORED:
        return is_ours(self, envelope->stored->blob);
    case FARM__ENVELOPE__BODY_WANT:
        *ok = !is_ours(self, envelope->want->blob) ||
              send_chunk(self, envelope->want, error) || error->kind == ERROR_BUSY;
        return !*ok;
    case FARM__ENVELOPE__BODY_REFUSED: {
        char *text = wire_string(envelope->refused->text);
        *ok = error_set_kind(error, ERROR_FAILED, "%s", text);
        free(text);
        return true;
    }
    default:
        return false;
    }
}

static bool upload(struct upload *self, struct error *error)
{
    enum { PATIENCE_MS = 60000 };
    struct link *bulk = session_bulk(self->session, error);
    bool ok = bulk != NULL, ended = false, offered = false;
    int64_t heard = clock_ms();
    while (ok && !ended) {
        if (!offered)
            offered = send_offer(self, error);
        if (!offered && error->kind != ERROR_BUSY)
            return false;
        session_wait(self->session, 100);
        struct message message = {0};
        while (session_next(self->session, &message) != LINK_NOTHING)
            message_clear(&message);
        enum link_event event;
        bulk = session_bulk(self->session, error);
        while (ok && !ended && bulk &&
               (event = link_step(bulk, clock_ms(), &message)) != LINK_NOTHING) {
            if (event == LINK_MESSAGE) {
                ended = take(self, message.envelope, &ok, error);
                heard = clock_ms();
            } else {
                offered = false;
            }
            message_clear(&message);
        }
        if (!ended && clock_ms() - heard > PATIENCE_MS)
            ok = error_set_kind(error, ERROR_UNREACHABLE,
                                "the coordinator takes no files for %d s",
                                PATIENCE_MS / 1000);
        if (interrupt_count())
            ok = error_set_kind(error, ERROR_BUSY, "interrupted");
    }
    return ok && bulk;
}

static bool upload_file(const struct import *import, ProtobufCBinaryData blob,
                        struct error *error)
{
    const Farm__Manifest *manifest = import->manifest;
    for (size_t i = 0; i < manifest->n_files; i++) {
        const Farm__ModelFile *file = manifest->files[i];
        if (!wire_is(blob, file->blob.data, file->blob.len))
            continue;
        char *path = source_of(import, file);
        struct upload self = {
            .session = import->session, .file = file, .quiet = import->quiet};
        self.descriptor = open(path, O_RDONLY | O_CLOEXEC);
        bool ok = self.descriptor >= 0
                      ? upload(&self, error) || error_prefix(error, "%s", path)
                      : error_set(error, "%s: %s", path, strerror(errno));
        if (self.descriptor >= 0)
            close(self.descriptor);
        free(path);
        return ok;
    }
    return error_set(error, "the coordinator asks for a file that is not of the model");
}

/* Tells the manifest, uploads what the answer says is missing, and asks again: with nothing
 * missing the model is complete. */
static bool add(const struct import *self, struct error *error)
{
    Farm__ModelAdd add = FARM__MODEL_ADD__INIT;
    add.manifest = self->manifest;
    Farm__Envelope ask = FARM__ENVELOPE__INIT;
    ask.body_case = FARM__ENVELOPE__BODY_MODEL_ADD;
    ask.model_add = &add;
    size_t missing = 1;
    for (int round = 0; missing && round < 2; round++) {
        struct message answer = {0};
        if (!session_ask(self->session, &ask, FARM__ENVELOPE__BODY_MODEL_STATE, &answer,
                         error))
            return false;
        const Farm__ModelState *state = answer.envelope->model_state;
        missing = state->n_missing;
        bool ok = true;
        for (size_t i = 0; ok && i < missing; i++)
            ok = upload_file(self, state->missing[i], error);
        message_clear(&answer);
        if (!ok)
            return false;
    }
    return !missing || error_set(error, "%s: the farm still lacks %zu files of it",
                                 self->folder ? self->folder : self->file, missing);
}

/* Ends the manifest's life. Pictures and the like are never linked: people overwrite
 * them. */
static bool bring(struct import *self, char id[BLOB_TEXT], struct error *error)
{
    uint8_t binary[BLOB_ID];
    if (!self->manifest)
        return false;
    manifest_id(self->manifest, binary);
    blob_format(binary, id);
    if (!manifest_is_input(self->manifest) && session_is_local(self->session))
        link_files(self);
    bool ok = add(self, error);
    if (!self->quiet)
        progress_end();
    manifest_destroy(&self->manifest);
    return ok;
}

bool model_import(struct session *session, const char *path, const char *name,
                  bool quiet, char id[BLOB_TEXT], struct error *error)
{
    struct stat found;
    bool file = stat(path, &found) == 0 && S_ISREG(found.st_mode);
    if (!quiet)
        say("hashing %s", path);
    struct import self = {.session = session,
                          .manifest = manifest_from_path(path, name, error),
                          .folder = file ? NULL : path,
                          .file = file ? path : NULL,
                          .quiet = quiet};
    return bring(&self, id, error);
}

bool file_import(struct session *session, const char *path, const char *kind,
                 bool quiet, char id[BLOB_TEXT], struct error *error)
{
    struct import self = {.session = session,
                          .manifest = manifest_from_file(path, kind, error),
                          .file = path,
                          .quiet = quiet};
    return bring(&self, id, error);
}
