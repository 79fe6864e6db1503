#include "proto/files/manifest.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { FILES_MOST = 1000, PATH_MOST = 200, NAME_MOST = 100, FACTOR_MOST = 64 };

static const uint64_t total_most = (uint64_t)1 << 40;

void manifest_destroy(Farm__Manifest **self)
{
    if (*self)
        farm__manifest__free_unpacked(*self, NULL);
    *self = NULL;
}

int manifest_compare_paths(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

void manifest_id(const Farm__Manifest *self, uint8_t id[BLOB_ID])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, BLOB_ID);
    for (size_t i = 0; i < self->n_files; i++) {
        const Farm__ModelFile *file = self->files[i];
        uint8_t size[9] = {0}; /* the zero behind the path, then big-endian */
        for (size_t b = 0; b < 8; b++)
            size[1 + b] = (uint8_t)(file->size >> (56 - 8 * b));
        crypto_generichash_update(&state, file->path.data, file->path.len);
        crypto_generichash_update(&state, size, sizeof size);
        crypto_generichash_update(&state, file->blob.data, file->blob.len);
    }
    crypto_generichash_final(&state, id, BLOB_ID);
}

static const Farm__ModelFile *unet_weights(const Farm__Manifest *self)
{
    static const char begin[] = "unet/", end[] = ".safetensors";
    if (self->n_files == 1)
        return self->files[0];
    for (size_t i = 0; i < self->n_files; i++) {
        ProtobufCBinaryData path = self->files[i]->path;
        if (path.len > sizeof begin + sizeof end &&
            memcmp(path.data, begin, sizeof begin - 1) == 0 &&
            memcmp(path.data + path.len - (sizeof end - 1), end, sizeof end - 1) == 0)
            return self->files[i];
    }
    return NULL;
}

void manifest_model_hash(const Farm__Manifest *self, char text[11])
{
    const Farm__ModelFile *weights = unet_weights(self);
    text[0] = 0;
    if (weights && weights->sha256.len >= 5)
        sodium_bin2hex(text, 11, weights->sha256.data, 5);
}

/* Parts of letters, digits and ._-+ between single slashes; none empty or only dots. */
static bool is_plain_path(ProtobufCBinaryData path)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-+";
    bool only_dots = true; /* so far in this part; an empty part is such a one */
    if (path.len > PATH_MOST)
        return false;
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] == '/') {
            if (only_dots)
                return false;
            only_dots = true;
        } else {
            if (!memchr(allowed, path.data[i], sizeof allowed - 1))
                return false;
            only_dots = only_dots && path.data[i] == '.';
        }
    }
    return !only_dots;
}

static bool check_file(const Farm__ModelFile *file, struct error *error)
{
    if (!is_plain_path(file->path))
        return error_set_kind(error, ERROR_INPUT,
                              "\"%.*s\" is no plain relative path of at most %d "
                              "characters",
                              (int)(file->path.len < 60 ? file->path.len : 60),
                              file->path.len ? (const char *)file->path.data : "",
                              PATH_MOST);
    int length = (int)file->path.len;
    const char *path = (const char *)file->path.data;
    if (file->size > total_most)
        return error_set_kind(error, ERROR_INPUT,
                              "%.*s: %" PRIu64 " bytes, the limit is %" PRIu64, length,
                              path, file->size, total_most);
    uint64_t wanted = (file->size + BLOB_PIECE - 1) / BLOB_PIECE;
    if (file->n_pieces != wanted)
        return error_set_kind(error, ERROR_INPUT,
                              "%.*s: %zu pieces for %" PRIu64
                              " bytes, expected %" PRIu64,
                              length, path, file->n_pieces, file->size, wanted);
    bool good =
        file->blob.len == BLOB_ID && file->sha256.len == crypto_hash_sha256_BYTES;
    for (size_t i = 0; i < file->n_pieces; i++)
        good = good && file->pieces[i].len == BLOB_ID;
    return good ||
           error_set_kind(error, ERROR_INPUT, "%.*s: a hash that is not %d bytes long",
                          length, path, BLOB_ID);
}

static bool check_files(const Farm__Manifest *self, struct error *error)
{
    uint64_t total = 0;
    if (self->n_files == 0 || self->n_files > FILES_MOST)
        return error_set_kind(error, ERROR_INPUT, "%zu files, expected 1 to %d",
                              self->n_files, FILES_MOST);
    for (size_t i = 0; i < self->n_files; i++) {
        const Farm__ModelFile *file = self->files[i];
        if (!check_file(file, error))
            return false;
        if (i && manifest_compare_paths(self->files[i - 1]->path, file->path) >= 0)
            return error_set_kind(error, ERROR_INPUT,
                                  "%.*s: files are not sorted, or one is named twice",
                                  (int)file->path.len, (const char *)file->path.data);
        total += file->size; /* at most 1000 x 1 TiB: no overflow */
    }
    if (total > total_most)
        return error_set_kind(error, ERROR_INPUT,
                              "%" PRIu64 " bytes in all, the limit is %" PRIu64, total,
                              total_most);
    return true;
}

static bool is_among(ProtobufCBinaryData value, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == value.len && memcmp(value.data, *names, value.len) == 0)
            return true;
    return false;
}

/* A name is shown and typed: one line, no slash (it could pass for a path). */
static bool is_name(ProtobufCBinaryData name)
{
    if (name.len == 0 || name.len > NAME_MOST)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] < ' ' || name.data[i] == 127 || name.data[i] == '/')
            return false;
    return true;
}

static bool check_sizes(const Farm__Manifest *self, struct error *error)
{
    uint32_t factor = self->factor;
    if (factor == 0 || factor > FACTOR_MOST || (factor & (factor - 1)))
        return error_set_kind(error, ERROR_INPUT,
                              "%u pixels per latent, expected a power of two up to %d",
                              factor, FACTOR_MOST);
    if (self->width == 0 || self->height == 0 || self->width % factor ||
        self->height % factor || self->width > MANIFEST_SIDE_MOST ||
        self->height > MANIFEST_SIDE_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "default size %ux%u, expected multiples of %u up to %d",
                              self->width, self->height, factor, MANIFEST_SIDE_MOST);
    return true;
}

bool manifest_check(const Farm__Manifest *self, struct error *error)
{
    static const char *const kinds[] = {"diffusers", "single", NULL};
    static const char *const families[] = {"sd1",          "sd2",    "sdxl",
                                           "sdxl-refiner", "pixels", NULL};
    if (!is_name(self->name))
        return error_set_kind(error, ERROR_INPUT,
                              "a model's name is one line of 1 to %d bytes without a "
                              "slash",
                              NAME_MOST);
    bool ok;
    if (manifest_is_input(self))
        ok = manifest_check_input(self, error) && check_files(self, error);
    else if (!is_among(self->kind, kinds))
        ok = error_set_kind(error, ERROR_INPUT,
                            "its kind is neither diffusers nor single");
    else if (self->family.len && !is_among(self->family, families))
        ok = error_set_kind(error, ERROR_INPUT, "its family is none we know");
    else
        ok = check_sizes(self, error) && check_files(self, error);
    return ok ||
           error_prefix(error, "%s %.*s", manifest_is_input(self) ? "file" : "model",
                        (int)self->name.len, (const char *)self->name.data);
}
