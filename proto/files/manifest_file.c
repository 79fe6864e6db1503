/* Files of a manifest: hashing one, and manifests of a single file that a job brings along
 * (a picture, a LoRA, an embedding, a VAE).
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/wire.h"

enum { HEADER_MOST = 8 << 20, PICTURE_BYTES_MOST = 256 << 20, NAME_MOST = 100 };

/* Reads the next piece, short only at the end of the file. */
static ssize_t read_piece(int file, uint8_t *block)
{
    size_t got = 0;
    while (got < BLOB_PIECE) {
        ssize_t more = read(file, block + got, BLOB_PIECE - got);
        if (more < 0)
            return -1;
        if (more == 0)
            break;
        got += (size_t)more;
    }
    return (ssize_t)got;
}

static void add_piece(Farm__ModelFile *file, const uint8_t *block, size_t size)
{
    uint8_t id[BLOB_ID];
    file->pieces = realloc(file->pieces, (file->n_pieces + 1) * sizeof *file->pieces);
    if (!file->pieces)
        abort();
    blob_id(block, size, id);
    file->pieces[file->n_pieces++] = wire_own(wire_bytes(id, BLOB_ID));
    file->size += size;
}

/* Size, pieces and both hashes of the whole, in one pass. */
static bool hash_file(Farm__ModelFile *into, const char *path, struct error *error)
{
    crypto_generichash_state whole;
    crypto_hash_sha256_state sha256;
    uint8_t id[BLOB_ID], sum[crypto_hash_sha256_BYTES];
    uint8_t *block = malloc(BLOB_PIECE);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = block && file >= 0 ? BLOB_PIECE : -1;
    crypto_generichash_init(&whole, NULL, 0, BLOB_ID);
    crypto_hash_sha256_init(&sha256);
    while (got == BLOB_PIECE) {
        got = read_piece(file, block);
        if (got <= 0)
            break;
        add_piece(into, block, (size_t)got);
        crypto_generichash_update(&whole, block, (size_t)got);
        crypto_hash_sha256_update(&sha256, block, (size_t)got);
    }
    if (got < 0)
        error_set_kind(error, ERROR_INPUT, "%s: %s", path, strerror(errno));
    crypto_generichash_final(&whole, id, BLOB_ID);
    crypto_hash_sha256_final(&sha256, sum);
    into->blob = wire_own(wire_bytes(id, BLOB_ID));
    into->sha256 = wire_own(wire_bytes(sum, sizeof sum));
    if (file >= 0)
        close(file);
    free(block);
    return got >= 0;
}

bool manifest_add_file(Farm__Manifest *self, const char *name, const char *path,
                       struct error *error)
{
    self->files = realloc(self->files, (self->n_files + 1) * sizeof *self->files);
    Farm__ModelFile *file = malloc(sizeof *file);
    if (!self->files || !file)
        abort();
    farm__model_file__init(file);
    file->path = wire_own(wire_text(name));
    self->files[self->n_files++] = file;
    return hash_file(file, path, error);
}

/* ---- what a job brings along */

static bool begins_picture(const uint8_t *start, size_t size)
{
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
    return (size >= sizeof png && memcmp(start, png, sizeof png) == 0) ||
           (size >= sizeof jpeg && memcmp(start, jpeg, sizeof jpeg) == 0);
}

/* A length of 8 bytes, then an object of JSON. */
static bool begins_safetensors(const uint8_t *start, size_t size)
{
    uint64_t length = 0;
    for (size_t i = 8; size >= 10 && i-- > 0;)
        length = length << 8 | start[i];
    return length >= 2 && length <= HEADER_MOST && start[8] == '{';
}

/* A kind of manifests of one file. Its name in the manifest is part of the id: where the
 * name means nothing it is fixed, so that equal files are one. */
static const struct input_kind {
    const char *name;
    bool (*begins)(const uint8_t *start, size_t size);
    const char *expected;
    const char *path; /* NULL: the file's own name, which prompts use */
} kinds[] = {
    {"embedding", begins_safetensors,
     "a safetensors file; a pickled embedding (.pt, .bin) must be converted to one",
     NULL},
    {"lora", begins_safetensors, "a safetensors file", NULL},
    {"picture", begins_picture, "a PNG or JPEG picture", "picture"},
    {"safety-checker", begins_safetensors, "a safetensors file",
     "safety_checker.safetensors"},
    {"vae", begins_safetensors, "a safetensors file", "vae.safetensors"},
};

static const struct input_kind *kind_named(ProtobufCBinaryData name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (wire_is(name, kinds[i].name, strlen(kinds[i].name)))
            return &kinds[i];
    return NULL;
}

bool manifest_is_input(const Farm__Manifest *self)
{
    return kind_named(self->kind) != NULL;
}

static bool check_start(const struct input_kind *kind, const char *path,
                        struct error *error)
{
    uint8_t start[16];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file >= 0 ? read(file, start, sizeof start) : -1;
    bool ok = got >= 0 && kind->begins(start, (size_t)got);
    if (got < 0)
        error_set_kind(error, ERROR_INPUT, "%s: %s", path, strerror(errno));
    else if (!ok)
        error_set_kind(error, ERROR_INPUT, "%s: is not %s", path, kind->expected);
    if (file >= 0)
        close(file);
    return ok;
}

Farm__Manifest *manifest_from_file(const char *path, const char *kind,
                                   struct error *error)
{
    const struct input_kind *known = kind_named(wire_text(kind));
    const char *slash = strrchr(path, '/'), *own = slash ? slash + 1 : path;
    const char *point = strrchr(own, '.');
    int stem = point && point > own ? (int)(point - own) : (int)strlen(own);
    if (!known) {
        error_set_kind(error, ERROR_INPUT,
                       "kind: \"%.40s\", expected embedding, lora, picture, "
                       "safety-checker or vae",
                       kind);
        return NULL;
    }
    if (!check_start(known, path, error))
        return NULL;
    Farm__Manifest *self = malloc(sizeof *self);
    if (!self)
        abort();
    farm__manifest__init(self);
    char *name = path_format("%.*s", stem < NAME_MOST ? stem : NAME_MOST, own);
    char *inside = known->path ? path_format("%s", known->path)
                               : path_format("%.*s.safetensors", stem, own);
    self->name = wire_own(wire_text(name));
    self->kind = wire_own(wire_text(kind));
    if (!manifest_add_file(self, inside, path, error) || !manifest_check(self, error))
        manifest_destroy(&self);
    free(inside);
    free(name);
    return self;
}

bool manifest_check_input(const Farm__Manifest *self, struct error *error)
{
    const struct input_kind *kind = kind_named(self->kind);
    if (self->n_files != 1)
        return error_set_kind(error, ERROR_INPUT, "%zu files, a %s is one",
                              self->n_files, kind->name);
    const Farm__ModelFile *file = self->files[0];
    if (kind->path && !wire_is(file->path, kind->path, strlen(kind->path)))
        return error_set_kind(error, ERROR_INPUT, "its file is not called %s",
                              kind->path);
    if (kind->begins == begins_picture && file->size > PICTURE_BYTES_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "%llu bytes, a picture has at most %d",
                              (unsigned long long)file->size, PICTURE_BYTES_MOST);
    if (self->factor || self->width || self->height || self->family.len ||
        self->reason.len)
        return error_set_kind(error, ERROR_INPUT, "a %s has neither sizes nor a family",
                              kind->name);
    return true;
}
