#include "opencl/matrix.h"

#include <stdlib.h>
#include <string.h>

/* Of cl_nv_device_attribute_query. */
enum { COMPUTE_CAPABILITY_MAJOR_NV = 0x4000 };

static bool is_nvidia(cl_device_id device, const char *extensions)
{
    cl_uint major = 0;
    return strstr(extensions, "cl_nv_device_attribute_query") &&
           clGetDeviceInfo(device, COMPUTE_CAPABILITY_MAJOR_NV, sizeof major, &major,
                           NULL) == CL_SUCCESS &&
           major >= 8;
}

/* Unoptimized: what is emulated is tested, and compiling takes most of the time. */
#define EMULATED "-DEMULATED -cl-opt-disable"

/* Tiles are as high and wide as registers allow: a sub-group's sums take half of them. */
static const struct kind {
    struct matrix_unit unit;
    const char *emulated; /* the options that write the instruction out */
    bool (*is_in)(cl_device_id device, const char *extensions);
} kinds[] = {
    {{"nvidia-mma",
      "-DMATRIX_NVIDIA",
      32,
      {{128, 128, 64, 32}, {64, 64, 32, 32}, {32, 64, 16, 32}}},
     "-DMATRIX_NVIDIA " EMULATED,
     is_nvidia},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const char *matrix_name(size_t index)
{
    return index < KINDS ? kinds[index].unit.name : NULL;
}

static bool unknown(const char *wanted, struct error *error)
{
    char known[200] = "";
    for (size_t i = 0; i < KINDS; i++) {
        strcat(known, ", emulated-");
        strcat(known, kinds[i].unit.name);
    }
    return error_set_kind(error, ERROR_INPUT,
                          "FARM_MATRIX is %s: auto, off%s are known", wanted, known);
}

bool matrix_find(struct matrix_unit *unit, bool *forced, cl_device_id device,
                 const char *extensions, struct error *error)
{
    const char *wanted = getenv("FARM_MATRIX"), *prefix = "emulated-";
    *unit = (struct matrix_unit){0};
    *forced = false;
    if (!wanted || !wanted[0] || strcmp(wanted, "auto") == 0) {
        for (size_t i = 0; i < KINDS && !unit->name; i++)
            if (kinds[i].is_in(device, extensions))
                *unit = kinds[i].unit;
        return true;
    }
    if (strcmp(wanted, "off") == 0)
        return true;
    if (strncmp(wanted, prefix, strlen(prefix)) == 0)
        for (size_t i = 0; i < KINDS; i++)
            if (strcmp(wanted + strlen(prefix), kinds[i].unit.name) == 0) {
                *unit = kinds[i].unit;
                unit->options = kinds[i].emulated;
                *forced = true;
                return true;
            }
    return unknown(wanted, error);
}

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

const struct matrix_tile *matrix_tile(const struct matrix_unit *unit, size_t units,
                                      size_t rows, size_t columns)
{
    const struct matrix_tile *tile = unit->tiles;
    for (int i = 0; i < MATRIX_TILES - 1; i++, tile++)
        if (divide_up(rows, tile->rows) * divide_up(columns, tile->columns) >= units)
            break;
    return tile;
}

size_t matrix_items(const struct matrix_unit *unit, const struct matrix_tile *tile)
{
    return (size_t)unit->lanes * (tile->rows / tile->span_rows) *
           (tile->columns / tile->span_columns);
}
