#include "client/print.h"

#include <libsmartcols.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/path.h"
#include "client/kitty.h"

struct table {
    struct libscols_table *table;
    size_t columns;
};

struct table *table_new(const char *const *columns)
{
    struct table *self = calloc(1, sizeof *self);
    self->table = scols_new_table();
    for (; columns[self->columns]; self->columns++)
        scols_table_new_column(self->table, columns[self->columns], 0, 0);
    return self;
}

void table_row(struct table *self, const char *const *texts)
{
    struct libscols_line *line = scols_table_new_line(self->table, NULL);
    for (size_t i = 0; i < self->columns; i++)
        scols_line_set_data(line, i, texts[i]);
}

void table_cut(struct table *self, size_t column)
{
    scols_column_set_flags(scols_table_get_column(self->table, column), SCOLS_FL_TRUNC);
}

void table_print(struct table **self)
{
    scols_print_table((*self)->table);
    scols_unref_table((*self)->table);
    free(*self);
    *self = NULL;
}

static void dump(json_t *value, size_t flags)
{
    json_dumpf(value, stdout, flags | JSON_REAL_PRECISION(9));
    putchar('\n');
    fflush(stdout);
    json_decref(value);
}

void print_json_line(json_t *value)
{
    dump(value, JSON_COMPACT);
}

void print_json(json_t *value)
{
    dump(value, JSON_INDENT(2));
}

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    progress_end();
    fputs("farmctl: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

enum { PICTURE_LINES = 10 };

static size_t lines_drawn;
static struct buffer picture; /* what puts it on the terminal */
static bool picture_shown;    /* it is there, and needs only to be moved */

bool progress_possible(void)
{
    const char *terminal = getenv("TERM");
    return isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb");
}

static int terminal_width(int file)
{
    struct winsize size;
    return ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

size_t print_rows(void)
{
    struct winsize size;
    bool known = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    return known ? size.ws_row : 0;
}

/* Writes as much of the text as `width` columns hold. */
static void put_cut(FILE *into, const char *text, int width)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text;
    utf8proc_int32_t point;
    for (utf8proc_ssize_t used; *at; at += used) {
        used = utf8proc_iterate(at, -1, &point);
        bool steers = used > 0 && (point < ' ' || (point >= 127 && point < 160));
        if (used <= 0 || (width -= steers ? 1 : utf8proc_charwidth(point)) < 0)
            break;
        if (steers)
            fputc('?', into);
        else
            fwrite(at, 1, (size_t)used, into);
    }
}

void print_line(const char *text)
{
    put_cut(stdout, text,
            isatty(STDOUT_FILENO) ? terminal_width(STDOUT_FILENO) : INT_MAX);
    putchar('\n');
}

/* Below the lines, on lines of its own. */
static void draw_picture(void)
{
    struct buffer moved = {0};
    if (!picture.size)
        return;
    kitty_move(PICTURE_LINES, &moved);
    for (int i = 0; i < PICTURE_LINES; i++)
        fputc('\n', stderr);
    fprintf(stderr, "\x1b[%dA%s\x1b[%dB", PICTURE_LINES,
            buffer_text(picture_shown ? &moved : &picture), PICTURE_LINES);
    picture_shown = true;
    lines_drawn += PICTURE_LINES;
    buffer_clear(&moved);
}

void progress_draw(char *const *lines, size_t count)
{
    int width = terminal_width(STDERR_FILENO) - 1;
    if (lines_drawn)
        fprintf(stderr, "\x1b[%zuA", lines_drawn);
    for (size_t i = 0; i < count; i++) {
        put_cut(stderr, lines[i], width);
        fputs("\x1b[K\n", stderr);
    }
    fputs("\x1b[J", stderr);
    lines_drawn = count;
    draw_picture();
    fflush(stderr);
}

void progress_picture(const void *png, size_t size)
{
    if (!progress_possible() || !kitty_is_there())
        return;
    buffer_clear(&picture);
    kitty_put(png, size, PICTURE_LINES, &picture);
    picture_shown = false;
}

void progress_bytes(const char *what, uint64_t done, uint64_t of)
{
    if (!progress_possible())
        return;
    char *line = path_format("%s %.1f of %.1f MiB", what, (double)done / 1048576,
                             (double)of / 1048576);
    progress_draw(&line, 1);
    free(line);
}

void progress_end(void)
{
    struct buffer gone = {0};
    if (lines_drawn)
        fprintf(stderr, "\x1b[%zuA\x1b[J", lines_drawn);
    if (picture.size) {
        kitty_remove(&gone);
        fputs(buffer_text(&gone), stderr);
        buffer_clear(&gone);
        buffer_clear(&picture);
    }
    fflush(stderr);
    lines_drawn = 0;
}

char *format_seconds(double seconds)
{
    uint64_t whole = seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds + 0.5) : 0;
    unsigned hours = (unsigned)(whole / 3600), minutes = (unsigned)(whole / 60 % 60);
    unsigned rest = (unsigned)(whole % 60);
    return hours ? path_format("%u:%02u:%02u", hours, minutes, rest)
                 : path_format("%u:%02u", minutes, rest);
}

char *format_age(int64_t seconds)
{
    if (seconds < 60)
        return path_format("%d s", seconds < 0 ? 0 : (int)seconds);
    if (seconds < 3600)
        return path_format("%d min", (int)(seconds / 60));
    if (seconds < 86400)
        return path_format("%d h", (int)(seconds / 3600));
    return path_format("%d d",
                       (int)(seconds / 86400 < 100000 ? seconds / 86400 : 99999));
}
