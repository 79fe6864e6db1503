/* The header is read once into an array of entries; everything that could make a later
 * read wrong is refused here, so that finding a tensor only has to look up its name.
 *
 * Checking order: the file's frame (length, JSON), each entry by itself, then all entries
 * sorted by where they begin: each must begin where the one before ended and the last must
 * end with the file. Afterwards they are sorted by name.
 */
#include "layout/tensor_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"

enum { FRAME = 8, HEADER_LIMIT = 8 << 20, DIMS_LIMIT = 4 };

struct tensor_file {
    char *path;
    const uint8_t *map;
    size_t size;
    size_t data; /* where in the map the tensors begin */
    struct tensor_entry *entry;
    size_t count;
    json_t *metadata; /* NULL: none */
};

static const struct type {
    const char *name;
    size_t size;
} types[] = {
    {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},     {"I64", 8},
    {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},
    {"U16", 2}, {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
};

static const struct type *find_type(const char *name)
{
    for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name))
            return &types[i];
    return NULL;
}

static bool map_file(struct tensor_file *self, struct error *error)
{
    bool good = false;
    struct stat found;
    int file = open(self->path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        error_set_kind(error, ERROR_NOT_FOUND, "%s: cannot be opened: %m", self->path);
        goto out;
    }
    if (fstat(file, &found) || !S_ISREG(found.st_mode)) {
        error_set_kind(error, ERROR_INPUT, "%s: not a regular file", self->path);
        goto out;
    }
    self->size = (size_t)found.st_size;
    if (self->size < FRAME) {
        error_set_kind(error, ERROR_INPUT,
                       "%s: %zu bytes are too few for a safetensors file; was it "
                       "downloaded whole?",
                       self->path, self->size);
        goto out;
    }
    void *map = mmap(NULL, self->size, PROT_READ, MAP_PRIVATE, file, 0);
    if (map == MAP_FAILED) {
        error_set(error, "%s: cannot be mapped: %m", self->path);
        goto out;
    }
    self->map = map;
    good = true;
out:
    if (file >= 0)
        close(file);
    return good;
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

/* A JSON integer from 0 to SIZE_MAX. */
static bool read_size(const json_t *value, size_t *into)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *into = (size_t)json_integer_value(value);
    return true;
}

/* Bytes of the entry's shape and type; false when that does not fit a size_t. */
static bool entry_bytes(const struct tensor_entry *self, size_t *bytes)
{
    *bytes = find_type(self->type)->size;
    for (size_t i = 0; i < self->dims; i++)
        if (__builtin_mul_overflow(*bytes, self->shape[i], bytes))
            return false;
    return true;
}

static bool read_shape(struct tensor_entry *self, const json_t *shape)
{
    self->dims = json_array_size(shape);
    if (!json_is_array(shape) || self->dims > DIMS_LIMIT)
        return false;
    for (size_t i = 0; i < self->dims; i++)
        if (!read_size(json_array_get(shape, i), &self->shape[i]))
            return false;
    return true;
}

/* What is wrong with one tensor's description, or NULL. */
static const char *read_entry(struct tensor_entry *self, const json_t *value,
                              size_t room)
{
    const json_t *type = json_object_get(value, "dtype");
    const json_t *offsets = json_object_get(value, "data_offsets");
    size_t bytes;
    if (!json_is_object(value) || json_object_size(value) != 3)
        return "expected dtype, shape and data_offsets";
    const struct type *known = find_type(json_string_value(type));
    if (!known)
        return "unknown dtype";
    self->type = known->name;
    if (!read_shape(self, json_object_get(value, "shape")))
        return "shape must be a list of at most 4 sizes";
    if (json_array_size(offsets) != 2 ||
        !read_size(json_array_get(offsets, 0), &self->begin) ||
        !read_size(json_array_get(offsets, 1), &self->end) || self->begin > self->end)
        return "data_offsets must be a begin and an end";
    if (self->end > room)
        return "its data lie outside the file; was it downloaded whole?";
    if (!entry_bytes(self, &bytes) || bytes != self->end - self->begin)
        return "its data are not as long as dtype and shape say";
    return NULL;
}

static int by_offset(const void *a, const void *b)
{
    const struct tensor_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b)
{
    const struct tensor_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Every byte of the data belongs to exactly one tensor. */
static bool check_cover(struct tensor_file *self, struct error *error)
{
    size_t at = 0;
    qsort(self->entry, self->count, sizeof *self->entry, by_offset);
    for (size_t i = 0; i < self->count; i++) {
        if (self->entry[i].begin != at)
            return error_set_kind(
                error, ERROR_INPUT,
                "%s: tensor %.150s: its data begin at %zu, expected %zu: %s",
                self->path, self->entry[i].name, self->entry[i].begin, at,
                self->entry[i].begin < at ? "tensors overlap" : "there is a hole");
        at = self->entry[i].end;
    }
    if (at != self->size - self->data)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: %zu bytes of data, its tensors have %zu", self->path,
                              self->size - self->data, at);
    qsort(self->entry, self->count, sizeof *self->entry, by_name);
    return true;
}

static bool read_entries(struct tensor_file *self, json_t *header, struct error *error)
{
    const char *name;
    json_t *value;
    self->entry = calloc(json_object_size(header) + 1, sizeof *self->entry);
    if (!self->entry)
        return error_set_kind(error, ERROR_MEMORY, "%s: no memory for %zu tensors",
                              self->path, json_object_size(header));
    json_object_foreach(header, name, value)
    {
        if (!strcmp(name, "__metadata__")) {
            self->metadata = json_incref(value);
            continue;
        }
        if (!is_printable(name))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: a tensor's name has control characters",
                                  self->path);
        struct tensor_entry *entry = &self->entry[self->count];
        const char *wrong = read_entry(entry, value, self->size - self->data);
        if (wrong)
            return error_set_kind(error, ERROR_INPUT, "%s: tensor %.150s: %s",
                                  self->path, name, wrong);
        entry->name = strdup(name);
        if (!entry->name)
            return error_set_kind(error, ERROR_MEMORY, "%s: no memory for its names",
                                  self->path);
        self->count++;
    }
    return check_cover(self, error);
}

static bool read_header(struct tensor_file *self, struct error *error)
{
    uint64_t length = 0;
    json_error_t where;
    for (int i = FRAME; i-- > 0;)
        length = length << 8 | self->map[i];
    if (length > HEADER_LIMIT || length > self->size - FRAME)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: a header of %" PRIu64
                              " bytes (the file has %zu, the limit is %d): not a "
                              "safetensors file, or not whole",
                              self->path, length, self->size, HEADER_LIMIT);
    self->data = FRAME + (size_t)length;
    json_t *header = json_loadb((const char *)self->map + FRAME, (size_t)length,
                                JSON_REJECT_DUPLICATES, &where);
    bool good = false;
    if (!header)
        error_set_kind(error, ERROR_INPUT, "%s: header: %s (byte %d)", self->path,
                       where.text, where.position);
    else if (!json_is_object(header))
        error_set_kind(error, ERROR_INPUT, "%s: header: expected an object",
                       self->path);
    else
        good = read_entries(self, header, error);
    json_decref(header);
    return good;
}

struct tensor_file *tensor_file_open(const char *path, struct error *error)
{
    struct tensor_file *self = calloc(1, sizeof *self);
    if (!self || !(self->path = strdup(path))) {
        free(self);
        error_set_kind(error, ERROR_MEMORY, "%s: no memory", path);
        return NULL;
    }
    if (!map_file(self, error) || !read_header(self, error))
        tensor_file_close(&self);
    return self;
}

void tensor_file_close(struct tensor_file **self)
{
    if (!*self)
        return;
    for (size_t i = 0; i < (*self)->count; i++)
        free((*self)->entry[i].name);
    free((*self)->entry);
    json_decref((*self)->metadata);
    if ((*self)->map)
        munmap((void *)(uintptr_t)(*self)->map, (*self)->size);
    free((*self)->path);
    free(*self);
    *self = NULL;
}

const char *tensor_file_path(const struct tensor_file *self)
{
    return self->path;
}

const char *tensor_file_metadata(const struct tensor_file *self, const char *key)
{
    return json_string_value(json_object_get(self->metadata, key));
}

size_t tensor_file_count(const struct tensor_file *self)
{
    return self->count;
}

const struct tensor_entry *tensor_file_at(const struct tensor_file *self, size_t i)
{
    return &self->entry[i];
}

const struct tensor_entry *tensor_file_find(const struct tensor_file *self,
                                            const char *name)
{
    struct tensor_entry key = {.name = (char *)(uintptr_t)name};
    return bsearch(&key, self->entry, self->count, sizeof key, by_name);
}

const void *tensor_file_data(const struct tensor_file *self,
                             const struct tensor_entry *entry)
{
    return self->map + self->data + entry->begin;
}
