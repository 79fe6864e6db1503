/* Any bytes as a header whose length is right, before as many bytes of data again: as a LoRA
 * whose layers are added, and as an embedding for encoders as wide as SD's and SDXL's. */
#include "tests/fuzz/tensor_bytes.h"
#include "worker/sd/embedding.h"
#include "worker/sd/lora.h"

#define FOLDER FARM_SOURCE_DIR "/tests/golden/tiny/tokenizer/"

enum { OUT = 8, IN = 4, SIZE = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_layers(const char *path)
{
    static float base[OUT * IN * SIZE * SIZE], values[OUT * IN * SIZE * SIZE];
    struct error error = {0};
    struct lora *lora = lora_open(path, "fuzz", &error);
    for (size_t i = 0; lora && i < lora_count(lora); i++) {
        const char *layer;
        lora_layer(lora, i, &layer);
        if (!*layer)
            abort();
        lora_add(lora, i, 0.5, base, values, OUT, IN, 1, &error);
        lora_add(lora, i, 0.5, base, values, OUT, IN, SIZE, &error);
    }
    lora_close(&lora);
}

static void embed(char *path)
{
    static struct tokenizer *tokenizer;
    struct error error = {0};
    if (!tokenizer)
        tokenizer = tokenizer_open(FOLDER "vocab.json", FOLDER "merges.txt", NULL, NULL,
                                   &error);
    if (!tokenizer)
        abort();
    struct text_stack text = {.count = 2};
    text.part[0].tokenizer = text.part[1].tokenizer = tokenizer;
    text.part[0].encoder.c = 4;
    text.part[1].encoder.c = 6;
    struct embedding_file file = {.path = path, .name = (char *)"word.safetensors"};
    for (text.count = 0; text.count <= 2; text.count++) {
        struct embeddings words;
        if (embeddings_load(&words, &text, &file, 1, &error))
            embeddings_clear(&words);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int memory;
    char *path = tensor_bytes(data, size, &memory);
    add_layers(path);
    embed(path);
    free(path);
    close(memory);
    return 0;
}
