/* A1111 reads from left to right. A bracket that opens remembers the run that comes next; one
 * that closes multiplies all runs since; those left open do so at the end. Runs of equal
 * weight become one, since each run is tokenized by itself.
 *
 * ComfyUI splits at the outermost parentheses and descends: a weight inside them replaces
 * what was inherited, without one it is 1.1 times that.
 */
#include "worker/sd/emphasis.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "worker/sd/unicode.h"

enum { DEPTH_MOST = 200 };

static const double round_factor = 1.1, square_factor = 1 / 1.1, break_weight = -1;
static const char break_word[] = "BREAK";

struct reader {
    const char *text;
    struct buffer runs;          /* struct emphasis_run */
    struct buffer round, square; /* size_t: runs there were when a bracket opened */
    struct error *error;
};

static bool add_run(struct reader *self, const char *text, size_t size, double weight)
{
    struct emphasis_run run = {.text = strndup(text, size), .weight = weight};
    if (!run.text)
        return error_set_kind(self->error, ERROR_MEMORY, "no memory for a prompt");
    if (buffer_append(&self->runs, &run, sizeof run, self->error))
        return true;
    free(run.text);
    return false;
}

static struct emphasis_run *runs_of(const struct reader *self, size_t *count)
{
    *count = self->runs.size / sizeof(struct emphasis_run);
    return (struct emphasis_run *)(void *)self->runs.data;
}

static bool open_bracket(struct reader *self, struct buffer *stack)
{
    size_t count;
    runs_of(self, &count);
    return buffer_append(stack, &count, sizeof count, self->error);
}

static bool close_bracket(struct reader *self, struct buffer *stack, double factor)
{
    size_t count, from;
    struct emphasis_run *run = runs_of(self, &count);
    if (!stack->size)
        return false;
    stack->size -= sizeof from;
    memcpy(&from, stack->data + stack->size, sizeof from);
    for (size_t i = from; i < count; i++)
        run[i].weight *= factor;
    return true;
}

/* Length of ": 1.2 )" at `text`, or 0; the number's place and length. */
static size_t weight_length(const char *text, size_t *number, size_t *digits)
{
    if (*text != ':')
        return 0;
    size_t at = 1 + unicode_spaces(text + 1, strlen(text + 1));
    *number = at;
    at += text[at] == '+' || text[at] == '-';
    *digits = strspn(text + at, ".0123456789");
    if (!*digits)
        return 0;
    at += *digits;
    *digits = at - *number;
    at += unicode_spaces(text + at, strlen(text + at));
    return text[at] == ')' ? at + 1 : 0;
}

/* Whether `text` up to `size` is one number, as strtod reads it. */
static bool read_number(const char *text, size_t size, double *value)
{
    char *end = NULL;
    if (!size || strspn(text, "+-.0123456789eE") < size)
        return false;
    *value = strtod(text, &end);
    return end == text + size;
}

/* Length of white space, BREAK, white space at `at` in text[0 .. size - 1], or 0. */
static size_t break_length(const char *text, size_t at, size_t size)
{
    size_t word = at + unicode_spaces(text + at, size - at);
    size_t end = word + strlen(break_word);
    if (end > size || memcmp(text + word, break_word, end - word) != 0 ||
        unicode_word_before(text, word) || unicode_word_at(text + end, size - end))
        return 0;
    return end + unicode_spaces(text + end, size - end) - at;
}

/* Text without brackets, in parts between BREAKs. */
static bool add_text(struct reader *self, const char *text, size_t size)
{
    size_t from = 0, at = 0;
    while (at < size) {
        size_t length = break_length(text, at, size);
        if (length && (!add_run(self, text + from, at - from, 1) ||
                       !add_run(self, break_word, strlen(break_word), break_weight)))
            return false;
        at += length ? length : 1;
        from = length ? at : from;
    }
    return add_run(self, text + from, size - from, 1);
}

/* What stands at `text`, and its length. */
static bool read_a1111_token(struct reader *self, const char *text, size_t *length)
{
    size_t number, digits, weighted = weight_length(text, &number, &digits);
    double weight;
    *length = 1;
    if (*text == '\\') {
        *length = text[1] && strchr("()[]\\", text[1]) ? 2 : 1;
        return add_run(self, text + 1, *length - 1, 1);
    }
    if (*text == '(')
        return open_bracket(self, &self->round);
    if (*text == '[')
        return open_bracket(self, &self->square);
    if (weighted && self->round.size) {
        *length = weighted;
        if (!read_number(text + number, digits, &weight))
            return error_set_kind(
                self->error, ERROR_INPUT,
                "weight \"%.*s\" is not a number; expected (words:1.2)",
                (int)(digits < 40 ? digits : 40), text + number);
        return close_bracket(self, &self->round, weight);
    }
    if (*text == ')' && close_bracket(self, &self->round, round_factor))
        return true;
    if (*text == ']' && close_bracket(self, &self->square, square_factor))
        return true;
    *length = weighted ? weighted : strcspn(text, "\\()[]:");
    *length = *length ? *length : 1;
    return add_text(self, text, *length);
}

/* Neighbours of equal weight become one run. */
static bool merge(struct reader *self)
{
    size_t count, kept = 0;
    struct emphasis_run *run = runs_of(self, &count);
    for (size_t i = 0; i < count;) {
        struct buffer text = {0};
        size_t first = i;
        bool ok = true;
        for (; ok && i < count && run[i].weight == run[first].weight; i++)
            ok = buffer_append(&text, run[i].text, strlen(run[i].text), self->error);
        if (!ok || !buffer_append(&text, "", 1, self->error)) {
            buffer_clear(&text);
            return false;
        }
        double weight = run[first].weight;
        for (size_t j = first; j < i; j++) {
            free(run[j].text);
            run[j].text = NULL;
        }
        bool breaks = weight == break_weight && !strcmp(buffer_text(&text), break_word);
        run[kept++] = (struct emphasis_run){
            .text = (char *)text.data, .weight = weight, .ends_chunk = breaks};
    }
    for (size_t i = kept; i < count; i++)
        run[i].text = NULL;
    self->runs.size = kept * sizeof *run;
    return true;
}

static bool read_a1111(struct reader *self)
{
    for (size_t at = 0, length; self->text[at]; at += length)
        if (!read_a1111_token(self, self->text + at, &length))
            return false;
    while (close_bracket(self, &self->round, round_factor) ||
           close_bracket(self, &self->square, square_factor))
        ;
    return (self->runs.size || add_run(self, "", 0, 1)) && merge(self);
}

/* ---- ComfyUI */

/* '(' or ')' that no backslash stands before, else 0. */
static char paren_at(const char *text, size_t at)
{
    bool escaped = at > 0 && text[at - 1] == '\\';
    return (text[at] == '(' || text[at] == ')') && !escaped ? text[at] : 0;
}

/* Appends the bytes from..end - 1 without the backslashes before parentheses. */
static bool add_comfy(struct reader *self, size_t from, size_t end, double weight)
{
    if (!add_run(self, self->text + from, end - from, weight))
        return false;
    size_t count;
    struct emphasis_run *run = runs_of(self, &count);
    char *into = run[count - 1].text;
    for (const char *at = into; *at; at++) {
        at += *at == '\\' && (at[1] == '(' || at[1] == ')');
        *into++ = *at;
    }
    *into = 0;
    return true;
}

static bool read_comfy(struct reader *self, size_t from, size_t end, double weight,
                       size_t depth);

static bool read_comfy_item(struct reader *self, size_t from, size_t end, double weight,
                            size_t depth)
{
    if (end - from < 2 || paren_at(self->text, from) != '(' ||
        paren_at(self->text, end - 1) != ')')
        return add_comfy(self, from, end, weight);
    size_t first = from + 1, last = end - 1, colon = last;
    while (colon > first && self->text[colon] != ':')
        colon--;
    double inside = weight * round_factor, said;
    if (colon > first) {
        size_t number = colon + 1, stop = last;
        number += unicode_spaces(self->text + number, last - number);
        while (stop > number && strchr(" \t\n\r\f\v", self->text[stop - 1]))
            stop--;
        if (read_number(self->text + number, stop - number, &said)) {
            inside = said;
            last = colon;
        }
    }
    return read_comfy(self, first, last, inside, depth + 1);
}

static bool read_comfy(struct reader *self, size_t from, size_t end, double weight,
                       size_t depth)
{
    long level = 0;
    bool ok = true;
    if (depth > DEPTH_MOST)
        return error_set_kind(self->error, ERROR_INPUT,
                              "parentheses nested more than %d deep; \\( is one that "
                              "means nothing",
                              DEPTH_MOST);
    size_t item = from;
    for (size_t at = from; ok && at < end; at++) {
        char paren = paren_at(self->text, at);
        bool opens = paren == '(' && level == 0, closes = paren == ')' && level == 1;
        level += paren == '(' ? 1 : paren == ')' ? -1 : 0;
        if (opens && at > item)
            ok = read_comfy_item(self, item, at, weight, depth);
        if (closes)
            ok = read_comfy_item(self, item, at + 1, weight, depth);
        item = closes ? at + 1 : opens ? at : item;
    }
    return ok && (item == end || read_comfy_item(self, item, end, weight, depth));
}

/* ---- */

bool emphasis_read(struct emphasis *self, const char *text, enum prompt_syntax syntax,
                   struct error *error)
{
    struct reader reader = {.text = text, .error = error};
    size_t size = strlen(text);
    bool ok = syntax == PROMPT_A1111   ? read_a1111(&reader)
              : syntax == PROMPT_COMFY ? read_comfy(&reader, 0, size, 1, 0)
                                       : add_run(&reader, text, size, 1);
    self->run = runs_of(&reader, &self->count);
    if (!ok)
        emphasis_clear(self);
    buffer_clear(&reader.round);
    buffer_clear(&reader.square);
    return ok;
}

void emphasis_clear(struct emphasis *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->run[i].text);
    free(self->run);
    *self = (struct emphasis){0};
}
