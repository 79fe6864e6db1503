/* Safetensors files of invented values, as tests/oracle/invent.py describes and makes them:
 * a full vocabulary costs a line instead of a megabyte.
 */
#ifndef FARM_TESTS_INVENTED_H
#define FARM_TESTS_INVENTED_H

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/test.h"

static inline uint64_t name_hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3;
    return hash;
}

static inline int8_t invent(uint64_t at)
{
    at += 0x9e3779b97f4a7c15;
    at = (at ^ (at >> 30)) * 0xbf58476d1ce4e5b9;
    at = (at ^ (at >> 27)) * 0x94d049bb133111eb;
    at ^= at >> 31;
    return (int8_t)(at >> 56);
}

static inline size_t count_of(const json_t *shape)
{
    size_t count = 1, i;
    json_t *side;
    json_array_foreach(shape, i, side) count *= (size_t)json_integer_value(side);
    return count;
}

static inline size_t size_of(const char *dtype)
{
    return strcmp(dtype, "I64") == 0 ? 8 : strcmp(dtype, "F32") == 0 ? 4 : 2;
}

/* Exact in every dtype (invent.py says why). */
static inline void put(uint8_t *into, const char *dtype, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t half = (uint16_t)(bits >> 16); /* bf16 */
    _Float16 ieee = (_Float16)value;
    if (strcmp(dtype, "F16") == 0)
        memcpy(&half, &ieee, sizeof half);
    memcpy(into, size_of(dtype) == 4 ? (const void *)&bits : &half, size_of(dtype));
}

static inline void write_values(FILE *file, const json_t *tensor)
{
    const char *name = json_string_value(json_array_get(tensor, 0));
    const char *dtype = json_string_value(json_array_get(tensor, 1));
    size_t count = count_of(json_array_get(tensor, 2)), size = size_of(dtype);
    float scale = (float)exp2(json_number_value(json_array_get(tensor, 3))) / 128;
    double offset = json_number_value(json_array_get(tensor, 4));
    uint64_t hash = name_hash(name);
    uint8_t *bytes = calloc(count, size);
    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++) {
        int k = invent(hash + i) & (offset != 0 ? -16 : -1);
        int64_t whole = (int64_t)offset;
        if (size == 8)
            memcpy(bytes + i * size, &whole, size);
        else
            put(bytes + i * size, dtype, (float)k * scale + (float)offset);
    }
    assert_int_equal(fwrite(bytes, size, count, file), count);
    free(bytes);
}

/* tensors: [name, dtype, shape, exponent, offset] each. */
static inline void write_invented(const char *path, const json_t *tensors)
{
    json_t *header = json_object(), *tensor;
    size_t i, at = 0;
    json_array_foreach(tensors, i, tensor)
    {
        json_t *dtype = json_array_get(tensor, 1), *shape = json_array_get(tensor, 2);
        size_t end = at + count_of(shape) * size_of(json_string_value(dtype));
        json_object_set_new(header, json_string_value(json_array_get(tensor, 0)),
                            json_pack("{s:O, s:O, s:[I, I]}", "dtype", dtype, "shape",
                                      shape, "data_offsets", (json_int_t)at,
                                      (json_int_t)end));
        at = end;
    }
    char *text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    uint64_t length = strlen(text);
    fwrite(&length, sizeof length, 1, file);
    fputs(text, file);
    json_array_foreach(tensors, i, tensor) write_values(file, tensor);
    assert_int_equal(fclose(file), 0);
    free(text);
    json_decref(header);
}

/* STEM.safetensors becomes two files and their index. */
static inline void split_invented(const char *stem, const json_t *tensors)
{
    json_t *halves[2] = {json_array(), json_array()}, *map = json_object(), *tensor;
    const char *name = strrchr(stem, '/') + 1;
    size_t i;
    json_array_foreach(tensors, i, tensor)
    {
        char *file = path_format("%s-%05zu-of-00002.safetensors", name, i % 2 + 1);
        json_array_append(halves[i % 2], tensor);
        json_object_set_new(map, json_string_value(json_array_get(tensor, 0)),
                            json_string(file));
        free(file);
    }
    for (i = 0; i < 2; i++) {
        char *path = path_format("%s-%05zu-of-00002.safetensors", stem, i + 1);
        write_invented(path, halves[i]);
        json_decref(halves[i]);
        free(path);
    }
    char *whole = path_format("%s.safetensors", stem);
    char *index = path_format("%s.safetensors.index.json", stem);
    json_t *root = json_pack("{s:{}, s:o}", "metadata", "weight_map", map);
    assert_int_equal(json_dump_file(root, index, 0), 0);
    assert_int_equal(unlink(whole), 0);
    json_decref(root);
    free(index);
    free(whole);
}

/* The files of families/NAME.json under `into`; those of the bundled model are linked. */
static inline json_t *lay_out_family(const char *name, const char *into)
{
    json_error_t where;
    const char *file;
    json_t *what;
    char *golden = path_format("%s/families/%s.json", FARM_GOLDEN_DIR, name);
    json_t *root = json_load_file(golden, 0, &where);
    free(golden);
    if (!root)
        fail_msg("%s.json: %s", name, where.text);
    json_object_foreach(json_object_get(root, "files"), file, what)
    {
        char *path = path_format("%s/%s", into, file);
        char *parent = path_format("%.*s", (int)(strrchr(path, '/') - path), path);
        const char *copy = json_string_value(json_object_get(what, "copy"));
        char *bundled = path_format("%s/models/emoji/%s", FARM_SOURCE_DIR, copy);
        const json_t *tensors = json_object_get(what, "tensors");
        assert_true(path_make_folders(parent, 0700, NULL));
        if (copy)
            assert_int_equal(symlink(bundled, path), 0);
        else if (tensors)
            write_invented(path, tensors);
        else
            assert_int_equal(json_dump_file(json_object_get(what, "json"), path, 0), 0);
        free(bundled);
        free(parent);
        free(path);
    }
    return root;
}

#endif
