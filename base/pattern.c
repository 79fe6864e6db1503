#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/pattern.h"

#include <pcre2.h>
#include <stdlib.h>

enum { FREE_BYTES = 8 }; /* of a text: a step each */

struct pattern {
    pcre2_code *code;
};

struct pattern *pattern_new(const char *text, enum pattern_of of, struct error *error)
{
    static const uint32_t options[] = {
        [PATTERN_OF_WORDS] = PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS | PCRE2_DOTALL,
        [PATTERN_OF_NAMES] = PCRE2_ANCHORED};
    int code;
    size_t at;
    struct pattern *self = calloc(1, sizeof *self);
    if (!self)
        abort();
    self->code = pcre2_compile(
        (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
        options[of] | PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (self->code)
        return self;
    char why[120];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    error_set_kind(error, ERROR_INPUT,
                   "\"%.100s\" is no pattern at its character %zu: %s", text, at + 1,
                   why);
    pattern_destroy(&self);
    return NULL;
}

void pattern_destroy(struct pattern **self)
{
    if (!*self)
        return;
    pcre2_code_free((*self)->code);
    free(*self);
    *self = NULL;
}

/* Before each item of a pattern, and again whenever it is gone back to. */
static int count_step(pcre2_callout_block *block, void *context)
{
    struct pattern_meter *meter = context;
    size_t at = block->current_position;
    meter->work += 1 + (at > meter->at ? at - meter->at : 0);
    meter->at = at;
    return meter->work > meter->most ? PCRE2_ERROR_CALLOUT : 0;
}

enum pattern_found pattern_look(const struct pattern *self, const char *text,
                                size_t size, uint32_t heap_kib,
                                struct pattern_meter *meter)
{
    meter->work += size / FREE_BYTES + 1;
    meter->at = 0;
    if (meter->work > meter->most)
        return PATTERN_UNDECIDED;
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!context || !data)
        abort();
    pcre2_set_callout(context, count_step, meter);
    pcre2_set_heap_limit(context, heap_kib);
    int found = pcre2_match(self->code, (PCRE2_SPTR)text, size, 0, 0, data, context);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return found >= 0                     ? PATTERN_FOUND
           : found == PCRE2_ERROR_NOMATCH ? PATTERN_CLEAR
                                          : PATTERN_UNDECIDED;
}
