/* A file that was made part of the program by farm_embed (cmake/embed.cmake). */
#ifndef FARM_EMBEDDED_H
#define FARM_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name; /* without folders; NULL ends the array */
    const char *text; /* zero-terminated */
    size_t size;      /* without that zero */
};

#endif
