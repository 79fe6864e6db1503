/* Every task is expanded and its varying options are read as text. A column is a value of
 * x; a row is one combination of the values of all other varying options, y's first; both
 * in the order they first appear, rows sorted by their value of y.
 */
#include "client/grid.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"

enum { TASKS_MOST = 20000 };

/* Distinct texts, in order of appearance. */
struct words {
    char **word;
    size_t count;
};

static size_t words_find(struct words *self, const char *word)
{
    for (size_t i = 0; i < self->count; i++)
        if (!strcmp(self->word[i], word))
            return i;
    self->word = realloc(self->word, (self->count + 1) * sizeof *self->word);
    if (!self->word)
        abort();
    self->word[self->count] = path_format("%s", word);
    return self->count++;
}

static void words_clear(struct words *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->word[i]);
    free(self->word);
    *self = (struct words){0};
}

/* Which options take more than one value over the tasks. */
static void find_varying(const struct task *task, size_t count,
                         bool varies[OPTION_COUNT_ALL])
{
    for (const struct option *option = options; option->name; option++) {
        char *first = task_get(&task[0], option);
        bool *found = &varies[option - options];
        for (size_t i = 1; i < count && !*found; i++) {
            char *value = task_get(&task[i], option);
            *found = strcmp(value, first) != 0;
            free(value);
        }
        free(first);
    }
}

static bool choose(const char *name, const bool varies[OPTION_COUNT_ALL],
                   const struct option **chosen, struct error *error)
{
    if (!name)
        return true;
    *chosen = option_find(name);
    if (!*chosen)
        return error_set_kind(error, ERROR_INPUT, "there is no option \"%.60s\"", name);
    if (!varies[*chosen - options])
        return error_set_kind(
            error, ERROR_INPUT,
            "%s has one value in all of the job: it cannot be an axis "
            "of the sheet",
            name);
    return true;
}

/* The seeds; else the last axis; else the first option that varies; NULL when none does. */
static const struct option *default_x(const Farm__Job *job,
                                      const bool varies[OPTION_COUNT_ALL],
                                      const struct option *y)
{
    const struct option *seed = option_find("seed");
    if (varies[seed - options] && seed != y)
        return seed;
    for (size_t i = job->n_axes; i-- > 0;)
        for (const struct option *option = options; option->name; option++)
            if (strlen(option->name) == job->axes[i]->name.len &&
                !memcmp(option->name, job->axes[i]->name.data,
                        job->axes[i]->name.len) &&
                varies[option - options] && option != y)
                return option;
    for (const struct option *option = options; option->name; option++)
        if (varies[option - options] && option != y && strcmp(option->name, "prompt"))
            return option;
    return NULL;
}

/* "seed 7", "cat face": prompts need no name before them. */
static char *label_of(const struct task *task, const struct option *option)
{
    char *value = task_get(task, option);
    if (!strcmp(option->name, "prompt"))
        return value;
    char *label = path_format("%s %s", option->name, *value ? value : "(empty)");
    free(value);
    return label;
}

/* Adds a line to the label. */
static void add_line(char **label, char *line)
{
    char *both = path_format("%s%s%s", *label, **label ? "\n" : "", line);
    free(*label);
    free(line);
    *label = both;
}

static char *row_label(const struct task *task, const bool varies[OPTION_COUNT_ALL],
                       const struct option *x, const struct option *y)
{
    char *label = path_format("%s", "");
    if (y)
        add_line(&label, label_of(task, y));
    const struct option *prompt = option_find("prompt");
    if (varies[prompt - options] && prompt != x && prompt != y)
        add_line(&label, label_of(task, prompt));
    for (const struct option *option = options; option->name; option++)
        if (varies[option - options] && option != x && option != y && option != prompt)
            add_line(&label, label_of(task, option));
    return label;
}

/* Rows keep their order of appearance among those of one value of y. */
static void sort_rows(struct grid *self, struct words *rows, const size_t *y_of_row,
                      size_t y_count)
{
    uint64_t *task = malloc(self->rows * self->columns * sizeof *task);
    self->row = calloc(self->rows + 1, sizeof *self->row);
    if (!task || !self->row)
        abort();
    size_t at = 0;
    for (size_t y = 0; y < y_count; y++)
        for (size_t r = 0; r < self->rows; r++)
            if (y_of_row[r] == y) {
                memcpy(task + at * self->columns, self->task + r * self->columns,
                       self->columns * sizeof *task);
                self->row[at++] = rows->word[r];
            }
    free(self->task);
    self->task = task;
    free(rows->word); /* its texts are the labels now */
}

/* Finds rows and columns first, since the sheet's width is known only then. */
static void lay_out(struct grid *self, const struct task *task, size_t count,
                    const bool varies[OPTION_COUNT_ALL], const struct option *x,
                    const struct option *y)
{
    struct words columns = {0}, rows = {0}, ys = {0};
    size_t *row = calloc(count, sizeof *row), *column = calloc(count, sizeof *column);
    size_t *y_of_row = calloc(count, sizeof *y_of_row);
    if (!row || !column || !y_of_row)
        abort();
    for (size_t i = 0; i < count; i++) {
        char *x_label = x ? label_of(&task[i], x) : path_format("%s", "");
        char *y_label = y ? label_of(&task[i], y) : path_format("%s", "");
        char *label = row_label(&task[i], varies, x, y);
        column[i] = words_find(&columns, x_label);
        row[i] = words_find(&rows, label);
        y_of_row[row[i]] = words_find(&ys, y_label);
        free(label);
        free(y_label);
        free(x_label);
    }
    self->rows = rows.count;
    self->columns = columns.count;
    self->column = columns.word;
    self->task = malloc(rows.count * columns.count * sizeof *self->task);
    if (!self->task)
        abort();
    for (size_t i = 0; i < rows.count * columns.count; i++)
        self->task[i] = GRID_NONE;
    for (size_t i = 0; i < count; i++)
        self->task[row[i] * self->columns + column[i]] = i;
    sort_rows(self, &rows, y_of_row, ys.count);
    words_clear(&ys);
    free(y_of_row);
    free(column);
    free(row);
}

bool grid_make(struct grid *self, const Farm__Job *job, uint64_t tasks, const char *x,
               const char *y, struct error *error)
{
    *self = (struct grid){0};
    if (tasks > TASKS_MOST)
        return error_set_kind(error, ERROR_INPUT,
                              "the job has more than %d images, too many for a sheet",
                              TASKS_MOST);
    struct task *task = calloc(tasks, sizeof *task);
    bool varies[OPTION_COUNT_ALL] = {false}, ok = task != NULL;
    for (size_t i = 0; ok && i < tasks; i++)
        ok = job_expand(job, i, &task[i], error);
    const struct option *columns = NULL, *rows = NULL;
    if (ok) {
        find_varying(task, tasks, varies);
        ok = choose(x, varies, &columns, error) && choose(y, varies, &rows, error);
    }
    if (ok && columns && columns == rows)
        ok = error_set_kind(error, ERROR_INPUT, "--x and --y are the same axis, %s", x);
    if (ok && !columns)
        columns = default_x(job, varies, rows);
    if (ok)
        lay_out(self, task, tasks, varies, columns, rows);
    for (size_t i = 0; task && i < tasks; i++)
        task_clear(&task[i]);
    free(task);
    return ok;
}

void grid_clear(struct grid *self)
{
    for (size_t i = 0; i < self->rows; i++)
        free(self->row[i]);
    for (size_t i = 0; i < self->columns; i++)
        free(self->column[i]);
    free(self->row);
    free(self->column);
    free(self->task);
    *self = (struct grid){0};
}
