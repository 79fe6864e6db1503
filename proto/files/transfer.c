/* A blob is a row of frames; a frame is unasked, asked or here.
 *
 *   frames   | here | here | asked | asked | unasked | here | ...
 *                                            ^ cursor: nothing unasked before it
 *   pieces   |          16 frames          |          16 frames ...
 *
 * When the last frame of a piece comes, the piece is read back (it is in the page cache)
 * and hashed; a wrong one becomes unasked again. The whole is hashed from its start as far as
 * it is here: while pieces (or frames, where pieces are not known) come in order, on the way;
 * else in slices, by transfer_work. So finishing a file of gigabytes keeps nobody waiting.
 */
#include "proto/files/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"

enum { FRAME_UNASKED, FRAME_ASKED, FRAME_HERE };
enum { FRAMES_A_PIECE = BLOB_PIECE / TRANSFER_FRAME };

static const uint64_t size_most = (uint64_t)1 << 40;

struct transfer {
    crypto_generichash_state running; /* over the first `hashed` bytes */
    uint64_t hashed;
    struct blob_store *store;
    uint8_t id[BLOB_ID];
    uint64_t size, received;
    size_t check, check_end; /* pieces an earlier start left: the next one to look at */
    uint8_t (*pieces)[BLOB_ID]; /* NULL: not known */
    size_t piece_count;
    uint8_t *frame; /* frame_count states */
    size_t frame_count, cursor, asked;
    char *path;
    int file;
    bool keep; /* the partial file outlives us */
};

static size_t frame_size(const struct transfer *self, size_t frame)
{
    uint64_t left = self->size - (uint64_t)frame * TRANSFER_FRAME;
    return left < TRANSFER_FRAME ? (size_t)left : TRANSFER_FRAME;
}

static size_t piece_size(const struct transfer *self, size_t piece)
{
    uint64_t left = self->size - (uint64_t)piece * BLOB_PIECE;
    return left < BLOB_PIECE ? (size_t)left : BLOB_PIECE;
}

/* The frames of a piece: from first up to, not including, the one returned. */
static size_t piece_end(const struct transfer *self, size_t piece)
{
    size_t end = (piece + 1) * FRAMES_A_PIECE;
    return end < self->frame_count ? end : self->frame_count;
}

static bool fail_errno(const struct transfer *self, struct error *error)
{
    int why = errno;
    return error_set_kind(error,
                          why == ENOSPC || why == EDQUOT ? ERROR_BUSY : ERROR_FAILED,
                          "%s: %s", self->path, strerror(why));
}

static bool read_at(int file, uint64_t offset, uint8_t *into, size_t size)
{
    while (size) {
        ssize_t got = pread(file, into, size, (off_t)offset);
        if (got <= 0)
            return false;
        into += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return true;
}

static bool write_at(int file, uint64_t offset, const uint8_t *from, size_t size)
{
    while (size) {
        ssize_t written = pwrite(file, from, size, (off_t)offset);
        if (written < 0)
            return false;
        from += written;
        offset += (uint64_t)written;
        size -= (size_t)written;
    }
    return true;
}

static void hash_on(struct transfer *self, uint64_t offset, const uint8_t *data,
                    size_t size)
{
    if (offset != self->hashed)
        return;
    crypto_generichash_update(&self->running, data, size);
    self->hashed += size;
}

/* Whether the piece's bytes in the file are what they must be; block: BLOB_PIECE bytes. */
static bool piece_verifies(struct transfer *self, size_t piece, uint8_t *block)
{
    uint8_t found[BLOB_ID];
    uint64_t offset = (uint64_t)piece * BLOB_PIECE;
    size_t size = piece_size(self, piece);
    if (!read_at(self->file, offset, block, size))
        return false;
    blob_id(block, size, found);
    return memcmp(found, self->pieces[piece], BLOB_ID) == 0;
}

static void mark(struct transfer *self, size_t frame, uint8_t state)
{
    if (self->frame[frame] == FRAME_HERE)
        self->received -= frame_size(self, frame);
    self->asked -= self->frame[frame] == FRAME_ASKED;
    self->frame[frame] = state;
    if (state == FRAME_HERE)
        self->received += frame_size(self, frame);
    self->asked += state == FRAME_ASKED;
    if (state == FRAME_UNASKED && frame < self->cursor)
        self->cursor = frame;
}

/* How many pieces an earlier start can have left. */
static bool resume_file(struct transfer *self, struct error *error)
{
    struct stat found;
    if (fstat(self->file, &found) != 0)
        return fail_errno(self, error);
    while (self->check_end < self->piece_count &&
           (uint64_t)self->check_end * BLOB_PIECE + piece_size(self, self->check_end) <=
               (uint64_t)found.st_size)
        self->check_end++;
    return true;
}

/* Opens and locks the blob's partial file. Whoever held it before may have given it its
 * final name meanwhile: what is locked must still be what the name means. */
static bool open_partial(struct transfer *self, struct error *error)
{
    self->keep = true;
    for (;;) {
        struct stat held, named;
        self->file = open(self->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (self->file < 0)
            return fail_errno(self, error);
        if (flock(self->file, LOCK_EX | LOCK_NB) != 0)
            return error_set_kind(error, ERROR_BUSY,
                                  "%s: another process is fetching it", self->path);
        if (fstat(self->file, &held) == 0 && stat(self->path, &named) == 0 &&
            held.st_ino == named.st_ino)
            return resume_file(self, error);
        close(self->file);
    }
}

static bool open_temporary(struct transfer *self, struct error *error)
{
    self->path = blob_new_path(self->store, "blob-XXXXXX");
    self->file = mkostemp(self->path, O_CLOEXEC);
    return self->file >= 0 || fail_errno(self, error);
}

static bool check_pieces(uint64_t size, bool known, size_t count, struct error *error)
{
    if (size > size_most)
        return error_set_kind(error, ERROR_INPUT,
                              "a blob of %llu bytes, the limit is %llu",
                              (unsigned long long)size, (unsigned long long)size_most);
    uint64_t wanted = (size + BLOB_PIECE - 1) / BLOB_PIECE;
    if (known && count != wanted)
        return error_set_kind(
            error, ERROR_INPUT, "a blob of %llu bytes with %zu pieces, expected %llu",
            (unsigned long long)size, count, (unsigned long long)wanted);
    return true;
}

struct transfer *transfer_new(struct blob_store *store, const uint8_t id[BLOB_ID],
                              uint64_t size, const uint8_t (*pieces)[BLOB_ID],
                              size_t piece_count, bool resume, struct error *error)
{
    if (!check_pieces(size, pieces != NULL, piece_count, error))
        return NULL;
    /* The hash state wants more than malloc's alignment; sizeof is a multiple of it. */
    struct transfer *self = aligned_alloc(_Alignof(struct transfer), sizeof *self);
    if (!self)
        abort();
    *self = (struct transfer){.store = store, .size = size, .file = -1};
    memcpy(self->id, id, BLOB_ID);
    crypto_generichash_init(&self->running, NULL, 0, BLOB_ID);
    self->frame_count = (size_t)((size + TRANSFER_FRAME - 1) / TRANSFER_FRAME);
    self->frame = calloc(self->frame_count + 1, 1);
    bool ok = self->frame != NULL;
    if (ok && pieces) {
        self->piece_count = piece_count;
        self->pieces = malloc((piece_count + 1) * BLOB_ID);
        ok = self->pieces != NULL;
        if (ok)
            memcpy(self->pieces, pieces, piece_count * BLOB_ID);
    }
    if (!ok) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a transfer");
    } else if (resume && pieces) {
        char name[BLOB_TEXT + 5];
        blob_format(id, name);
        strcat(name, ".part");
        self->path = blob_new_path(store, name);
        ok = open_partial(self, error);
    } else {
        ok = open_temporary(self, error);
    }
    if (!ok)
        transfer_destroy(&self);
    return self;
}

void transfer_destroy(struct transfer **self_p)
{
    struct transfer *self = *self_p;
    if (!self)
        return;
    if (self->file >= 0) {
        if (!self->keep)
            unlink(self->path);
        close(self->file);
    }
    free(self->path);
    free(self->pieces);
    free(self->frame);
    free(self);
    *self_p = NULL;
}

/* Looks at one piece that an earlier start left. */
static void check_piece(struct transfer *self, uint8_t *block)
{
    size_t piece = self->check++;
    if (!piece_verifies(self, piece, block))
        return;
    hash_on(self, (uint64_t)piece * BLOB_PIECE, block, piece_size(self, piece));
    for (size_t f = piece * FRAMES_A_PIECE; f < piece_end(self, piece); f++)
        mark(self, f, FRAME_HERE);
}

/* What is here, and verified if that can be told, of the first that is not hashed yet; at
 * most a piece. */
static size_t hashable(const struct transfer *self)
{
    size_t frame = (size_t)(self->hashed / TRANSFER_FRAME), size = 0;
    size_t piece = frame / FRAMES_A_PIECE, end = piece_end(self, piece);
    if (self->hashed >= self->size ||
        (self->pieces && !transfer_has_piece(self, piece)))
        return 0;
    for (; frame < end && self->frame[frame] == FRAME_HERE; frame++)
        size += frame_size(self, frame);
    return size;
}

bool transfer_work(struct transfer *self, size_t most)
{
    size_t size = 0, done = 0;
    if (self->check == self->check_end && !hashable(self))
        return false;
    uint8_t *block = malloc(BLOB_PIECE);
    bool reads = block != NULL;
    while (reads && self->check < self->check_end && done < most) {
        done += piece_size(self, self->check);
        check_piece(self, block);
    }
    while (reads && self->check == self->check_end && done < most &&
           (size = hashable(self))) {
        reads = read_at(self->file, self->hashed, block, size);
        if (reads)
            hash_on(self, self->hashed, block, size);
        done += size;
    }
    free(block);
    return reads && (self->check < self->check_end || hashable(self));
}

bool transfer_is_ready(const struct transfer *self)
{
    return self->check == self->check_end;
}

const uint8_t *transfer_id(const struct transfer *self)
{
    return self->id;
}

uint64_t transfer_received(const struct transfer *self)
{
    return self->received;
}

uint64_t transfer_size(const struct transfer *self)
{
    return self->size;
}

bool transfer_next(struct transfer *self, uint64_t *offset, uint32_t *length)
{
    if (!transfer_is_ready(self))
        return false;
    while (self->cursor < self->frame_count &&
           self->frame[self->cursor] != FRAME_UNASKED)
        self->cursor++;
    if (self->cursor == self->frame_count || self->asked == TRANSFER_WINDOW)
        return false;
    *offset = (uint64_t)self->cursor * TRANSFER_FRAME;
    *length = (uint32_t)frame_size(self, self->cursor);
    mark(self, self->cursor, FRAME_ASKED);
    return true;
}

bool transfer_next_of(struct transfer *self, size_t piece, uint64_t *offset,
                      uint32_t *length)
{
    for (size_t f = piece * FRAMES_A_PIECE;
         transfer_is_ready(self) && f < piece_end(self, piece); f++) {
        if (self->frame[f] != FRAME_UNASKED)
            continue;
        *offset = (uint64_t)f * TRANSFER_FRAME;
        *length = (uint32_t)frame_size(self, f);
        mark(self, f, FRAME_ASKED);
        return true;
    }
    return false;
}

bool transfer_has_piece(const struct transfer *self, size_t piece)
{
    for (size_t f = piece * FRAMES_A_PIECE; f < piece_end(self, piece); f++)
        if (self->frame[f] != FRAME_HERE)
            return false;
    return true;
}

bool transfer_is_asked(const struct transfer *self, uint64_t offset)
{
    uint64_t frame = offset / TRANSFER_FRAME;
    return frame < self->frame_count && self->frame[frame] == FRAME_ASKED;
}

bool transfer_read(const struct transfer *self, uint64_t offset, void *into,
                   size_t size, struct error *error)
{
    size_t piece = (size_t)(offset / BLOB_PIECE);
    if (offset >= self->size || size > piece_size(self, piece) - offset % BLOB_PIECE)
        return error_set_kind(error, ERROR_INPUT,
                              "%zu bytes at %llu are not within a piece", size,
                              (unsigned long long)offset);
    if (!transfer_has_piece(self, piece))
        return error_set_kind(error, ERROR_NOT_FOUND, "piece %zu is not here", piece);
    return read_at(self->file, offset, into, size) || fail_errno(self, error);
}

void transfer_give_back(struct transfer *self, uint64_t offset)
{
    uint64_t frame = offset / TRANSFER_FRAME;
    if (frame < self->frame_count && self->frame[frame] == FRAME_ASKED)
        mark(self, (size_t)frame, FRAME_UNASKED);
}

void transfer_restart_piece(struct transfer *self, size_t piece)
{
    for (size_t f = piece * FRAMES_A_PIECE; f < piece_end(self, piece); f++)
        if (self->frame[f] == FRAME_ASKED)
            mark(self, f, FRAME_UNASKED);
}

void transfer_restart(struct transfer *self)
{
    for (size_t f = 0; self->asked && f < self->frame_count; f++)
        if (self->frame[f] == FRAME_ASKED)
            mark(self, f, FRAME_UNASKED);
}

/* Verifies the piece when its last frame is here. */
static bool judge_piece(struct transfer *self, size_t piece, struct error *error)
{
    size_t first = piece * FRAMES_A_PIECE, end = piece_end(self, piece);
    for (size_t f = first; f < end; f++)
        if (self->frame[f] != FRAME_HERE)
            return true;
    uint8_t *block = malloc(BLOB_PIECE);
    bool good = block && piece_verifies(self, piece, block);
    uint64_t offset = (uint64_t)piece * BLOB_PIECE;
    if (good) {
        hash_on(self, offset, block, piece_size(self, piece));
        /* On its way to the disk now, so that the sync at the end is a short one. */
        sync_file_range(self->file, (off_t)offset, BLOB_PIECE, SYNC_FILE_RANGE_WRITE);
    }
    free(block);
    if (good)
        return true;
    for (size_t f = first; f < end; f++)
        mark(self, f, FRAME_UNASKED);
    return error_set_kind(error, ERROR_INPUT,
                          "piece %zu does not have the content it must have", piece);
}

bool transfer_take(struct transfer *self, uint64_t offset, const void *data,
                   size_t size, struct error *error)
{
    uint64_t frame = offset / TRANSFER_FRAME;
    if (offset % TRANSFER_FRAME || frame >= self->frame_count ||
        self->frame[frame] != FRAME_ASKED || size != frame_size(self, (size_t)frame))
        return error_set_kind(error, ERROR_INPUT,
                              "%zu bytes at %llu were not asked for", size,
                              (unsigned long long)offset);
    if (!write_at(self->file, offset, data, size)) {
        mark(self, (size_t)frame, FRAME_UNASKED);
        return fail_errno(self, error);
    }
    if (!self->pieces)
        hash_on(self, offset, data, size);
    mark(self, (size_t)frame, FRAME_HERE);
    return !self->pieces || judge_piece(self, (size_t)frame / FRAMES_A_PIECE, error);
}

bool transfer_is_complete(const struct transfer *self)
{
    return transfer_is_ready(self) && self->received == self->size;
}

bool transfer_finish(struct transfer *self, struct error *error)
{
    uint8_t found[BLOB_ID];
    if (!transfer_is_complete(self))
        return error_set(error, "%s: %llu of %llu bytes are here", self->path,
                         (unsigned long long)self->received,
                         (unsigned long long)self->size);
    /* A longer partial file can be left by a blob whose announced size was another. */
    if (ftruncate(self->file, (off_t)self->size) != 0)
        return fail_errno(self, error);
    transfer_work(self, SIZE_MAX);
    if (self->hashed != self->size)
        return error_set(error, "%s: cannot be read back", self->path);
    crypto_generichash_final(&self->running, found, BLOB_ID);
    if (memcmp(found, self->id, BLOB_ID) != 0) {
        self->keep = false;
        return error_set_kind(error, ERROR_INPUT,
                              "%llu bytes came whose hash is another than announced",
                              (unsigned long long)self->size);
    }
    return blob_adopt(self->store, self->path, self->id, error);
}
