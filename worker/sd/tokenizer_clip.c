/* The vocabulary follows from the merges: the 256 bytes in the order GPT-2 writes them, the
 * same at a word's end, what each merge makes, and the two special tokens.
 */
#include "worker/sd/tokenizer_clip.h"

#include <string.h>

#include "base/embedded.h"
#include "worker/sd/bpe.h"

enum { TOKEN_LIMIT = 1024 };

extern const struct embedded_file clip_merges[];

static void add(json_t *vocabulary, const char *token, size_t length)
{
    json_object_setn_new(vocabulary, token, length,
                         json_integer((json_int_t)json_object_size(vocabulary)));
}

/* Bytes that are printable as they are come first. */
static void add_bytes(json_t *vocabulary, const char *ending)
{
    for (int pass = 0; pass < 2; pass++)
        for (unsigned byte = 0; byte < 256; byte++) {
            char token[8];
            size_t length = bpe_spell_byte(byte, token);
            bool itself = length == 1 || (unsigned char)token[0] <= 0xc3;
            if (itself != (pass == 0))
                continue;
            memcpy(token + length, ending, strlen(ending));
            add(vocabulary, token, length + strlen(ending));
        }
}

/* "left right" on each line but the first, which names the version. */
static void add_merges(json_t *vocabulary, const char *merges)
{
    for (const char *line = strchr(merges, '\n'); line && line[1];) {
        char token[TOKEN_LIMIT];
        size_t length = strcspn(++line, "\n");
        const char *blank = memchr(line, ' ', length);
        if (blank && length <= sizeof token) {
            size_t before = (size_t)(blank - line);
            memcpy(token, line, before);
            memcpy(token + before, blank + 1, length - before - 1);
            add(vocabulary, token, length - 1);
        }
        line = strchr(line, '\n');
    }
}

struct tokenizer *tokenizer_clip_new(const char *pad, struct error *error)
{
    struct tokenizer *self = NULL;
    struct tokenizer_parts parts = {.vocabulary = json_object(),
                                    .special = json_pack("{ss}", "pad_token", pad),
                                    .merges = clip_merges[0].text,
                                    .vocabulary_name = "CLIP's vocabulary",
                                    .merges_name = "CLIP's merges"};
    if (!parts.vocabulary || !parts.special)
        error_set_kind(error, ERROR_MEMORY, "no memory for a tokenizer");
    else {
        add_bytes(parts.vocabulary, "");
        add_bytes(parts.vocabulary, "</w>");
        add_merges(parts.vocabulary, parts.merges);
        add(parts.vocabulary, "<|startoftext|>", strlen("<|startoftext|>"));
        add(parts.vocabulary, "<|endoftext|>", strlen("<|endoftext|>"));
        self = tokenizer_new(&parts, error);
    }
    json_decref(parts.vocabulary);
    json_decref(parts.special);
    return self;
}
