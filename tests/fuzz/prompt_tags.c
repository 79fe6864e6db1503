/* A prompt of any bytes: tags are found in order, and cutting them leaves no longer text. */
#include <stdlib.h>
#include <string.h>

#include "proto/job/prompt_tags.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    char *text = calloc(1, size + 1);
    memcpy(text, data, size);
    struct prompt_tag tag = {.end = text};
    struct error error;
    while (prompt_tag_next(tag.end, strlen(tag.end), &tag, &error) && tag.start)
        if (tag.end <= tag.start || tag.end > text + strlen(text))
            abort();
    char *cut = prompt_tags_cut(text);
    if (strlen(cut) > strlen(text))
        abort();
    free(cut);
    free(text);
    return 0;
}
