/* Any text as generation parameters. */
#include <stdlib.h>
#include <string.h>

#include "proto/job/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct params params;
    struct error error;
    char *text = calloc(1, size + 1);
    memcpy(text, data, size);
    if (params_read(text, &params, &error))
        params_clear(&params);
    free(text);
    return 0;
}
