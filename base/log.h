/* Log lines on stderr, as text or as one JSON object a line:
 *
 *     2026-03-01T12:00:00.123Z info coordinator: text [node=iris job=5f0c.. task=3]
 *     {"time":"2026-...","level":"info","program":"coordinator","text":"...","node":"iris"}
 */
#ifndef FARM_LOG_H
#define FARM_LOG_H

#include <stdint.h>

enum log_level { LOG_DEBUG_LINE, LOG_INFO_LINE, LOG_WARN_LINE, LOG_ERROR_LINE };
enum log_format { LOG_TEXT, LOG_JSON };

/* `program` is borrowed for the life of the process and stands in each line. Lines below
 * `least` are dropped. Before the first call: "farm", info, text. */
void log_open(const char *program, enum log_level least, enum log_format format);

/* What the lines of this thread are about, until it says otherwise: fields that are empty
 * (task: below 0) are left out. Copied; NULL: nothing. */
struct log_subject {
    char node[64], job[33];
    int64_t task;
    uint64_t epoch, attempt; /* of an attempt; 0: none */
};
void log_about(const struct log_subject *subject);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
