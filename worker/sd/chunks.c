#include "worker/sd/chunks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/unicode.h"

enum { COMMA_BACKTRACK = 20, RUN_LARGE = 8, CHUNKS_MOST = 64 };

static const char comfy_mark[] = "embedding:";

/* One place of a chunk. */
struct place {
    int32_t id;
    double weight;
    const float *vector;
    bool filler; /* behind the text's end */
};

struct maker {
    const struct tokenizer *tokenizer;
    const struct chunk_word *words;
    size_t word_count;
    size_t room;        /* places between start and end */
    struct buffer done; /* struct place: whole chunks of `room` places */
    struct place *open; /* the chunk that is being filled */
    size_t filled;
    size_t comma; /* place behind its last comma; 0: none */
    int32_t comma_id;
    bool truncated;
    struct error *error;
};

static bool finish_chunk(struct maker *self)
{
    struct place filler = {
        .id = tokenizer_end(self->tokenizer), .weight = 1, .filler = true};
    while (self->filled < self->room)
        self->open[self->filled++] = filler;
    self->filled = self->comma = 0;
    if (self->done.size >= CHUNKS_MOST * self->room * sizeof filler)
        return error_set_kind(self->error, ERROR_INPUT,
                              "more than %d chunks of %zu tokens; shorten the text",
                              CHUNKS_MOST, self->room);
    return buffer_append(&self->done, self->open, self->room * sizeof filler,
                         self->error);
}

static struct place vector_place(const struct chunk_word *word, size_t i, double weight)
{
    return (struct place){
        .id = CHUNK_VECTOR, .weight = weight, .vector = word->values + i * word->c};
}

/* The longest word whose tokens begin at ids[0]. */
static const struct chunk_word *word_at(const struct maker *self, const int32_t *ids,
                                        size_t count)
{
    const struct chunk_word *found = NULL;
    for (size_t i = 0; i < self->word_count; i++) {
        const struct chunk_word *word = &self->words[i];
        if (word->id_count && word->id_count <= count &&
            !memcmp(word->ids, ids, word->id_count * sizeof *ids) &&
            (!found || word->id_count > found->id_count))
            found = word;
    }
    return found;
}

/* ---- A1111 */

/* Ends the chunk behind its last comma; what stood there begins the next. */
static bool move_to_next(struct maker *self)
{
    struct place moved[COMMA_BACKTRACK];
    size_t count = self->filled - self->comma;
    memcpy(moved, self->open + self->comma, count * sizeof *moved);
    self->filled = self->comma;
    if (!finish_chunk(self))
        return false;
    memcpy(self->open, moved, count * sizeof *moved);
    self->filled = count;
    return true;
}

static bool make_room(struct maker *self, int32_t id)
{
    if (id == self->comma_id)
        self->comma = self->filled + 1;
    else if (self->filled == self->room && self->comma &&
             self->filled - (self->comma - 1) <= COMMA_BACKTRACK && !move_to_next(self))
        return false;
    return self->filled < self->room || finish_chunk(self);
}

static bool add_a1111(struct maker *self, const int32_t *ids, size_t count,
                      double weight)
{
    for (size_t i = 0; i < count;) {
        const struct chunk_word *word = word_at(self, ids + i, count - i);
        if (!make_room(self, ids[i]) ||
            (word && self->filled + word->vectors > self->room && !finish_chunk(self)))
            return false;
        if (!word) {
            self->open[self->filled++] =
                (struct place){.id = ids[i++], .weight = weight};
            continue;
        }
        for (size_t v = 0; v < word->vectors; v++)
            self->open[self->filled++] = vector_place(word, v, weight);
        i += word->id_count;
    }
    return true;
}

/* ---- Plain: one chunk */

static bool add_plain(struct maker *self, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count;) {
        const struct chunk_word *word = word_at(self, ids + i, count - i);
        size_t wanted = word ? word->vectors : 1;
        if (self->filled + wanted > self->room) {
            self->truncated = true;
            break;
        }
        for (size_t v = 0; v < wanted; v++)
            self->open[self->filled++] =
                word ? vector_place(word, v, 1)
                     : (struct place){.id = ids[i], .weight = 1};
        i += word ? word->id_count : 1;
    }
    return true;
}

/* ---- ComfyUI */

static bool add_group(struct maker *self, const struct place *place, size_t count)
{
    bool large = count >= RUN_LARGE || count > self->room;
    while (self->filled + count > self->room) {
        size_t taken = large ? self->room - self->filled : 0;
        memcpy(self->open + self->filled, place, taken * sizeof *place);
        self->filled += taken;
        place += taken;
        count -= taken;
        if (!finish_chunk(self))
            return false;
    }
    memcpy(self->open + self->filled, place, count * sizeof *place);
    self->filled += count;
    return true;
}

static bool add_comfy_text(struct maker *self, const char *text, double weight)
{
    int32_t *ids;
    size_t count;
    if (!tokenizer_encode_text(self->tokenizer, text, &ids, &count, self->error))
        return false;
    struct place *group = calloc(count + 1, sizeof *group);
    for (size_t i = 0; group && i < count; i++)
        group[i] = (struct place){.id = ids[i], .weight = weight};
    bool ok = group ? add_group(self, group, count)
                    : error_set_kind(self->error, ERROR_MEMORY, "no memory for tokens");
    free(group);
    free(ids);
    return ok;
}

static bool add_comfy_word(struct maker *self, const struct chunk_word *word,
                           double weight)
{
    struct place *group = calloc(word->vectors + 1, sizeof *group);
    if (!group)
        return error_set_kind(self->error, ERROR_MEMORY, "no memory for vectors");
    for (size_t v = 0; v < word->vectors; v++)
        group[v] = vector_place(word, v, weight);
    bool ok = add_group(self, group, word->vectors);
    free(group);
    return ok;
}

/* The word that `text` begins with behind its mark; NULL where there is none of that name.
 * *length: what to leave out. Commas behind the name are text. */
static const struct chunk_word *comfy_word(const struct maker *self, const char *text,
                                           size_t *length)
{
    size_t mark = strlen(comfy_mark), size = strcspn(text + mark, " \t\n\r\f\v<[");
    for (;; size--) {
        *length = mark + size;
        for (size_t i = 0; i < self->word_count; i++)
            if (strlen(self->words[i].name) == size &&
                !memcmp(self->words[i].name, text + mark, size))
                return &self->words[i];
        if (!size || text[mark + size - 1] != ',')
            return NULL;
    }
}

/* A word that is not known is left out, as ComfyUI does. */
static bool add_comfy(struct maker *self, char *text, double weight)
{
    char *from = text;
    for (char *at = text, *next; (next = strstr(at, comfy_mark));) {
        size_t length = strlen(comfy_mark);
        bool begins = next == text || unicode_spaces(next - 1, 1);
        at = next + length;
        if (!begins)
            continue;
        const struct chunk_word *word = comfy_word(self, next, &length);
        *next = 0;
        if ((*from && !add_comfy_text(self, from, weight)) ||
            (word && !add_comfy_word(self, word, weight)))
            return false;
        from = at = next + length;
    }
    return !*from || add_comfy_text(self, from, weight);
}

/* ---- */

static bool add_run(struct maker *self, struct emphasis_run *run,
                    enum prompt_syntax syntax)
{
    int32_t *ids;
    size_t count;
    if (run->ends_chunk)
        return finish_chunk(self);
    if (syntax == PROMPT_COMFY)
        return add_comfy(self, run->text, run->weight);
    bool plain = syntax == PROMPT_PLAIN;
    if (!(plain ? tokenizer_encode : tokenizer_encode_text)(self->tokenizer, run->text,
                                                            &ids, &count, self->error))
        return false;
    bool ok = syntax == PROMPT_A1111 ? add_a1111(self, ids, count, run->weight)
                                     : add_plain(self, ids, count);
    free(ids);
    return ok;
}

/* Behind the first end token A1111 pads all there is, where padding is another token; the
 * others keep the text. */
static void write_chunk(struct chunks *self, size_t chunk, const struct maker *maker,
                        bool pads_all)
{
    const struct place *place = (const struct place *)(const void *)maker->done.data;
    int32_t end = tokenizer_end(maker->tokenizer),
            pad = tokenizer_pad(maker->tokenizer);
    size_t first = chunk * self->tokens;
    bool ended = false;
    pads_all = pads_all && pad != end;
    place += chunk * maker->room;
    for (size_t i = 0; i < self->tokens; i++) {
        struct place at = {.id = tokenizer_start(maker->tokenizer), .weight = 1};
        if (i == self->tokens - 1)
            at = (struct place){.id = end, .weight = 1, .filler = true};
        else if (i > 0)
            at = place[i - 1];
        bool ends = (at.filler || pads_all) && at.id == end;
        if (ended && (at.filler || pads_all) && !at.vector)
            at.id = pad;
        ended = ended || ends;
        self->ids[first + i] = at.id;
        self->weights[first + i] = at.weight;
        self->vector[first + i] = at.vector;
    }
}

static bool write_chunks(struct chunks *self, const struct maker *maker, bool pads_all)
{
    self->count = maker->done.size / (maker->room * sizeof(struct place));
    self->truncated = maker->truncated;
    size_t places = self->count * self->tokens;
    self->ids = calloc(places, sizeof *self->ids);
    self->weights = calloc(places, sizeof *self->weights);
    self->vector = calloc(places, sizeof *self->vector);
    if (!self->ids || !self->weights || !self->vector)
        return error_set_kind(maker->error, ERROR_MEMORY, "no memory for tokens");
    for (size_t i = 0; i < self->count; i++)
        write_chunk(self, i, maker, pads_all);
    return true;
}

static bool begin(struct maker *self)
{
    int32_t *ids;
    size_t count;
    for (size_t i = 0; i < self->word_count; i++)
        if (self->words[i].vectors > self->room)
            return error_set_kind(self->error, ERROR_INPUT,
                                  "embedding %.80s has %zu vectors, a chunk takes %zu",
                                  self->words[i].name, self->words[i].vectors,
                                  self->room);
    if (!self->open)
        return error_set_kind(self->error, ERROR_MEMORY, "no memory for tokens");
    if (!tokenizer_encode(self->tokenizer, ",", &ids, &count, self->error))
        return false;
    self->comma_id = count == 1 ? ids[0] : CHUNK_VECTOR;
    free(ids);
    return true;
}

bool chunks_make(struct chunks *self, const struct tokenizer *tokenizer, size_t tokens,
                 const char *text, enum prompt_syntax syntax,
                 const struct chunk_word *words, size_t word_count, struct error *error)
{
    assert(tokens > 2);
    *self = (struct chunks){.tokens = tokens};
    struct place *open = calloc(tokens, sizeof *open);
    struct maker maker = {.open = open,
                          .tokenizer = tokenizer,
                          .words = words,
                          .word_count = word_count,
                          .room = tokens - 2,
                          .error = error};
    struct emphasis emphasis = {0};
    bool ok = begin(&maker) && emphasis_read(&emphasis, text, syntax, error);
    for (size_t i = 0; ok && i < emphasis.count; i++)
        ok = add_run(&maker, &emphasis.run[i], syntax);
    if (ok && (maker.filled || !maker.done.size))
        ok = finish_chunk(&maker);
    ok = ok && write_chunks(self, &maker, syntax == PROMPT_A1111);
    if (!ok)
        chunks_clear(self);
    emphasis_clear(&emphasis);
    buffer_clear(&maker.done);
    free(open);
    return ok;
}

void chunks_clear(struct chunks *self)
{
    free(self->ids);
    free(self->weights);
    free(self->vector);
    *self = (struct chunks){0};
}
