#include "worker/gather.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"

enum {
    COMING_MOST = 2, /* pieces asked of one source at a time */
};

enum state { MISSING, COMING, HERE };

struct piece {
    uint32_t file, index; /* which of that file */
    uint8_t state;
    uint8_t source; /* of a COMING one */
};

struct file {
    const Farm__ModelFile *file;
    struct transfer *transfer; /* NULL: not begun, or done */
    size_t first;              /* number of its first piece */
};

struct source {
    bool in_use;
    uint8_t *bits;
    size_t outstanding, coming;
    size_t awaited; /* bytes of what is outstanding */
};

struct gather {
    struct blob_store *store;
    struct file *file;
    struct piece *piece;
    size_t files, pieces, missing;
    struct source source[GATHER_SOURCES];
};

static bool bit_of(const uint8_t *bits, size_t piece)
{
    return bits[piece / 8] >> piece % 8 & 1;
}

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* The pieces that an earlier start left of a file are here. */
static void count_in(struct gather *self, const struct file *file)
{
    for (size_t i = 0; i < file->file->n_pieces; i++) {
        struct piece *piece = &self->piece[file->first + i];
        if (piece->state == MISSING && transfer_has_piece(file->transfer, i)) {
            piece->state = HERE;
            self->missing--;
        }
    }
}

static bool begin(struct gather *self, struct file *file, struct error *error)
{
    const Farm__ModelFile *of = file->file;
    uint8_t(*hashes)[BLOB_ID] = need(calloc(of->n_pieces + 1, sizeof *hashes));
    for (size_t i = 0; i < of->n_pieces; i++)
        memcpy(hashes[i], of->pieces[i].data, BLOB_ID);
    file->transfer = transfer_new(self->store, of->blob.data, of->size, hashes,
                                  of->n_pieces, true, error);
    free(hashes);
    return file->transfer != NULL;
}

/* Gives a file whose pieces are all here its name. */
static bool finish(struct gather *self, struct file *file, struct error *error)
{
    if (!file->transfer || !transfer_is_complete(file->transfer))
        return true;
    bool ok = transfer_finish(file->transfer, error);
    transfer_destroy(&file->transfer);
    for (size_t i = 0; !ok && i < file->file->n_pieces; i++) {
        self->piece[file->first + i].state = MISSING;
        self->missing++;
    }
    return ok;
}

static struct file *file_of(const struct gather *self, const uint8_t blob[BLOB_ID])
{
    for (size_t f = 0; f < self->files; f++)
        if (memcmp(self->file[f].file->blob.data, blob, BLOB_ID) == 0)
            return &self->file[f];
    return NULL;
}

/* Files that are here, and files that are equal to one before them, need nothing of their
 * own; of what an earlier fetch left half done pieces are looked at. */
static bool take_stock(struct gather *self, struct file *file, struct error *error)
{
    uint64_t size;
    bool here =
        blob_has(self->store, file->file->blob.data, &size) && size == file->file->size;
    if (here || file_of(self, file->file->blob.data) != file) {
        for (size_t i = 0; i < file->file->n_pieces; i++)
            self->piece[file->first + i].state = HERE;
        self->missing -= file->file->n_pieces;
        return true;
    }
    char name[BLOB_TEXT + 5];
    blob_format(file->file->blob.data, name);
    strcat(name, ".part");
    char *path = blob_new_path(self->store, name);
    bool begun = access(path, F_OK) == 0;
    free(path);
    return !begun || begin(self, file, error);
}

struct gather *gather_new(struct blob_store *store, const Farm__Manifest *manifest,
                          struct error *error)
{
    struct gather *self = need(calloc(1, sizeof *self));
    self->store = store;
    self->files = manifest->n_files;
    self->file = need(calloc(self->files + 1, sizeof *self->file));
    for (size_t f = 0; f < self->files; f++) {
        self->file[f].file = manifest->files[f];
        self->file[f].first = self->pieces;
        self->pieces += manifest->files[f]->n_pieces;
    }
    self->missing = self->pieces;
    self->piece = need(calloc(self->pieces + 1, sizeof *self->piece));
    for (size_t f = 0, p = 0; f < self->files; f++)
        for (size_t i = 0; i < manifest->files[f]->n_pieces; i++, p++)
            self->piece[p] = (struct piece){.file = (uint32_t)f, .index = (uint32_t)i};
    bool ok = true;
    for (size_t f = 0; ok && f < self->files; f++)
        ok = take_stock(self, &self->file[f], error);
    if (!ok)
        gather_destroy(&self);
    return self;
}

bool gather_work(struct gather *self, size_t most, bool *more, struct error *error)
{
    *more = false;
    for (size_t f = 0; most && !*more && f < self->files; f++) {
        struct file *file = &self->file[f];
        if (!file->transfer)
            continue;
        bool was_ready = transfer_is_ready(file->transfer);
        *more = transfer_work(file->transfer, most);
        if (!was_ready && transfer_is_ready(file->transfer))
            count_in(self, file);
        if (*more || !transfer_is_complete(file->transfer))
            continue;
        most -= file->file->size < most ? (size_t)file->file->size : most;
        *more = !most;
        if (!finish(self, file, error))
            return false;
    }
    return true;
}

bool gather_is_done(const struct gather *self)
{
    size_t f = 0;
    while (f < self->files && !self->file[f].transfer)
        f++;
    return f == self->files && !self->missing;
}

/* Whether it is known what an earlier fetch left. */
static bool is_ready(const struct gather *self)
{
    for (size_t f = 0; f < self->files; f++)
        if (self->file[f].transfer && !transfer_is_ready(self->file[f].transfer))
            return false;
    return true;
}

void gather_destroy(struct gather **self)
{
    if (!*self)
        return;
    for (size_t f = 0; f < (*self)->files; f++)
        transfer_destroy(&(*self)->file[f].transfer);
    for (size_t s = 0; s < GATHER_SOURCES; s++)
        free((*self)->source[s].bits);
    free((*self)->file);
    free((*self)->piece);
    free(*self);
    *self = NULL;
}

size_t gather_pieces(const struct gather *self)
{
    return self->pieces;
}

size_t gather_missing(const struct gather *self)
{
    return self->missing;
}

void gather_bits(const struct gather *self, uint8_t *bits)
{
    memset(bits, 0, (self->pieces + 7) / 8);
    for (size_t p = 0; p < self->pieces; p++)
        if (self->piece[p].state == HERE)
            bits[p / 8] |= (uint8_t)(1u << p % 8);
}

bool gather_source(struct gather *self, size_t source, const uint8_t *bits, size_t size,
                   struct error *error)
{
    struct source *one = &self->source[source];
    size_t wanted = (self->pieces + 7) / 8;
    if (bits && size != wanted)
        return error_set_kind(error, ERROR_INPUT,
                              "%zu bytes for %zu pieces, expected %zu", size,
                              self->pieces, wanted);
    if (!one->bits)
        one->bits = need(malloc(wanted + 1));
    if (bits)
        memcpy(one->bits, bits, wanted);
    else
        memset(one->bits, 0xff, wanted);
    one->in_use = true;
    return true;
}

void gather_restart(struct gather *self, size_t source)
{
    for (size_t p = 0; p < self->pieces; p++) {
        const struct piece *piece = &self->piece[p];
        struct transfer *transfer = self->file[piece->file].transfer;
        if (piece->state == COMING && piece->source == source && transfer)
            transfer_restart_piece(transfer, piece->index);
    }
    self->source[source].outstanding = self->source[source].awaited = 0;
}

void gather_release(struct gather *self, size_t source)
{
    gather_restart(self, source);
    for (size_t p = 0; p < self->pieces; p++)
        if (self->piece[p].state == COMING && self->piece[p].source == source)
            self->piece[p].state = MISSING;
    self->source[source].coming = 0;
}

void gather_drop(struct gather *self, size_t source)
{
    gather_release(self, source);
    free(self->source[source].bits);
    self->source[source] = (struct source){0};
}

static unsigned copies(const struct gather *self, size_t piece)
{
    unsigned count = 0;
    for (size_t s = GATHER_COORDINATOR + 1; s < GATHER_SOURCES; s++)
        count += self->source[s].in_use && bit_of(self->source[s].bits, piece);
    return count;
}

/* The rarest missing piece the source has; of equally rare ones any, so that those who
 * fetch the same model begin with different pieces. NULL when there is none. */
static struct piece *rarest(struct gather *self, const struct source *source)
{
    struct piece *found = NULL;
    unsigned least = GATHER_SOURCES;
    uint32_t equal = 0;
    for (size_t p = 0; p < self->pieces; p++) {
        if (self->piece[p].state != MISSING || !bit_of(source->bits, p))
            continue;
        unsigned count = copies(self, p);
        equal = count < least ? 1 : count == least ? equal + 1 : equal;
        if (count < least || (count == least && randombytes_uniform(equal) == 0))
            found = &self->piece[p];
        least = count < least ? count : least;
    }
    return found;
}

static bool next_of(struct gather *self, struct piece *piece, struct source *source,
                    uint8_t blob[BLOB_ID], uint64_t *offset, uint32_t *length)
{
    struct transfer *transfer = self->file[piece->file].transfer;
    if (!transfer || !transfer_next_of(transfer, piece->index, offset, length))
        return false;
    memcpy(blob, transfer_id(transfer), BLOB_ID);
    source->outstanding++;
    source->awaited += *length;
    return true;
}

bool gather_next(struct gather *self, size_t number, uint8_t blob[BLOB_ID],
                 uint64_t *offset, uint32_t *length, struct error *error)
{
    struct source *source = &self->source[number];
    if (!source->in_use || source->outstanding >= TRANSFER_WINDOW || !is_ready(self))
        return false;
    for (size_t p = 0; source->coming && p < self->pieces; p++)
        if (self->piece[p].state == COMING && self->piece[p].source == number &&
            next_of(self, &self->piece[p], source, blob, offset, length))
            return true;
    if (source->coming >= COMING_MOST)
        return false;
    struct piece *piece = rarest(self, source);
    if (!piece)
        return false;
    struct file *file = &self->file[piece->file];
    if (!file->transfer && !begin(self, file, error))
        return false;
    if (!is_ready(self)) /* it lay there half done */
        return false;
    piece->state = COMING;
    piece->source = (uint8_t)number;
    source->coming++;
    return next_of(self, piece, source, blob, offset, length);
}

size_t gather_outstanding(const struct gather *self, size_t source)
{
    return self->source[source].outstanding;
}

size_t gather_awaited(const struct gather *self, size_t source)
{
    return self->source[source].awaited;
}

const Farm__ModelFile *gather_file(const struct gather *self,
                                   const uint8_t blob[BLOB_ID])
{
    const struct file *file = file_of(self, blob);
    return file ? file->file : NULL;
}

bool gather_take(struct gather *self, size_t number, const uint8_t blob[BLOB_ID],
                 uint64_t offset, const void *data, size_t size, bool *whole,
                 struct error *error)
{
    struct source *source = &self->source[number];
    struct file *file = file_of(self, blob);
    *whole = false;
    if (!file || !file->transfer || offset >= file->file->size)
        return true;
    struct piece *piece = &self->piece[file->first + (size_t)(offset / BLOB_PIECE)];
    if (piece->state != COMING || piece->source != number ||
        !transfer_is_asked(file->transfer,
                           offset)) /* an answer from before a release */
        return true;
    if (source->outstanding)
        source->outstanding--;
    source->awaited -= size < source->awaited ? size : source->awaited;
    if (!transfer_take(file->transfer, offset, data, size, error)) {
        transfer_restart_piece(file->transfer, piece->index);
        piece->state = MISSING;
        source->coming--;
        return false;
    }
    if (!transfer_has_piece(file->transfer, piece->index))
        return true;
    piece->state = HERE;
    source->coming--;
    self->missing--;
    *whole = true;
    return true;
}

bool gather_read(const struct gather *self, const uint8_t blob[BLOB_ID],
                 uint64_t offset, void *into, size_t size, struct error *error)
{
    const struct file *file = file_of(self, blob);
    if (!file || !file->transfer)
        return error_set_kind(error, ERROR_NOT_FOUND, "this file is not here");
    return transfer_read(file->transfer, offset, into, size, error);
}
