/* Any bytes as vocab.json, and behind a zero as merges.txt; and as tokenizer.json: an error,
 * or a tokenizer whose ids are in its vocabulary. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/path.h"
#include "worker/sd/tokenizer_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct tokenizer *tokenizer)
{
    static const char *const texts[] = {"", "a cat, the sea", "\xc3\xa9\xe2\x82\xac !"};
    struct error error;
    for (size_t t = 0; tokenizer && t < sizeof texts / sizeof *texts; t++) {
        int32_t *ids;
        size_t count;
        if (!tokenizer_encode(tokenizer, texts[t], &ids, &count, &error))
            continue;
        for (size_t i = 0; i < count; i++)
            if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(tokenizer))
                abort();
        free(ids);
    }
    tokenizer_close(&tokenizer);
}

static char *file_of(int *file, const uint8_t *data, size_t size)
{
    *file = memfd_create("fuzz", 0);
    if (*file < 0 || write(*file, data, size) != (ssize_t)size)
        abort();
    return path_format("/proc/self/fd/%d", *file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t first = zero ? (size_t)(zero - data) : size;
    int one, two, whole;
    struct error error;
    char *vocabulary = file_of(&one, data, first);
    char *merges = file_of(&two, zero ? zero + 1 : data, zero ? size - first - 1 : 0);
    char *json = file_of(&whole, data, size);
    check(tokenizer_open(vocabulary, merges, NULL, NULL, &error));
    check(tokenizer_open_json(json, NULL, NULL, &error));
    free(json);
    free(merges);
    free(vocabulary);
    close(whole);
    close(two);
    close(one);
    return 0;
}
