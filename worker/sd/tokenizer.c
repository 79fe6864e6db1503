/* Text becomes ids in four stages, each as `transformers` does it:
 *
 *   1. special tokens are cut out of the text as it stands
 *   2. each part between them: normal form C, lower case
 *   3. special tokens marked "normalized" are cut out of that
 *   4. the rest is split into words (letters, one digit, anything else but white space, and
 *      the English endings 's 't 're 've 'm 'll 'd), each encoded as bytes (bpe.h)
 *
 * White space never becomes a token, so it need not be tidied first.
 */
#include "worker/sd/tokenizer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/path.h"
#include "worker/sd/bpe.h"
#include "worker/sd/unicode.h"

enum {
    FILE_LIMIT = 64 << 20,
    TEXT_LIMIT = 1 << 20,
    ID_LIMIT = 1 << 24,
    SPECIAL_LIMIT = 64,
};

struct special {
    char *content;
    size_t size;
    int32_t *points; /* content as stage 2 leaves it */
    size_t count;
    int32_t id;
    bool normalized;
};

struct tokenizer {
    struct bpe *bpe;
    struct special special[SPECIAL_LIMIT];
    size_t specials;
    int32_t start, end, pad;
    size_t size;
};

/* ---- opening */

static json_t *load_object(const char *path, struct error *error)
{
    struct buffer file = {0};
    json_t *object = NULL;
    json_error_t where;
    if (path_read(path, FILE_LIMIT, &file, error)) {
        object = json_loadb((char *)file.data, file.size, 0, &where);
        if (!json_is_object(object)) {
            error_set_kind(error, ERROR_INPUT, "%s: %s (line %d)", path,
                           object ? "expected an object" : where.text, where.line);
            json_decref(object);
            object = NULL;
        }
    }
    buffer_clear(&file);
    return object;
}

static bool check_vocabulary(struct tokenizer *self, json_t *vocabulary,
                             const char *path, struct error *error)
{
    const char *token;
    json_t *id;
    json_object_foreach(vocabulary, token, id)
    {
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= ID_LIMIT)
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: token %.60s: expected an id from 0 to %d", path,
                                  token, ID_LIMIT - 1);
        if ((size_t)value >= self->size)
            self->size = (size_t)value + 1;
    }
    return true;
}

static struct special *find_special(struct tokenizer *self, const char *content)
{
    for (size_t i = 0; i < self->specials; i++)
        if (!strcmp(self->special[i].content, content))
            return &self->special[i];
    return NULL;
}

/* Adds the token, or finds the one with that content; the id comes from the vocabulary. */
static struct special *add_special(struct tokenizer *self, const json_t *vocabulary,
                                   const char *content, struct error *error)
{
    struct special *special = find_special(self, content);
    const json_t *id = json_object_get(vocabulary, content);
    if (special)
        return special;
    if (!*content || !id || self->specials == SPECIAL_LIMIT) {
        error_set_kind(error, ERROR_INPUT,
                       self->specials == SPECIAL_LIMIT
                           ? "special token \"%.60s\": there are too many"
                           : "special token \"%.60s\" is not in the vocabulary",
                       content);
        return NULL;
    }
    special = &self->special[self->specials];
    *special = (struct special){.content = strdup(content), .size = strlen(content)};
    special->id = (int32_t)json_integer_value(id);
    self->specials++;
    if (!special->content) {
        error_set_kind(error, ERROR_MEMORY, "no memory for special tokens");
        return NULL;
    }
    return unicode_normalize(content, special->size, &special->points, &special->count,
                             error)
               ? special
               : NULL;
}

/* A token is its text or an object with text and flags. */
static const char *content_of(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content")
                                                   : value);
}

static bool is_set(const json_t *value, const char *flag)
{
    return json_is_true(json_object_get(value, flag));
}

/* tokenizer_config.json's added_tokens_decoder: its flags win over all others. */
static bool add_decoder(struct tokenizer *self, const json_t *vocabulary,
                        const json_t *config, struct error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, value)
    {
        const char *content = content_of(value);
        if (!content || is_set(value, "single_word"))
            return error_set_kind(error, ERROR_INPUT,
                                  "added token %.60s: expected its content and no "
                                  "single_word",
                                  key);
        struct special *special = add_special(self, vocabulary, content, error);
        if (!special)
            return false;
        special->normalized = is_set(value, "normalized");
    }
    return true;
}

/* Start, end, unknown and padding, in that order: of two with the same content the later
 * one's flags hold. */
static bool add_named(struct tokenizer *self, const json_t *vocabulary,
                      const json_t *config, const json_t *map, int32_t *unknown,
                      struct error *error)
{
    const struct {
        const char *key, *content;
        int32_t *id;
    } named[] = {
        {"bos_token", "<|startoftext|>", &self->start},
        {"eos_token", "<|endoftext|>", &self->end},
        {"unk_token", "<|endoftext|>", unknown},
        {"pad_token", "<|endoftext|>", &self->pad},
    };
    size_t decoded = self->specials;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        const json_t *value = json_object_get(map, named[i].key);
        if (!content_of(value))
            value = json_object_get(config, named[i].key);
        const char *content = content_of(value);
        struct special *special =
            add_special(self, vocabulary, content ? content : named[i].content, error);
        if (!special)
            return false;
        if (is_set(value, "single_word"))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: single_word is not supported", named[i].key);
        if (special >= self->special + decoded)
            special->normalized = is_set(value, "normalized");
        *named[i].id = special->id;
    }
    return true;
}

struct tokenizer *tokenizer_new(const struct tokenizer_parts *parts,
                                struct error *error)
{
    bool good = false;
    int32_t unknown = 0;
    struct tokenizer *self = calloc(1, sizeof *self);
    if (!self) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a tokenizer");
        return NULL;
    }
    if (!check_vocabulary(self, parts->vocabulary, parts->vocabulary_name, error))
        goto out;
    if (!add_decoder(self, parts->vocabulary, parts->config, error) ||
        !add_named(self, parts->vocabulary, parts->config, parts->special, &unknown,
                   error)) {
        error_prefix(error, "%s", parts->vocabulary_name);
        goto out;
    }
    if (!*parts->merges) {
        error_set_kind(error, ERROR_INPUT,
                       "%s: holds no merges; was it downloaded "
                       "whole?",
                       parts->merges_name);
        goto out;
    }
    self->bpe =
        bpe_new(parts->vocabulary, unknown, parts->merges, parts->merges_name, error);
    good = self->bpe != NULL;
out:
    if (!good)
        tokenizer_close(&self);
    return self;
}

struct tokenizer *tokenizer_open(const char *vocabulary, const char *merges,
                                 const char *config, const char *special,
                                 struct error *error)
{
    struct buffer list = {0};
    struct tokenizer *self = NULL;
    struct tokenizer_parts parts = {.vocabulary_name = vocabulary,
                                    .merges_name = merges};
    if (!(parts.vocabulary = load_object(vocabulary, error)) ||
        (config && !(parts.config = load_object(config, error))) ||
        (special && !(parts.special = load_object(special, error))) ||
        !path_read(merges, FILE_LIMIT, &list, error))
        goto out;
    parts.merges = buffer_text(&list);
    if (memchr(parts.merges, 0, list.size))
        parts.merges = "";
    self = tokenizer_new(&parts, error);
out:
    json_decref(parts.vocabulary);
    json_decref(parts.config);
    json_decref(parts.special);
    buffer_clear(&list);
    return self;
}

void tokenizer_close(struct tokenizer **self)
{
    if (!*self)
        return;
    for (size_t i = 0; i < (*self)->specials; i++) {
        free((*self)->special[i].content);
        free((*self)->special[i].points);
    }
    bpe_destroy(&(*self)->bpe);
    free(*self);
    *self = NULL;
}

int32_t tokenizer_start(const struct tokenizer *self)
{
    return self->start;
}

int32_t tokenizer_end(const struct tokenizer *self)
{
    return self->end;
}

int32_t tokenizer_pad(const struct tokenizer *self)
{
    return self->pad;
}

size_t tokenizer_size(const struct tokenizer *self)
{
    return self->size;
}

/* ---- encoding */

/* Whether `text` begins with the English ending of a word; its length, or 0. */
static size_t ending_length(const int32_t *text, size_t count)
{
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t length = strlen(endings[i]), same = 0;
        while (same < length && same < count && text[same] == endings[i][same])
            same++;
        if (same == length)
            return length;
    }
    return 0;
}

/* Length of the word at the start of text, 0 where there is white space. */
static size_t word_length(const int32_t *text, size_t count)
{
    enum unicode_class class = unicode_class(text[0]);
    size_t length = ending_length(text, count);
    if (length)
        return length;
    if (class == UNICODE_SPACE)
        return 0;
    length = 1;
    while (class != UNICODE_NUMBER && length < count &&
           unicode_class(text[length]) == class)
        length++;
    return length;
}

/* Length of "<|startoftext|>" or "<|endoftext|>" at the start of text, or 0. The words'
 * expression names them whatever the special tokens are; inside they are split again. */
static size_t literal_length(const int32_t *text, size_t count)
{
    static const char *const literals[] = {"<|startoftext|>", "<|endoftext|>"};
    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(literals[i]), same = 0;
        while (same < length && same < count && text[same] == literals[i][same])
            same++;
        if (same == length)
            return length;
    }
    return 0;
}

static bool encode_word(const struct tokenizer *self, const int32_t *text, size_t count,
                        struct buffer *bytes, struct buffer *ids, struct error *error)
{
    bytes->size = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t *room = buffer_room(bytes, 4, error);
        if (!room)
            return false;
        bytes->size += (size_t)utf8proc_encode_char(text[i], room);
    }
    return bpe_encode(self->bpe, bytes->data, bytes->size, ids, error);
}

/* Stage 4. */
static bool encode_words(const struct tokenizer *self, const int32_t *text,
                         size_t count, struct buffer *ids, struct error *error)
{
    bool good = true;
    struct buffer bytes = {0};
    size_t literal = 0; /* where the literal we stand in ends */
    for (size_t at = 0; good && at < count;) {
        if (at >= literal)
            literal = at + literal_length(text + at, count - at);
        size_t end = at < literal ? literal : count;
        size_t length = word_length(text + at, end - at);
        if (length)
            good = encode_word(self, text + at, length, &bytes, ids, error);
        at += length ? length : 1;
    }
    buffer_clear(&bytes);
    return good;
}

/* Stage 3. */
static bool encode_points(const struct tokenizer *self, const int32_t *text,
                          size_t count, struct buffer *ids, struct error *error)
{
    size_t done = 0;
    for (size_t at = 0; at < count;) {
        const struct special *found = NULL;
        for (size_t i = 0; i < self->specials; i++) {
            const struct special *special = &self->special[i];
            if (special->normalized && special->count <= count - at &&
                !memcmp(special->points, text + at, special->count * sizeof *text) &&
                (!found || special->count > found->count))
                found = special;
        }
        if (!found) {
            at++;
            continue;
        }
        if (!encode_words(self, text + done, at - done, ids, error) ||
            !buffer_append(ids, &found->id, sizeof found->id, error))
            return false;
        done = at += found->count;
    }
    return encode_words(self, text + done, count - done, ids, error);
}

/* Stage 2. */
static bool encode_part(const struct tokenizer *self, const char *text, size_t size,
                        struct buffer *ids, struct error *error)
{
    int32_t *points;
    size_t count;
    if (!unicode_normalize(text, size, &points, &count, error))
        return false;
    bool good = encode_points(self, points, count, ids, error);
    free(points);
    return good;
}

/* The longest special token that stands at `text` as it is written, or NULL. */
static const struct special *special_at(const struct tokenizer *self, const char *text,
                                        size_t size)
{
    const struct special *found = NULL;
    for (size_t i = 0; i < self->specials; i++) {
        const struct special *special = &self->special[i];
        if (!special->normalized && special->size <= size &&
            !memcmp(special->content, text, special->size) &&
            (!found || special->size > found->size))
            found = special;
    }
    return found;
}

bool tokenizer_encode(const struct tokenizer *self, const char *text, int32_t **ids,
                      size_t *count, struct error *error)
{
    bool good = true;
    struct buffer found = {0};
    size_t size = strlen(text), done = 0, at = 0;
    if (size > TEXT_LIMIT)
        return error_set_kind(error, ERROR_INPUT, "text of %zu bytes, the limit is %d",
                              size, TEXT_LIMIT);
    while (good && at < size) { /* stage 1 */
        const struct special *special = special_at(self, text + at, size - at);
        if (!special) {
            at++;
            continue;
        }
        good = encode_part(self, text + done, at - done, &found, error) &&
               buffer_append(&found, &special->id, sizeof special->id, error);
        done = at += special->size;
    }
    good = good && encode_part(self, text + done, size - done, &found, error) &&
           buffer_room(&found, sizeof **ids, error);
    if (!good) {
        buffer_clear(&found);
        return false;
    }
    *ids = (int32_t *)(void *)found.data;
    *count = found.size / sizeof **ids;
    return true;
}

bool tokenizer_encode_text(const struct tokenizer *self, const char *text,
                           int32_t **ids, size_t *count, struct error *error)
{
    struct tokenizer words = *self;
    words.specials = 0;
    for (size_t i = 0; i < self->specials; i++)
        if (self->special[i].id != self->pad || self->pad == self->start ||
            self->pad == self->end)
            words.special[words.specials++] = self->special[i];
    return tokenizer_encode(&words, text, ids, count, error);
}
