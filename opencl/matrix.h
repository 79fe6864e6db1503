/* Matrix units of GPUs: which one a device has, and how gemm_matrix.cl and attention_matrix.cl
 * divide work for it.
 *
 * A unit computes what is stored as f16, and only after the device proved itself with it
 * (prove.h): its sums differ in their last bits from those of plain multiply-adds, so the
 * unit in use is part of the device's kind. FARM_MATRIX in the environment: auto (the
 * device's own, as when nothing is said), off, or emulated-NAME: that unit's kernels with
 * the one instruction written out in OpenCL C, on any device that takes kernels for GPUs.
 */
#ifndef FARM_MATRIX_H
#define FARM_MATRIX_H

#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A work-group's tile and a sub-group's part of it. */
struct matrix_tile {
    unsigned rows, columns, span_rows, span_columns;
};

enum { MATRIX_TILES = 3 }; /* from large to small, the last for few rows */

/* Of attention over heads of up to so many channels, a sub-group's queries of MATRIX_QUERIES
 * and how many sub-groups share these. */
struct matrix_division {
    unsigned head, span, columns;
};

enum { MATRIX_QUERIES = 64 }; /* of a work-group */

enum { MATRIX_DIVISIONS = 2 }; /* from narrow to wide heads */

struct matrix_unit {
    const char *name;    /* "nvidia-mma"; NULL: no unit */
    const char *options; /* of the kernels' build */
    unsigned lanes;      /* of a sub-group */
    struct matrix_tile tiles[MATRIX_TILES];
    struct matrix_division divisions[MATRIX_DIVISIONS];
};

/* The names of all units; NULL from their number on. */
const char *matrix_name(size_t index);

/* The unit that the environment or else the device asks for; *forced: the environment.
 * ERROR_INPUT when FARM_MATRIX is nothing known. */
bool matrix_find(struct matrix_unit *unit, bool *forced, cl_device_id device,
                 const char *extensions, struct error *error);

/* Items of the smallest sub-group, as Intel's devices say; 0: others. */
unsigned matrix_intel_lanes(cl_device_id device, const char *extensions);

/* The largest tile that gives each of `units` compute units work, else the last: the order
 * of additions is that of every tile. */
const struct matrix_tile *matrix_tile(const struct matrix_unit *unit, size_t units,
                                      size_t rows, size_t columns);

/* Work-items of a group that computes it. */
size_t matrix_items(const struct matrix_unit *unit, const struct matrix_tile *tile);

/* How attention over heads of this width is divided; NULL: they are too wide, or no multiple
 * of 8. */
const struct matrix_division *matrix_division(const struct matrix_unit *unit,
                                              size_t head);

/* Work-items of a group that computes it. */
size_t matrix_division_items(const struct matrix_unit *unit,
                             const struct matrix_division *division);

#endif
