/* What people and programs see: tables, JSON, and on a terminal a few lines that change. */
#ifndef FARM_PRINT_H
#define FARM_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A table on stdout, columns as wide as their texts. Texts are copied; what could steer a
 * terminal is made visible. Printing frees the table. */
struct table;
struct table *table_new(const char *const *columns);
void table_row(struct table *self, const char *const *texts);
void table_print(struct table **self);

/* Where stdout is a terminal, the table's column is cut so that lines fit. */
void table_cut(struct table *self, size_t column);

/* Rows of the terminal that stdout is; 0: it is none. */
size_t print_rows(void);

/* The text as a line on stdout, cut where that is a terminal; what could steer one is made
 * visible. */
void print_line(const char *text);

/* One line of JSON on stdout; the value is taken. Or, for documents, indented. */
void print_json_line(json_t *value);
void print_json(json_t *value);

/* A sentence on stderr, behind "farmctl: ". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether stderr is a terminal that lines can be redrawn on; the width of it. */
bool progress_possible(void);

/* Replaces the lines drawn before by these (count x text without newlines). */
void progress_draw(char *const *lines, size_t count);

/* Under the lines that are drawn from now on there is this PNG file, where the terminal shows
 * pictures (kitty.h). */
void progress_picture(const void *png, size_t size);

/* "uploading 12.0 of 48.3 MiB" as the only line, on terminals. */
void progress_bytes(const char *what, uint64_t done, uint64_t of);

/* Takes the lines away: what follows is printed where they stood. */
void progress_end(void);

/* "1:05", "2:03:00"; heap. "now" style ages: "5 s", "3 min", "2 h", "4 d"; heap. */
char *format_seconds(double seconds);
char *format_age(int64_t seconds);

#endif
