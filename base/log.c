#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LINE_MOST = 4000, TEXT_MOST = 1500 };

static const char *program_name = "farm";
static enum log_level least_level = LOG_INFO_LINE;
static enum log_format line_format = LOG_TEXT;
static _Thread_local struct log_subject about = {.task = -1};

void log_open(const char *program, enum log_level least, enum log_format format)
{
    program_name = program;
    least_level = least;
    line_format = format;
}

void log_about(const struct log_subject *subject)
{
    about = subject ? *subject : (struct log_subject){.task = -1};
}

/* A line being put together; what does not fit is left out. */
struct line {
    char text[LINE_MOST];
    size_t size;
};

static void add(struct line *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct line *self, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size =
        vsnprintf(self->text + self->size, LINE_MOST - self->size, format, arguments);
    va_end(arguments);
    if (size > 0)
        self->size += (size_t)size;
    if (self->size > LINE_MOST - 2)
        self->size = LINE_MOST - 2;
}

/* As a JSON string with its quotes; what would break it is escaped. */
static void add_string(struct line *self, const char *text)
{
    add(self, "\"");
    for (; *text && self->size < LINE_MOST - 100; text++)
        add(self, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    add(self, "\"");
}

static void add_field(struct line *self, bool json, const char *name, const char *value)
{
    if (!value[0])
        return;
    add(self, json ? ",\"%s\":" : " %s=", name);
    if (json)
        add_string(self, value);
    else
        add(self, "%s", value);
}

static void add_subject(struct line *self, bool json)
{
    char task[24] = "", attempt[48] = "";
    if (about.task >= 0)
        snprintf(task, sizeof task, "%" PRId64, about.task);
    if (about.attempt)
        snprintf(attempt, sizeof attempt, "%" PRIu64 "-%" PRIu64, about.epoch,
                 about.attempt);
    if (!about.node[0] && !about.job[0] && !task[0] && !attempt[0])
        return;
    size_t start = self->size;
    add_field(self, json, "node", about.node);
    add_field(self, json, "job", about.job);
    add_field(self, json, "task", task);
    add_field(self, json, "attempt", attempt);
    if (!json) { /* " a=b c=d" -> " [a=b c=d]" */
        memmove(self->text + start + 2, self->text + start + 1, self->size - start - 1);
        self->text[start + 1] = '[';
        self->size++;
        add(self, "]");
    }
}

/* One write a line, so that lines of several threads and processes do not mix. Control
 * characters, which may come from a peer, are shown as '?': no line forges another. */
static void log_line(enum log_level level, const char *name, const char *format,
                     va_list arguments)
{
    if (level < least_level)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    gmtime_r(&now.tv_sec, &utc);

    char stamp[32], text[TEXT_MOST];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    vsnprintf(text, sizeof text, format, arguments);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    struct line line = {.size = 0};
    if (line_format == LOG_JSON) {
        add(&line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":", stamp,
            now.tv_nsec / 1000000, name);
        add_string(&line, program_name);
        add(&line, ",\"text\":");
        add_string(&line, text);
        add_subject(&line, true);
        add(&line, "}");
    } else {
        add(&line, "%s.%03ldZ %s %s: %s", stamp, now.tv_nsec / 1000000, name,
            program_name, text);
        add_subject(&line, false);
    }
    fprintf(stderr, "%s\n", line.text);
}

#define LOG_FUNCTION(function, level, name)                                            \
    void function(const char *format, ...)                                             \
    {                                                                                  \
        va_list arguments;                                                             \
        va_start(arguments, format);                                                   \
        log_line(level, name, format, arguments);                                      \
        va_end(arguments);                                                             \
    }

LOG_FUNCTION(log_debug, LOG_DEBUG_LINE, "debug")
LOG_FUNCTION(log_info, LOG_INFO_LINE, "info")
LOG_FUNCTION(log_warn, LOG_WARN_LINE, "warn")
LOG_FUNCTION(log_error, LOG_ERROR_LINE, "error")
