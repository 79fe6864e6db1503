/* How a prompt is read
 *
 *     start       ( prompt | one of ][(): )*
 *     prompt      ( text | emphasized | edited | alternating )*
 *     emphasized  "(" prompt ")"  |  "(" prompt ":" prompt ")"  |  "[" prompt "]"
 *     edited      "[" [prompt ":"] prompt ":" number "]"
 *     alternating "[" prompt ( "|" [prompt] )+ "]"
 *
 * Only at the outermost level may a bracket stand for itself, so whatever opens there is
 * tried as a group first. A group that fails is marked and never tried again, which keeps
 * the whole linear. A `|` outside a group or a backslash before the end of a line fits
 * nowhere: such a prompt is taken as it stands, without editing.
 *
 * The tree is an array of nodes linked by index; a failed group gives its nodes back.
 */
#include "worker/sd/prompt_schedule.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/unicode.h"

enum { DEPTH_MOST = 200, STATES_BYTES_MOST = 16 << 20 };

enum node_kind { NODE_TEXT, NODE_EMPHASIS, NODE_EDIT, NODE_TURNS, NODE_OPTION };

struct node {
    enum node_kind kind;
    size_t at, size; /* NODE_TEXT: bytes of the prompt */
    size_t child;    /* first; NODE_EDIT's are two options, NODE_TURNS' two or more */
    size_t next;     /* 0: none */
    long when;       /* NODE_EDIT: last step of the first option */
};

struct list {
    size_t first, last;
};

struct reader {
    const char *text;
    size_t size, at, before, steps;
    struct node *node; /* node 0 is none */
    size_t count, capacity;
    bool *dead; /* a group that opens here does not close */
    size_t depth;
    bool failed;
    struct error *error;
};

static size_t add(struct reader *self, struct list *list, struct node node)
{
    if (self->count >= self->capacity) {
        size_t wider = 2 * self->capacity + 64;
        struct node *grown = realloc(self->node, wider * sizeof *grown);
        if (!grown) {
            self->failed = true;
            error_set_kind(self->error, ERROR_MEMORY, "no memory for a prompt");
            return 0;
        }
        self->node = grown;
        self->capacity = wider;
    }
    size_t index = self->count++;
    self->node[index] = node;
    if (list->last)
        self->node[list->last].next = index;
    else
        list->first = index;
    list->last = index;
    return index;
}

static bool take(struct reader *self, char wanted)
{
    bool there = self->at < self->size && self->text[self->at] == wanted;
    self->at += there;
    return there;
}

static void add_text(struct reader *self, struct list *list, size_t from)
{
    add(self, list,
        (struct node){.kind = NODE_TEXT, .at = from, .size = self->at - from});
}

static size_t text_length(const struct reader *self)
{
    size_t at = self->at;
    while (at < self->size && !strchr("[]():|", self->text[at])) {
        bool escape = self->text[at] == '\\';
        if (escape && (at + 1 == self->size || self->text[at + 1] == '\n'))
            break;
        at += escape ? 2 : 1;
    }
    return at - self->at;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* White space, a number, white space, "]": what ends an edited prompt. */
static bool read_when(struct reader *self, long *when)
{
    size_t at = self->at + unicode_spaces(self->text + self->at, self->size - self->at);
    size_t number = at, digits = 0;
    bool point = false;
    at += at < self->size && strchr("+-", self->text[at]);
    for (; at < self->size; at++) {
        char c = self->text[at];
        if (is_digit(c))
            digits++;
        else if (c == '.' && !point)
            point = true;
        else
            break;
    }
    if (!digits)
        return false;
    size_t exponent = at + (at < self->size && strchr("eE", self->text[at]));
    exponent +=
        exponent > at && exponent < self->size && strchr("+-", self->text[exponent]);
    if (exponent > at && exponent < self->size && is_digit(self->text[exponent]))
        for (at = exponent; at < self->size && is_digit(self->text[at]);)
            at++;
    size_t end = at + unicode_spaces(self->text + at, self->size - at);
    if (end == self->size || self->text[end] != ']')
        return false;
    double value = strtod(self->text + number, NULL);
    if (self->before)
        value -= point ? 1 : (double)self->before;
    value *= point ? (double)self->steps : 1;
    *when = value >= (double)self->steps ? (long)self->steps
            : value <= -1                ? -1
                                         : (long)value;
    self->at = end + 1;
    return true;
}

static struct list read_prompt(struct reader *self);

static void add_option(struct reader *self, struct list *options, struct list prompt)
{
    add(self, options, (struct node){.kind = NODE_OPTION, .child = prompt.first});
}

static bool read_round(struct reader *self, struct list *into)
{
    size_t from = self->at++;
    struct list inside = {0};
    add_text(self, &inside, from);
    struct list prompt = read_prompt(self);
    add_option(self, &inside, prompt);
    from = self->at;
    if (take(self, ':')) {
        add_text(self, &inside, from);
        prompt = read_prompt(self);
        add_option(self, &inside, prompt);
        from = self->at;
    }
    if (!take(self, ')'))
        return false;
    add_text(self, &inside, from);
    add(self, into, (struct node){.kind = NODE_EMPHASIS, .child = inside.first});
    return true;
}

static bool read_square(struct reader *self, struct list *into)
{
    size_t open = self->at++, from;
    struct node node = {.kind = NODE_EDIT};
    struct list options = {0}, prompt = read_prompt(self);
    from = self->at;
    if (take(self, ']')) {
        node.kind = NODE_EMPHASIS;
        add(self, &options, (struct node){.kind = NODE_TEXT, .at = open, .size = 1});
        add_option(self, &options, prompt);
        add_text(self, &options, from);
    } else if (take(self, '|')) {
        node.kind = NODE_TURNS;
        add_option(self, &options, prompt);
        do {
            prompt = read_prompt(self);
            add_option(self, &options, prompt);
        } while (take(self, '|'));
        if (!take(self, ']'))
            return false;
    } else if (!take(self, ':')) {
        return false;
    } else if (read_when(self, &node.when)) {
        add_option(self, &options, (struct list){0});
        add_option(self, &options, prompt);
    } else {
        add_option(self, &options, prompt);
        prompt = read_prompt(self);
        add_option(self, &options, prompt);
        if (!take(self, ':') || !read_when(self, &node.when))
            return false;
    }
    node.child = options.first;
    add(self, into, node);
    return true;
}

/* Appends the group that opens here; where it does not close nothing has happened. */
static bool read_group(struct reader *self, struct list *into)
{
    size_t at = self->at, count = self->count;
    if (self->dead[at] || self->failed)
        return false;
    if (self->depth == DEPTH_MOST) {
        self->failed = true;
        return error_set_kind(self->error, ERROR_INPUT,
                              "brackets nested more than %d deep; \\( and \\[ are "
                              "brackets that mean nothing",
                              DEPTH_MOST);
    }
    self->depth++;
    bool ok = self->text[at] == '(' ? read_round(self, into) : read_square(self, into);
    self->depth--;
    if (ok && !self->failed)
        return true;
    self->dead[at] = true;
    self->at = at;
    self->count = count;
    return false;
}

static struct list read_prompt(struct reader *self)
{
    struct list list = {0};
    while (self->at < self->size && !self->failed) {
        char c = self->text[self->at];
        size_t from = self->at, length = text_length(self);
        self->at += length;
        if (length)
            add_text(self, &list, from);
        else if ((c != '(' && c != '[') || !read_group(self, &list))
            break;
    }
    return list;
}

/* False where the grammar does not take the text or the reader failed. */
static bool read_start(struct reader *self, struct list *whole)
{
    while (!self->failed) {
        struct list prompt = read_prompt(self);
        add_option(self, whole, prompt);
        if (self->at == self->size)
            return !self->failed;
        if (!strchr("[]():", self->text[self->at]))
            return false;
        self->at++;
        add_text(self, whole, self->at - 1);
    }
    return false;
}

/* ---- States */

static void mark_ends(const struct reader *self, bool *ends)
{
    for (size_t i = 1; i < self->count; i++) {
        const struct node *node = &self->node[i];
        if (node->kind == NODE_EDIT && node->when >= 1)
            ends[node->when] = true;
        for (size_t step = 1; node->kind == NODE_TURNS && step <= self->steps; step++)
            ends[step] = true;
    }
    ends[self->steps] = true;
}

/* The option of that number, from 0, going round. */
static size_t option_at(const struct reader *self, const struct node *node, size_t i)
{
    size_t option = node->child;
    for (; i > 0; i--)
        option = self->node[option].next ? self->node[option].next : node->child;
    return self->node[option].child;
}

static bool write_state(const struct reader *self, size_t first, size_t step,
                        struct buffer *into)
{
    bool ok = true;
    for (size_t i = first; ok && i; i = self->node[i].next) {
        const struct node *node = &self->node[i];
        size_t child = node->child;
        if (node->kind == NODE_EDIT)
            child = option_at(self, node, (long)step > node->when);
        if (node->kind == NODE_TURNS)
            child = option_at(self, node, step - 1);
        ok = node->kind == NODE_TEXT
                 ? buffer_append(into, self->text + node->at, node->size, self->error)
                 : write_state(self, child, step, into);
    }
    return ok;
}

static bool write_states(struct prompt_schedule *self, const struct reader *from,
                         size_t first, const bool *ends)
{
    size_t total = 0;
    self->state = calloc(from->steps, sizeof *self->state);
    if (!self->state)
        return error_set_kind(from->error, ERROR_MEMORY, "no memory for a prompt");
    for (size_t step = 1; step <= from->steps; step++) {
        struct buffer text = {0};
        if (!ends[step])
            continue;
        if (!write_state(from, first, step, &text) ||
            !buffer_append(&text, "", 1, from->error)) {
            buffer_clear(&text);
            return false;
        }
        total += text.size;
        self->state[self->count++] =
            (struct prompt_state){.end = step, .text = (char *)text.data};
        if (total > STATES_BYTES_MOST)
            return error_set_kind(from->error, ERROR_INPUT,
                                  "%zu bytes of text that change every step are too "
                                  "many for %zu steps; shorten the text",
                                  from->size, from->steps);
    }
    return true;
}

bool prompt_schedule_read(struct prompt_schedule *self, const char *text, size_t size,
                          size_t before, size_t steps, struct error *error)
{
    *self = (struct prompt_schedule){0};
    struct reader reader = {.text = text,
                            .size = size,
                            .before = before,
                            .steps = steps,
                            .count = 1,
                            .error = error};
    struct list whole = {0};
    bool ok = false, *ends = calloc(steps + 1, sizeof *ends);
    reader.dead = calloc(size + 1, sizeof *reader.dead);
    if (!ends || !reader.dead) {
        error_set_kind(error, ERROR_MEMORY, "no memory for a prompt");
        goto out;
    }
    if (read_start(&reader, &whole)) {
        mark_ends(&reader, ends);
        ok = write_states(self, &reader, whole.first, ends);
    } else if (!reader.failed) {
        ok = prompt_schedule_constant(self, text, size, steps, error);
    }
out:
    if (!ok)
        prompt_schedule_clear(self);
    free(reader.node);
    free(reader.dead);
    free(ends);
    return ok;
}

bool prompt_schedule_constant(struct prompt_schedule *self, const char *text,
                              size_t size, size_t steps, struct error *error)
{
    *self = (struct prompt_schedule){.state = calloc(1, sizeof *self->state)};
    if (self->state) {
        self->state[0] =
            (struct prompt_state){.end = steps, .text = strndup(text, size)};
        self->count = 1;
    }
    if (!self->state || !self->state[0].text) {
        prompt_schedule_clear(self);
        return error_set_kind(error, ERROR_MEMORY, "no memory for a prompt");
    }
    return true;
}

void prompt_schedule_clear(struct prompt_schedule *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->state[i].text);
    free(self->state);
    *self = (struct prompt_schedule){0};
}

size_t prompt_schedule_at(const struct prompt_schedule *self, size_t call)
{
    for (size_t i = 0; i < self->count; i++)
        if (call <= self->state[i].end)
            return i;
    return 0;
}
