#include <stdlib.h>
#include <string.h>

#include "client/draft_parts.h"
#include "client/grid.h"
#include "client/sheet.h"
#include "tests/test.h"

/* 2 cfg x 2 prompts x 3 seeds. */
static Farm__Job *make_job(void)
{
    Farm__Job *job = malloc(sizeof *job);
    farm__job__init(job);
    draft_add_prompt(job, "cat");
    draft_add_prompt(job, "dog");
    assert_true(draft_add_axis(job, "cfg=4,7", NULL));
    assert_true(seeds_parse("1..3", &job->seeds, &job->n_seeds, NULL));
    return job;
}

static void seeds_are_columns_and_the_rest_is_rows(void **state)
{
    Farm__Job *job = make_job();
    struct grid grid;
    assert_true(grid_make(&grid, job, 12, NULL, NULL, NULL));
    assert_int_equal(grid.columns, 3);
    assert_int_equal(grid.rows, 4);
    assert_string_equal(grid.column[2], "seed 3");
    assert_string_equal(grid.row[0], "cat\ncfg 4");
    assert_string_equal(grid.row[3], "dog\ncfg 7");
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(grid.task[i], i);
    grid_clear(&grid);
    farm__job__free_unpacked(job, NULL);
}

static void chosen_axes_sort_rows_by_y_first(void **state)
{
    Farm__Job *job = make_job();
    struct grid grid;
    assert_true(grid_make(&grid, job, 12, "cfg", "prompt", NULL));
    assert_int_equal(grid.columns, 2);
    assert_int_equal(grid.rows, 6);
    assert_string_equal(grid.row[0], "cat\nseed 1");
    assert_string_equal(grid.row[3], "dog\nseed 1");
    assert_int_equal(grid.task[3 * 2 + 1], 9); /* dog, seed 1, cfg 7 */
    grid_clear(&grid);
    farm__job__free_unpacked(job, NULL);
}

static void axes_that_do_not_vary_are_refused(void **state)
{
    Farm__Job *job = make_job();
    struct grid grid;
    struct error error = {0};
    assert_false(grid_make(&grid, job, 12, "steps", NULL, &error));
    assert_non_null(strstr(error.text, "steps has one value"));
    grid_clear(&grid);
    assert_false(grid_make(&grid, job, 12, "cfg", "cfg", &error));
    assert_non_null(strstr(error.text, "same axis"));
    grid_clear(&grid);
    assert_false(grid_make(&grid, job, 12, "bogus", NULL, &error));
    grid_clear(&grid);
    assert_false(grid_make(&grid, job, 20001, NULL, NULL, &error));
    grid_clear(&grid);
    farm__job__free_unpacked(job, NULL);
}

static void one_task_is_a_grid_of_one(void **state)
{
    Farm__Job *job = malloc(sizeof *job);
    struct grid grid;
    farm__job__init(job);
    draft_add_prompt(job, "cat");
    assert_true(seeds_parse("1", &job->seeds, &job->n_seeds, NULL));
    assert_true(grid_make(&grid, job, 1, NULL, NULL, NULL));
    assert_int_equal(grid.rows * grid.columns, 1);
    assert_string_equal(grid.row[0], "");
    grid_clear(&grid);
    farm__job__free_unpacked(job, NULL);
}

static bool has_pixel(const struct picture *picture, uint8_t r, uint8_t g, uint8_t b,
                      size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < picture->width * picture->height; i++)
        *count += picture->rgb[i * 3] == r && picture->rgb[i * 3 + 1] == g &&
                  picture->rgb[i * 3 + 2] == b;
    return *count > 0;
}

static void
small_pictures_are_enlarged_by_whole_pixels_beside_their_labels(void **state)
{
    uint8_t red[64 * 64 * 3];
    for (size_t i = 0; i < sizeof red; i++)
        red[i] = i % 3 ? 0 : 200;
    const struct picture cells[2] = {{64, 64, red}, {0}};
    char *rows[] = {"a row"}, *columns[] = {"one", "two"};
    struct sheet sheet = {"title", rows, columns, 1, 2, cells};
    struct picture drawn;
    size_t count;
    assert_true(sheet_draw(&sheet, &drawn, NULL));
    assert_true(has_pixel(&drawn, 200, 0, 0, &count));
    assert_int_equal(count, 128 * 128);
    assert_true(has_pixel(&drawn, 230, 230, 230, &count)); /* the gap */
    assert_true(has_pixel(&drawn, 26, 26, 26, &count));    /* text */
    picture_clear(&drawn);
}

static void a_sheet_of_no_pictures_or_too_many_is_refused(void **state)
{
    const struct picture cells[1] = {{0}};
    char *labels[] = {""};
    struct sheet sheet = {"title", labels, labels, 1, 1, cells};
    struct picture drawn;
    struct error error = {0};
    assert_false(sheet_draw(&sheet, &drawn, &error));
    assert_non_null(strstr(error.text, "no picture of the job is done"));
    enum { MANY = 3000 };
    struct picture *many = calloc(MANY, sizeof *many);
    uint8_t dot[3] = {0};
    many[0] = (struct picture){1, 1, dot};
    sheet = (struct sheet){"title", labels, labels, MANY, 1, many};
    assert_false(sheet_draw(&sheet, &drawn, &error));
    assert_non_null(strstr(error.text, "3000 rows and 1 columns do not fit"));
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_are_columns_and_the_rest_is_rows),
        cmocka_unit_test(chosen_axes_sort_rows_by_y_first),
        cmocka_unit_test(axes_that_do_not_vary_are_refused),
        cmocka_unit_test(one_task_is_a_grid_of_one),
        cmocka_unit_test(
            small_pictures_are_enlarged_by_whole_pixels_beside_their_labels),
        cmocka_unit_test(a_sheet_of_no_pictures_or_too_many_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
