/* Log lines on stderr: "2026-03-01T12:00:00.123Z info coordinator: text". */
#ifndef FARM_LOG_H
#define FARM_LOG_H

enum log_level { LOG_DEBUG_LINE, LOG_INFO_LINE, LOG_WARN_LINE, LOG_ERROR_LINE };

/* `program` is borrowed for the life of the process and stands in each line. Lines below
 * `least` are dropped. Before the first call: "farm", info. */
void log_open(const char *program, enum log_level least);

void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
