/* A contact sheet: pictures in labelled rows and columns, as one picture. */
#ifndef FARM_SHEET_H
#define FARM_SHEET_H

#include "proto/files/picture.h"

/* cell: rows x columns pictures, row by row; one without pixels is drawn as a gap. All
 * are borrowed. */
struct sheet {
    const char *title;
    char *const *row, *const *column; /* labels */
    size_t rows, columns;
    const struct picture *cell;
};

/* Small pictures are enlarged by a whole factor, large ones shrunk so that the sheet stays
 * below 64 Mpixel. ERROR_INPUT when even the labels do not fit. */
bool sheet_draw(const struct sheet *self, struct picture *into, struct error *error);

#endif
