#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "client/command.h"
#include "client/grid.h"
#include "client/live.h"
#include "client/model_names.h"
#include "client/print.h"
#include "client/sheet.h"
#include "proto/files/blob.h"

enum { FILE_MOST = 1 << 30 };

/* The label, and behind it every option that was set for the whole job; the id of a model
 * that the farm no longer has tells a reader nothing. */
static char *title_of(const Farm__Job *job, const char *label, uint64_t tasks)
{
    char *title = path_format("%s: %" PRIu64 " images", label, tasks);
    for (size_t i = 0; i < job->n_settings; i++) {
        const Farm__Setting *setting = job->settings[i];
        if (setting->value.len == BLOB_TEXT - 1)
            continue;
        char *more = path_format("%s, %.*s %.*s", title, (int)setting->name.len,
                                 (char *)setting->name.data, (int)setting->value.len,
                                 (char *)setting->value.data);
        free(title);
        title = more;
    }
    return title;
}

/* The pictures that are there; a cell whose task is not done stays empty. */
static bool read_cells(const struct grid *grid, const char *folder,
                       struct picture *cells, struct error *error)
{
    for (size_t i = 0; i < grid->rows * grid->columns; i++) {
        char *path = path_format("%s/%" PRIu64 ".png", folder, grid->task[i]);
        struct buffer file = {0};
        struct error missing = {0};
        bool ok = true;
        if (grid->task[i] == GRID_NONE)
            ok = true;
        else if (path_read(path, FILE_MOST, &file, &missing))
            ok = picture_read_png(file.data, file.size, &cells[i], error) ||
                 error_prefix(error, "task %" PRIu64, grid->task[i]);
        else if (missing.kind != ERROR_NOT_FOUND)
            ok = error_set(error, "%s", missing.text);
        buffer_clear(&file);
        free(path);
        if (!ok)
            return false;
    }
    return true;
}

static bool write_sheet(const struct picture *picture, const char *path,
                        struct error *error)
{
    struct buffer file = {0};
    bool ok = picture_write_png(picture, NULL, 0, &file, error);
    if (ok && !path_write(path, file.data, file.size, path_shared_mode(), error)) {
        error->kind = ERROR_INPUT;
        ok = false;
    }
    buffer_clear(&file);
    return ok;
}

static bool make_sheet(const struct live *live, const Farm__Job *job,
                       const struct arguments *arguments, const char *folder,
                       struct error *error)
{
    uint64_t tasks = live_tasks(live);
    struct grid grid;
    struct picture *cells = NULL, drawn = {0};
    char *title = title_of(job, live_name(live), tasks);
    bool ok = grid_make(&grid, job, tasks, arguments_value(arguments, "x", NULL),
                        arguments_value(arguments, "y", NULL), error);
    size_t count = grid.rows * grid.columns;
    cells = calloc(count + 1, sizeof *cells);
    ok = ok && cells && read_cells(&grid, folder, cells, error) &&
         sheet_draw(&(struct sheet){.title = title,
                                    .row = grid.row,
                                    .column = grid.column,
                                    .rows = grid.rows,
                                    .columns = grid.columns,
                                    .cell = cells},
                    &drawn, error) &&
         write_sheet(&drawn, arguments_value(arguments, "out", NULL), error);
    if (ok && arguments->json)
        print_json(json_pack(
            "{ss sI sI sI sI}", "file", arguments_value(arguments, "out", NULL),
            "width", (json_int_t)drawn.width, "height", (json_int_t)drawn.height,
            "rows", (json_int_t)grid.rows, "columns", (json_int_t)grid.columns));
    for (size_t i = 0; cells && i < count; i++)
        picture_clear(&cells[i]);
    free(cells);
    picture_clear(&drawn);
    grid_clear(&grid);
    free(title);
    return ok;
}

static int run(const struct arguments *arguments, struct error *error)
{
    if (!arguments_has(arguments, "out")) {
        error_set_kind(error, ERROR_INPUT,
                       "-o FILE is missing: where to put the sheet");
        return command_failed(error);
    }
    const char *base = getenv("TMPDIR");
    char *folder = path_format("%s/farmctl-grid-XXXXXX", base && *base ? base : "/tmp");
    struct session *session = NULL;
    struct live *live = NULL;
    Farm__Job *job = NULL;
    bool ok =
        mkdtemp(folder) ||
        error_set_kind(error, ERROR_INPUT,
                       "%s: cannot be made; set TMPDIR to a folder that can be written",
                       folder);
    if (ok) {
        struct live_options all = {.folder = folder,
                                   .template = "{index}",
                                   .only_pictures = true,
                                   .only_present = true};
        session = session_open(arguments, error);
        live = session ? live_new(session, arguments->rest[0], &all, error) : NULL;
        ok = live && live_run(live, error) &&
             (job = model_names_in(live_specification(live), session, error)) &&
             make_sheet(live, job, arguments, folder, error);
        if (job)
            farm__job__free_unpacked(job, NULL);
        live_destroy(&live);
        session_close(&session);
        path_remove_tree(folder);
    }
    free(folder);
    return ok ? EXIT_DONE : command_failed(error);
}

static const struct flag flags[] = {
    {"x", 0, "AXIS", "what the columns go over; default the seeds"},
    {"y", 0, "AXIS", "what the rows go over first"},
    {"out", 'o', "FILE", "the PNG file to write"},
    {NULL, 0, NULL, NULL},
};

extern const struct command cmd_grid;
const struct command cmd_grid = {
    .name = "grid",
    .usage = "JOB [--x AXIS] [--y AXIS] -o FILE",
    .help = "draw a contact sheet of a job with labelled rows and columns",
    .flags = flags,
    .least = 1,
    .most = 1,
    .run = run,
};
