#include "coordinator/deny.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/path.h"
#include "base/pattern.h"
#include "proto/job/texts.h"

enum {
    FILE_MOST = 1 << 20,
    RULES_MOST = 1000,
    HEAP_KIB = 4096,      /* of one match */
    WORK_MOST = 10000000, /* steps of all patterns for one job: tenths of a second */
    PROBE_SIZE = 2000,    /* characters of a prompt made to be slow */
    PROBE_WORK = 5000000, /* its square is taken, its cube is not */
};

struct rule {
    char name[DENY_NAME];
    unsigned roles;
    struct pattern *pattern;
};

struct deny {
    struct rule *rule;
    size_t count;
    uint8_t hash[DENY_HASH];
};

/* ---- reading */

static bool read_roles(char *text, unsigned *roles)
{
    static const struct {
        const char *name;
        unsigned roles;
    } known[] = {{"submit", 1u << FARM__ROLE__ROLE_SUBMIT},
                 {"admin", 1u << FARM__ROLE__ROLE_ADMIN},
                 {"all", 1u << FARM__ROLE__ROLE_SUBMIT | 1u << FARM__ROLE__ROLE_ADMIN}};
    *roles = 0;
    for (char *name; (name = strsep(&text, ","));) {
        size_t k = 0, count = sizeof known / sizeof *known;
        while (k < count && strcmp(known[k].name, name) != 0)
            k++;
        if (k == count)
            return false;
        *roles |= known[k].roles;
    }
    return true;
}

/* A long run of each character the pattern names, and what no pattern ends with: where
 * repetitions stand within repetitions this takes for ever. */
static bool is_quick(const struct rule *rule, const char *pattern, struct error *error)
{
    char text[PROBE_SIZE + 2];
    bool seen[128] = {false};
    for (const char *c = pattern; c[0]; c++) {
        unsigned char letter = (unsigned char)*c;
        if (letter < ' ' || letter > '~' || seen[letter])
            continue;
        seen[letter] = true;
        struct pattern_meter meter = {.most = PROBE_WORK};
        memset(text, letter, PROBE_SIZE);
        text[PROBE_SIZE] = letter == '\t' ? '!' : '\t';
        if (pattern_look(rule->pattern, text, PROBE_SIZE + 1, HEAP_KIB, &meter) ==
            PATTERN_UNDECIDED)
            return error_set_kind(error, ERROR_INPUT,
                                  "rule %s: \"%.100s\" takes more than %d steps on a "
                                  "prompt of %d times \"%c\"; write it without a "
                                  "repetition within a repetition, as in (a+)+",
                                  rule->name, pattern, PROBE_WORK, PROBE_SIZE, letter);
    }
    return true;
}

/* The next word, and *line behind the blanks that follow it; NULL at the end. */
static char *take_word(char **line)
{
    char *word = strsep(line, " \t");
    if (*line)
        *line += strspn(*line, " \t");
    return word;
}

static bool read_rule(struct deny *self, char *line, struct error *error)
{
    struct rule rule = {0};
    char *roles = take_word(&line), *name = take_word(&line);
    if (!name || !line || !*line || strlen(name) >= sizeof rule.name)
        return error_set_kind(error, ERROR_INPUT,
                              "a rule is ROLES NAME PATTERN, the name shorter than %d",
                              DENY_NAME);
    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.")])
        return error_set_kind(
            error, ERROR_INPUT,
            "\"%s\" is no name of a rule; it is written in a-z 0-9 - _ .", name);
    if (!read_roles(roles, &rule.roles))
        return error_set_kind(
            error, ERROR_INPUT,
            "rule %s: its roles are submit, admin, both by a comma, or "
            "all",
            name);
    if (self->count == RULES_MOST)
        return error_set_kind(error, ERROR_INPUT, "more than %d rules", RULES_MOST);
    snprintf(rule.name, sizeof rule.name, "%s", name);
    rule.pattern = pattern_new(line, PATTERN_OF_WORDS, error);
    if (!rule.pattern)
        return error_prefix(error, "rule %s", rule.name);
    self->rule[self->count++] = rule;
    return is_quick(&rule, line, error);
}

static bool read_list(struct deny *self, char *text, const char *path,
                      struct error *error)
{
    unsigned number = 0;
    for (char *line; (line = strsep(&text, "\n"));) {
        number++;
        line += strspn(line, " \t");
        line[strcspn(line, "\r")] = 0;
        if (*line && *line != '#' && !read_rule(self, line, error))
            return error_prefix(error, "%s:%u", path, number);
    }
    return true;
}

struct deny *deny_open(const char *path, struct error *error)
{
    struct buffer text = {0};
    if (!path_read(path, FILE_MOST, &text, error))
        return NULL;
    struct deny *self = calloc(1, sizeof *self);
    char *copy = strdup(buffer_text(&text));
    if (!self || !copy || !(self->rule = calloc(RULES_MOST, sizeof *self->rule)))
        abort();
    crypto_generichash(self->hash, sizeof self->hash, text.data, text.size, NULL, 0);
    bool ok = strlen(copy) == text.size
                  ? read_list(self, copy, path, error)
                  : error_set_kind(error, ERROR_INPUT, "%s: holds a zero byte", path);
    free(copy);
    buffer_clear(&text);
    if (!ok)
        deny_close(&self);
    return self;
}

void deny_close(struct deny **self)
{
    if (!*self)
        return;
    for (size_t r = 0; r < (*self)->count; r++)
        pattern_destroy(&(*self)->rule[r].pattern);
    free((*self)->rule);
    free(*self);
    *self = NULL;
}

size_t deny_count(const struct deny *self)
{
    return self->count;
}

const uint8_t *deny_hash(const struct deny *self)
{
    return self->hash;
}

/* ---- judging */

struct judging {
    const struct deny *deny;
    unsigned role;
    struct pattern_meter meter;
    char *rule;
};

static bool judge(void *context, const char *option, const char *text, size_t cost,
                  struct error *error)
{
    struct judging *judging = context;
    utf8proc_uint8_t *plain = NULL;
    utf8proc_ssize_t size =
        utf8proc_map((const utf8proc_uint8_t *)text, 0, &plain,
                     UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPAT |
                         UTF8PROC_COMPOSE | UTF8PROC_IGNORE);
    const char *looked_at = size < 0 ? text : (const char *)plain;
    const struct rule *rule = judging->deny->rule, *end = rule + judging->deny->count;
    judging->meter.work += cost / 4 + 4;
    enum pattern_found seen = PATTERN_CLEAR;
    for (; seen == PATTERN_CLEAR && rule < end; rule++)
        if (rule->roles & judging->role)
            seen = pattern_look(rule->pattern, looked_at, strlen(looked_at), HEAP_KIB,
                                &judging->meter);
    free(plain);
    if (seen == PATTERN_CLEAR)
        return true;
    snprintf(judging->rule, DENY_NAME, "%s", rule[-1].name);
    if (seen == PATTERN_FOUND)
        return error_set_kind(error, ERROR_INPUT,
                              "%s: rule %s of this farm's deny list does not permit it",
                              option, judging->rule);
    return error_set_kind(error, ERROR_INPUT,
                          "%s: this job is too much for the farm's deny list (at rule "
                          "%s); submit it in parts, or with shorter prompts",
                          option, judging->rule);
}

static bool concerns(const struct deny *self, unsigned role)
{
    size_t r = 0;
    while (r < self->count && !(self->rule[r].roles & role))
        r++;
    return r < self->count;
}

bool deny_permits(const struct deny *self, Farm__Role role, const Farm__Job *job,
                  char rule[DENY_NAME], double *share, struct error *error)
{
    struct judging judging = {
        .deny = self, .role = 1u << role, .meter = {.most = WORK_MOST}, .rule = rule};
    *rule = 0;
    bool ok =
        !concerns(self, judging.role) || job_each_text(job, judge, &judging, error);
    *share = (double)judging.meter.work / WORK_MOST;
    return ok;
}
