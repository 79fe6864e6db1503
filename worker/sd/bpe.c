/* Pairs of ids that may be joined lie in a hash table with their rank in the list. A word is
 * a linked list of symbols; a heap holds the pairs of neighbours that may be joined, lowest
 * rank and leftmost first, so that a word of n bytes costs n log n. An entry of the heap whose
 * symbols have changed meanwhile is dropped when it comes up.
 */
#include "worker/sd/bpe.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_LIMIT = 1024 };

struct pair {
    uint32_t left, right;
    uint32_t rank; /* UINT32_MAX: an empty place */
    int32_t joined;
};

struct bpe {
    int32_t inner[256], last[256]; /* ids of single bytes, inside and at a word's end */
    struct pair *pair;             /* open addressing */
    size_t mask;
};

struct symbol {
    int32_t id;
    size_t before, after; /* SIZE_MAX: none */
    bool gone;
};

struct join {
    uint32_t rank;
    int32_t joined;
    size_t at;
};

struct heap {
    struct join *join;
    size_t count;
};

static struct pair *find_pair(const struct bpe *self, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 32) & self->mask;
    struct pair *pair = &self->pair[at];
    while (pair->rank != UINT32_MAX &&
           (pair->left != (uint32_t)left || pair->right != (uint32_t)right)) {
        at = (at + 1) & self->mask;
        pair = &self->pair[at];
    }
    return pair;
}

size_t bpe_spell_byte(unsigned byte, char into[2])
{
    bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
    unsigned point = byte, before = 0;
    if (!itself) {
        for (unsigned i = 0; i < byte; i++)
            before += !((i >= '!' && i <= '~') || (i >= 0xa1 && i != 0xad));
        point = 256 + before;
    }
    if (point < 0x80) {
        into[0] = (char)point;
        return 1;
    }
    into[0] = (char)(0xc0 | point >> 6);
    into[1] = (char)(0x80 | (point & 0x3f));
    return 2;
}

/* The token's id, -1 when the vocabulary lacks it. */
static int32_t id_of(const json_t *vocabulary, const char *token, size_t length)
{
    const json_t *id = json_object_getn(vocabulary, token, length);
    return id ? (int32_t)json_integer_value(id) : -1;
}

static void set_bytes(struct bpe *self, const json_t *vocabulary, int32_t unknown)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char token[8];
        size_t length = bpe_spell_byte(byte, token);
        int32_t id = id_of(vocabulary, token, length);
        self->inner[byte] = id < 0 ? unknown : id;
        memcpy(token + length, "</w>", 4);
        id = id_of(vocabulary, token, length + 4);
        self->last[byte] = id < 0 ? unknown : id;
    }
}

/* "left right" up to the line's end. */
static bool add_merge(struct bpe *self, const json_t *vocabulary, const char *line,
                      size_t length, uint32_t rank)
{
    char token[TOKEN_LIMIT];
    const char *blank = memchr(line, ' ', length);
    if (!blank || length > sizeof token)
        return false;
    size_t before = (size_t)(blank - line), after = length - before - 1;
    memcpy(token, line, before);
    memcpy(token + before, blank + 1, after);
    int32_t left = id_of(vocabulary, token, before);
    int32_t right = id_of(vocabulary, token + before, after);
    int32_t joined = id_of(vocabulary, token, before + after);
    if (left < 0 || right < 0 || joined < 0)
        return false;
    *find_pair(self, left, right) =
        (struct pair){(uint32_t)left, (uint32_t)right, rank, joined};
    return true;
}

static bool add_merges(struct bpe *self, const json_t *vocabulary, const char *merges,
                       const char *path, struct error *error)
{
    uint32_t rank = 0;
    size_t number = 0;
    for (const char *line = merges; *line;) {
        size_t whole = strcspn(line, "\n");
        size_t length = whole && line[whole - 1] == '\r' ? whole - 1 : whole;
        number++;
        if (strncmp(line, "#version", 8) && length &&
            !add_merge(self, vocabulary, line, length, rank++))
            return error_set_kind(error, ERROR_INPUT,
                                  "%s: line %zu: \"%.*s\": expected two tokens that, "
                                  "like what they make, are in the vocabulary",
                                  path, number, (int)(length < 60 ? length : 60), line);
        line += whole + (line[whole] == '\n');
    }
    return true;
}

struct bpe *bpe_new(const json_t *vocabulary, int32_t unknown, const char *merges,
                    const char *path, struct error *error)
{
    size_t lines = 1, places = 16;
    for (const char *at = merges; (at = strchr(at, '\n')); at++)
        lines++;
    while (places < 2 * lines)
        places *= 2;
    struct bpe *self = calloc(1, sizeof *self);
    if (!self || !(self->pair = malloc(places * sizeof *self->pair))) {
        free(self);
        error_set_kind(error, ERROR_MEMORY, "%s: no memory for %zu merges", path,
                       lines);
        return NULL;
    }
    self->mask = places - 1;
    for (size_t i = 0; i < places; i++)
        self->pair[i].rank = UINT32_MAX;
    set_bytes(self, vocabulary, unknown);
    if (!add_merges(self, vocabulary, merges, path, error))
        bpe_destroy(&self);
    return self;
}

void bpe_destroy(struct bpe **self)
{
    if (!*self)
        return;
    free((*self)->pair);
    free(*self);
    *self = NULL;
}

static bool is_first(struct join a, struct join b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void push(struct heap *self, struct join join)
{
    size_t at = self->count++;
    for (; at && is_first(join, self->join[(at - 1) / 2]); at = (at - 1) / 2)
        self->join[at] = self->join[(at - 1) / 2];
    self->join[at] = join;
}

static struct join pop(struct heap *self)
{
    struct join top = self->join[0], moved = self->join[--self->count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < self->count) {
        if (child + 1 < self->count &&
            is_first(self->join[child + 1], self->join[child]))
            child++;
        if (!is_first(self->join[child], moved))
            break;
        self->join[at] = self->join[child];
        at = child;
    }
    self->join[at] = moved;
    return top;
}

/* Offers the pair that begins at symbol `at`. */
static void offer(const struct bpe *self, const struct symbol *symbol, size_t at,
                  struct heap *heap)
{
    if (at == SIZE_MAX || symbol[at].after == SIZE_MAX)
        return;
    const struct pair *pair =
        find_pair(self, symbol[at].id, symbol[symbol[at].after].id);
    if (pair->rank != UINT32_MAX)
        push(heap, (struct join){pair->rank, pair->joined, at});
}

static void join_all(const struct bpe *self, struct symbol *symbol, struct heap *heap)
{
    while (heap->count) {
        struct join join = pop(heap);
        struct symbol *left = &symbol[join.at];
        if (left->gone || left->after == SIZE_MAX)
            continue;
        struct symbol *right = &symbol[left->after];
        const struct pair *pair = find_pair(self, left->id, right->id);
        if (pair->rank == UINT32_MAX || pair->joined != join.joined)
            continue;
        left->id = join.joined;
        left->after = right->after;
        right->gone = true;
        if (right->after != SIZE_MAX)
            symbol[right->after].before = join.at;
        offer(self, symbol, left->before, heap);
        offer(self, symbol, join.at, heap);
    }
}

bool bpe_encode(const struct bpe *self, const uint8_t *word, size_t size,
                struct buffer *ids, struct error *error)
{
    bool good = false;
    struct symbol *symbol = calloc(size + 1, sizeof *symbol);
    /* Each byte offers one pair, each joining two more. */
    struct heap heap = {calloc(3 * size + 1, sizeof *heap.join), 0};
    if (!symbol || !heap.join) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a word of %zu bytes", size);
        goto out;
    }
    for (size_t i = 0; i < size; i++)
        symbol[i] = (struct symbol){
            .id = i + 1 < size ? self->inner[word[i]] : self->last[word[i]],
            .before = i ? i - 1 : SIZE_MAX,
            .after = i + 1 < size ? i + 1 : SIZE_MAX,
        };
    for (size_t i = 0; i < size; i++)
        offer(self, symbol, i, &heap);
    join_all(self, symbol, &heap);
    for (size_t i = 0; i < size; i = symbol[i].after)
        if (!buffer_append(ids, &symbol[i].id, sizeof symbol[i].id, error))
            goto out;
    good = true;
out:
    free(symbol);
    free(heap.join);
    return good;
}
