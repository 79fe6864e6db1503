#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static const char *program_name = "farm";
static enum log_level least_level = LOG_INFO_LINE;

void log_open(const char *program, enum log_level least)
{
    program_name = program;
    least_level = least;
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

    char stamp[32], text[1500];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    vsnprintf(text, sizeof text, format, arguments);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    fprintf(stderr, "%s.%03ldZ %s %s: %s\n", stamp, now.tv_nsec / 1000000, name,
            program_name, text);
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
