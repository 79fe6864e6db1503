/* A queue of items; the first ACTIVE_MOST that are not done have a transfer each. The farm
 * may have TRANSFER_WINDOW ranges outstanding with us altogether, so small files, which are
 * one range, come eight at a time.
 */
#include "client/fetch.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/path.h"
#include "client/scratch.h"
#include "proto/files/picture.h"
#include "proto/files/transfer.h"
#include "proto/job/params.h"
#include "proto/provenance.h"

enum { ACTIVE_MOST = TRANSFER_WINDOW };

struct item {
    uint64_t number; /* the request number of its ranges */
    char *path;
    uint8_t blob[BLOB_ID];
    uint64_t size;
    char *provenance; /* "": none */
};

struct active {
    struct item item;
    struct transfer *transfer; /* NULL: this place is free */
};

struct fetch {
    struct session *session;
    struct link *link;
    unsigned links; /* session_bulk_links when the outstanding ranges were asked for */
    char *folder;
    struct scratch scratch;
    struct blob_store *store; /* in scratch */
    struct item *item;        /* waiting: from `next` on */
    size_t next, count, room;
    struct active active[ACTIVE_MOST];
    size_t active_count, outstanding;
    size_t files, skipped, lost;
    uint64_t added;
    bool told_truncated, told_flagged;
    struct error first_lost; /* why, of the first item that was given up */
    uint64_t bytes;
};

struct fetch *fetch_new(struct session *session, const char *folder,
                        struct error *error)
{
    struct fetch *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->session = session;
    self->folder = path_format("%s", folder);
    if (path_make_folders(folder, 0777, error) &&
        scratch_open(&self->scratch, folder, error))
        self->store = blob_store_open(self->scratch.path, error);
    if (!self->store) {
        if (error)
            error->kind = ERROR_INPUT;
        fetch_destroy(&self);
    }
    return self;
}

static void item_clear(struct item *item)
{
    free(item->path);
    free(item->provenance);
    *item = (struct item){0};
}

void fetch_destroy(struct fetch **self)
{
    if (!*self)
        return;
    for (size_t i = 0; i < ACTIVE_MOST; i++) {
        transfer_destroy(&(*self)->active[i].transfer);
        item_clear(&(*self)->active[i].item);
    }
    for (size_t i = (*self)->next; i < (*self)->count; i++)
        item_clear(&(*self)->item[i]);
    blob_store_close(&(*self)->store);
    scratch_close(&(*self)->scratch);
    free((*self)->item);
    free((*self)->folder);
    free(*self);
    *self = NULL;
}

/* A picture is compared without the provenance it was given, and that with what it is to
 * be given. */
static bool is_here(const struct item *item)
{
    struct stat status;
    struct buffer file = {0}, bare = {0}, text = {0};
    uint8_t id[BLOB_ID];
    bool here = stat(item->path, &status) == 0 && S_ISREG(status.st_mode) &&
                path_read(item->path, item->size + PROVENANCE_LIMIT, &file, NULL);
    if (here && *item->provenance)
        here = picture_cut_text(file.data, file.size, PROVENANCE_KEYWORD, &bare, &text,
                                NULL) &&
               !strcmp(buffer_text(&text), item->provenance);
    const struct buffer *content = *item->provenance ? &bare : &file;
    if (here && (here = content->size == item->size)) {
        blob_id(content->data, content->size, id);
        here = !memcmp(id, item->blob, BLOB_ID);
    }
    buffer_clear(&file);
    buffer_clear(&bare);
    buffer_clear(&text);
    return here;
}

void fetch_add(struct fetch *self, const char *name, const uint8_t blob[BLOB_ID],
               uint64_t size, const char *provenance)
{
    struct item new = {.number = ++self->added, .size = size};
    new.path = path_format("%s/%s", self->folder, name);
    new.provenance = path_format("%s", provenance);
    memcpy(new.blob, blob, BLOB_ID);
    if (is_here(&new)) {
        self->skipped++;
        item_clear(&new);
        return;
    }
    if (self->count == self->room) {
        self->room = self->room ? self->room * 2 : 64;
        self->item = realloc(self->item, self->room * sizeof *self->item);
        if (!self->item)
            abort();
    }
    self->item[self->count++] = new;
}

static struct active *active_with(struct fetch *self, const void *blob)
{
    for (size_t i = 0; i < ACTIVE_MOST; i++)
        if (self->active[i].transfer &&
            !memcmp(self->active[i].item.blob, blob, BLOB_ID))
            return &self->active[i];
    return NULL;
}

/* Gives waiting items to free places, in order. One blob is not fetched twice at once. */
static bool start_items(struct fetch *self, struct error *error)
{
    for (size_t i = 0; i < ACTIVE_MOST && self->next < self->count; i++) {
        struct item *item = &self->item[self->next];
        if (self->active[i].transfer)
            continue;
        if (active_with(self, item->blob))
            break;
        struct transfer *transfer =
            transfer_new(self->store, item->blob, item->size, NULL, 0, false, error);
        if (!transfer)
            return false;
        self->active[i] = (struct active){*item, transfer};
        self->active_count++;
        self->next++;
    }
    return true;
}

static void ask_ranges(struct fetch *self)
{
    for (size_t i = 0; i < ACTIVE_MOST; i++) {
        struct active *active = &self->active[i];
        Farm__Want want = FARM__WANT__INIT;
        while (active->transfer && self->outstanding < TRANSFER_WINDOW &&
               transfer_next(active->transfer, &want.offset, &want.length)) {
            want.blob = wire_bytes(active->item.blob, BLOB_ID);
            Farm__Envelope envelope = FARM__ENVELOPE__INIT;
            envelope.body_case = FARM__ENVELOPE__BODY_WANT;
            envelope.want = &want;
            envelope.request = active->item.number;
            if (!link_send(self->link, &envelope, NULL, 0, NULL)) {
                transfer_restart(active->transfer); /* the link is being reopened */
                return;
            }
            self->outstanding++;
        }
    }
}

static void ask_again(struct fetch *self)
{
    self->outstanding = 0;
    for (size_t i = 0; i < ACTIVE_MOST; i++)
        if (self->active[i].transfer)
            transfer_restart(self->active[i].transfer);
}

static void drop(struct fetch *self, struct active *active)
{
    transfer_destroy(&active->transfer);
    self->active_count--;
    item_clear(&active->item);
}

/* Gives one item up; the others go on. */
static void lose(struct fetch *self, struct active *active, const char *why)
{
    assert(active->item.path); /* <folder>/<name>, as long as it is active */
    if (!self->lost++)
        error_set(&self->first_lost, "%s: %s", strrchr(active->item.path, '/') + 1,
                  why);
    drop(self, active);
}

/* Says once of the first of the pictures whose parameters hold that mark. */
static void tell_marked(bool *told, const struct item *item, const struct buffer *file,
                        const char *mark, const char *meaning)
{
    if (*told || !memmem(file->data, file->size, mark, strlen(mark)))
        return;
    *told = true;
    fprintf(stderr, "farmctl: %s: %s\n", strrchr(item->path, '/') + 1, meaning);
}

static void tell_marks(struct fetch *self, const struct item *item,
                       const struct buffer *file)
{
    tell_marked(&self->told_truncated, item, file, PARAMS_TRUNCATED,
                "text beyond 75 tokens was dropped; --syntax a1111 or comfy takes it "
                "all");
    tell_marked(&self->told_flagged, item, file, PARAMS_FLAGGED,
                "the safety checker flagged it, so it is black");
}

/* Puts the provenance into the PNG file at `path`, if it is the farm's word on that
 * picture; ERROR_INPUT when it is not. */
static bool add_provenance(struct fetch *self, const struct item *item,
                           const char *path, struct error *error)
{
    struct buffer file = {0}, made = {0};
    struct picture picture = {0};
    const uint8_t *farm = session_signing_key(self->session);
    bool ok = path_read(path, item->size, &file, error) &&
              (farm || error_set_kind(error, ERROR_INPUT, "the farm names no key")) &&
              picture_read_png(file.data, file.size, &picture, error) &&
              provenance_verify(item->provenance, farm, picture.rgb,
                                picture.width * picture.height * 3, error) &&
              picture_put_text(file.data, file.size, PROVENANCE_KEYWORD,
                               item->provenance, &made, error) &&
              path_write(path, made.data, made.size, 0600, error);
    if (ok)
        tell_marks(self, item, &file);
    picture_clear(&picture);
    buffer_clear(&made);
    buffer_clear(&file);
    return ok;
}

static bool finish(struct fetch *self, struct active *active, struct error *error)
{
    struct error why = {0};
    if (!transfer_finish(active->transfer, &why)) {
        if (why.kind != ERROR_INPUT)
            return error_set_kind(error, why.kind, "%s", why.text);
        lose(self, active, "the farm's copy is damaged");
        return true;
    }
    fault_delay("farmctl-before-name");
    fault_point("farmctl-before-name");
    char *path = blob_path(self->store, active->item.blob);
    const char *provenance = active->item.provenance;
    if (provenance && *provenance && !add_provenance(self, &active->item, path, &why)) {
        unlink(path);
        free(path);
        if (why.kind != ERROR_INPUT)
            return error_set_kind(error, why.kind, "%s", why.text);
        lose(self, active, why.text);
        return true;
    }
    bool ok = (chmod(path, path_shared_mode()) == 0 &&
               rename(path, active->item.path) == 0) ||
              error_set_kind(error, ERROR_INPUT, "%s: cannot be written: %s",
                             active->item.path, strerror(errno));
    free(path);
    self->bytes += active->item.size;
    self->files++;
    drop(self, active);
    return ok;
}

/* A range of an item that the farm does not have costs that item; of one that was given up
 * before, nothing more. */
static bool take_refusal(struct fetch *self, const Farm__Envelope *envelope,
                         struct error *error)
{
    uint32_t kind = envelope->refused->kind;
    bool missing = kind == ERROR_NOT_FOUND || kind == ERROR_INPUT;
    char *text = wire_string(envelope->refused->text);
    if (self->outstanding)
        self->outstanding--;
    for (size_t i = 0; missing && i < ACTIVE_MOST; i++)
        if (self->active[i].transfer &&
            self->active[i].item.number == envelope->request)
            lose(self, &self->active[i], text);
    if (!missing || !envelope->request)
        error_set(error, "%s", text);
    free(text);
    return missing && envelope->request;
}

static bool take(struct fetch *self, const struct message *message, struct error *error)
{
    const Farm__Envelope *envelope = message->envelope;
    if (envelope->body_case == FARM__ENVELOPE__BODY_REFUSED)
        return take_refusal(self, envelope, error);
    if (envelope->body_case != FARM__ENVELOPE__BODY_CHUNK ||
        envelope->chunk->blob.len != BLOB_ID)
        return true;
    struct active *active = active_with(self, envelope->chunk->blob.data);
    if (!active)
        return true;
    if (self->outstanding)
        self->outstanding--;
    const void *data = message->payload ? (void *)zframe_data(message->payload) : "";
    size_t size = message->payload ? zframe_size(message->payload) : 0;
    if (!transfer_take(active->transfer, envelope->chunk->offset, data, size, error))
        return false;
    return !transfer_is_complete(active->transfer) || finish(self, active, error);
}

/* Where the results go is the caller's choice: what is wrong with it is input. */
static bool blame_folder(const struct fetch *self, struct error *error)
{
    if (error && error->kind == ERROR_BUSY)
        error_set_kind(
            error, ERROR_INPUT,
            "%s: no space left; what came is kept, fetch again when there is "
            "room",
            self->folder);
    return false;
}

bool fetch_step(struct fetch *self, struct error *error)
{
    if (!fetch_pending(self))
        return true;
    struct link *link = session_bulk(self->session, error);
    if (!link)
        return false;
    if (session_bulk_links(self->session) != self->links)
        ask_again(self);
    self->links = session_bulk_links(self->session);
    self->link = link;
    for (;;) {
        struct message message = {0};
        enum link_event event = link_step(link, clock_ms(), &message);
        if (event == LINK_NOTHING)
            break;
        bool ok = true;
        if (event == LINK_MESSAGE)
            ok = take(self, &message, error);
        else
            ask_again(self);
        message_clear(&message);
        if (!ok)
            return blame_folder(self, error);
    }
    if (!start_items(self, error))
        return blame_folder(self, error);
    ask_ranges(self);
    return true;
}

size_t fetch_pending(const struct fetch *self)
{
    return self->count - self->next + self->active_count;
}

bool fetch_is_whole(const struct fetch *self, struct error *error)
{
    if (!self->lost)
        return true;
    return error_set(error,
                     "%s; %zu of %" PRIu64 " files could not be fetched: "
                     "farm-coordinator --check says more, --force renders them again",
                     self->first_lost.text, self->lost, self->added);
}

size_t fetch_files(const struct fetch *self)
{
    return self->files;
}

uint64_t fetch_bytes(const struct fetch *self)
{
    return self->bytes;
}

size_t fetch_skipped(const struct fetch *self)
{
    return self->skipped;
}
