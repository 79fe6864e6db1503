/* Which task of a job stands where on a contact sheet. */
#ifndef FARM_GRID_H
#define FARM_GRID_H

#include "proto/job/job.h"

struct grid {
    char **row, **column; /* labels */
    size_t rows, columns;
    uint64_t
        *task; /* rows x columns: index of the task, GRID_NONE where there is none */
};
#define GRID_NONE UINT64_MAX

/* x and y are names of options or NULL: columns then go over the seeds or, with one seed,
 * the last axis; rows over everything else that varies. ERROR_INPUT for an option that does
 * not vary, and for jobs of more than 20,000 tasks. */
bool grid_make(struct grid *self, const Farm__Job *job, uint64_t tasks, const char *x,
               const char *y, struct error *error);
void grid_clear(struct grid *self);

#endif
