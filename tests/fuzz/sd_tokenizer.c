/* A prompt of any bytes: an error, or ids that are in the vocabulary. */
#include <stdlib.h>
#include <string.h>

#include "worker/sd/tokenizer.h"

#define FOLDER FARM_SOURCE_DIR "/tests/golden/tiny/tokenizer/"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tokenizer *tokenizer;
    struct error error;
    int32_t *ids;
    size_t count;
    if (!tokenizer)
        tokenizer = tokenizer_open(FOLDER "vocab.json", FOLDER "merges.txt", NULL, NULL,
                                   &error);
    if (!tokenizer)
        abort();
    char *text = calloc(1, size + 1);
    memcpy(text, data, size);
    if (tokenizer_encode(tokenizer, text, &ids, &count, &error)) {
        for (size_t i = 0; i < count; i++)
            if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(tokenizer))
                abort();
        free(ids);
    }
    free(text);
    return 0;
}
