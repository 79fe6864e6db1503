#include "opencl/matrix.h"

#include <stdlib.h>
#include <string.h>

/* Of cl_nv_device_attribute_query and cl_intel_required_subgroup_size. */
enum { COMPUTE_CAPABILITY_MAJOR_NV = 0x4000, SUB_GROUP_SIZES_INTEL = 0x4108 };

static bool is_nvidia(cl_device_id device, const char *extensions)
{
    cl_uint major = 0;
    return strstr(extensions, "cl_nv_device_attribute_query") &&
           clGetDeviceInfo(device, COMPUTE_CAPABILITY_MAJOR_NV, sizeof major, &major,
                           NULL) == CL_SUCCESS &&
           major >= 8;
}

unsigned matrix_intel_lanes(cl_device_id device, const char *extensions)
{
    size_t sizes[16] = {0}, bytes = 0, least = 0;
    if (!strstr(extensions, "cl_intel_required_subgroup_size") ||
        clGetDeviceInfo(device, SUB_GROUP_SIZES_INTEL, sizeof sizes, sizes, &bytes) !=
            CL_SUCCESS)
        return 0;
    for (size_t i = 0; i < bytes / sizeof *sizes; i++)
        if (!least || sizes[i] < least)
            least = sizes[i];
    return (unsigned)least;
}

/* Its matrix engine works on the smallest sub-group. */
static bool is_intel(cl_device_id device, const char *extensions, unsigned lanes)
{
    return strstr(extensions, "cl_intel_subgroup_matrix_multiply_accumulate") &&
           matrix_intel_lanes(device, extensions) == lanes;
}

static bool is_intel8(cl_device_id device, const char *extensions)
{
    return is_intel(device, extensions, 8);
}

static bool is_intel16(cl_device_id device, const char *extensions)
{
    return is_intel(device, extensions, 16);
}

/* Whether an AMD device's name, as AMD's runtime gives it ("gfx90a:sramecc+:xnack-"), begins
 * with one of these. */
static bool is_amd(cl_device_id device, const char *const *names)
{
    char vendor[128] = "", name[128] = "";
    clGetDeviceInfo(device, CL_DEVICE_VENDOR, sizeof vendor - 1, vendor, NULL);
    clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    if (!strstr(vendor, "Advanced Micro Devices"))
        return false;
    while (*names && strncmp(name, *names, strlen(*names)) != 0)
        names++;
    return *names;
}

static bool is_rdna3(cl_device_id device, const char *extensions)
{
    (void)extensions;
    return is_amd(device, (const char *const[]){"gfx11", NULL});
}

static bool is_cdna(cl_device_id device, const char *extensions)
{
    (void)extensions;
    return is_amd(device, (const char *const[]){"gfx908", "gfx90a", "gfx94", NULL});
}

/* Unoptimized: what is emulated is tested, and compiling takes most of the time. */
#define UNIT(name, options, lanes, tiles, divisions)                                   \
    {name, options, lanes, tiles, divisions}, options " -DEMULATED -cl-opt-disable"
#define LIST(...)                                                                      \
    {                                                                                  \
        __VA_ARGS__                                                                    \
    }

/* A sub-group's sums take up to half of its registers; ./dev offline says what all take. */
static const struct kind {
    struct matrix_unit unit;
    const char *emulated; /* the options that write the instruction out */
    bool (*is_in)(cl_device_id device, const char *extensions);
} kinds[] = {
    {UNIT("nvidia-mma", "-DMATRIX_NVIDIA", 32,
          LIST({128, 128, 64, 32}, {64, 64, 32, 32}, {32, 64, 16, 32}),
          LIST({160, 32, 2})),
     is_nvidia},
    {UNIT("intel-dpas8", "-DMATRIX_INTEL=8", 8,
          LIST({64, 128, 16, 16}, {64, 64, 16, 16}, {32, 64, 8, 16}),
          LIST({80, 8, 2}, {160, 8, 4})),
     is_intel8},
    {UNIT("intel-dpas16", "-DMATRIX_INTEL=16", 16,
          LIST({128, 128, 16, 32}, {64, 64, 16, 32}, {32, 64, 16, 32}),
          LIST({80, 16, 2}, {160, 8, 2})),
     is_intel16},
    {UNIT("amd-wmma", "-DMATRIX_WMMA", 32,
          LIST({128, 128, 64, 32}, {64, 64, 32, 32}, {32, 64, 16, 32}),
          LIST({160, 16, 1})),
     is_rdna3},
    {UNIT("amd-mfma", "-DMATRIX_MFMA", 64,
          LIST({128, 128, 64, 64}, {64, 64, 32, 32}, {32, 64, 32, 32}),
          LIST({160, 32, 1})),
     is_cdna},
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

const struct matrix_division *matrix_division(const struct matrix_unit *unit,
                                              size_t head)
{
    for (int i = 0; i < MATRIX_DIVISIONS && head % 8 == 0; i++)
        if (head <= unit->divisions[i].head)
            return &unit->divisions[i];
    return NULL;
}

size_t matrix_division_items(const struct matrix_unit *unit,
                             const struct matrix_division *division)
{
    return (size_t)unit->lanes * (MATRIX_QUERIES / division->span) * division->columns;
}
