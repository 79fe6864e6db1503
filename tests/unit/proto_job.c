#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/job/alternatives.h"
#include "proto/job/expansion.h"
#include "tests/test.h"

/* Jobs in tests stand on the stack, from literals. */
static ProtobufCBinaryData text(const char *literal)
{
    return (ProtobufCBinaryData){strlen(literal), (uint8_t *)literal};
}

enum { MOST = 20 };

struct made {
    Farm__Job job;
    ProtobufCBinaryData prompt[MOST], value[MOST][MOST];
    Farm__SeedRange seed[MOST], *seed_list[MOST];
    Farm__Setting setting[MOST], *setting_list[MOST];
    Farm__Axis axis[MOST], *axis_list[MOST];
};

static void start(struct made *made)
{
    memset(made, 0, sizeof *made);
    farm__job__init(&made->job);
    made->job.prompts = made->prompt;
    made->job.seeds = made->seed_list;
    made->job.settings = made->setting_list;
    made->job.axes = made->axis_list;
}

static void add_prompt(struct made *made, const char *prompt)
{
    made->prompt[made->job.n_prompts++] = text(prompt);
}

static void add_seeds(struct made *made, uint64_t first, uint64_t count)
{
    Farm__SeedRange *seed = &made->seed[made->job.n_seeds];
    farm__seed_range__init(seed);
    seed->first = first;
    seed->count = count;
    made->seed_list[made->job.n_seeds++] = seed;
}

static void add_setting(struct made *made, const char *name, const char *value)
{
    Farm__Setting *setting = &made->setting[made->job.n_settings];
    farm__setting__init(setting);
    setting->name = text(name);
    setting->value = text(value);
    made->setting_list[made->job.n_settings++] = setting;
}

static void add_axis(struct made *made, const char *name, const char *first,
                     const char *second)
{
    size_t at = made->job.n_axes++;
    Farm__Axis *axis = &made->axis[at];
    farm__axis__init(axis);
    axis->name = text(name);
    axis->values = made->value[at];
    if (first)
        axis->values[axis->n_values++] = text(first);
    if (second)
        axis->values[axis->n_values++] = text(second);
    made->axis_list[at] = axis;
}

static void axes_go_slowest_then_prompts_then_alternatives_then_seeds(void **state)
{
    struct made made;
    start(&made);
    add_prompt(&made, "a {red|blue} {cat|dog}");
    add_prompt(&made, "plain {word}");
    add_seeds(&made, 3, 1);
    add_seeds(&made, 10, 2);
    add_axis(&made, "cfg", "1", "2");
    add_axis(&made, "steps", "5", "6");
    add_setting(&made, "sampler", "plms");
    static const char *const prompts[] = {"a red cat", "a red dog", "a blue cat",
                                          "a blue dog", "plain {word}"};
    static const uint64_t seeds[] = {3, 10, 11};
    uint64_t tasks = 0, index = 0;
    assert_true(job_check(&made.job, &tasks, NULL));
    assert_int_equal(tasks, 2 * 2 * 5 * 3);
    for (int cfg = 1; cfg <= 2; cfg++)
        for (uint64_t steps = 5; steps <= 6; steps++)
            for (size_t p = 0; p < 5; p++)
                for (size_t s = 0; s < 3; s++) {
                    struct task task;
                    assert_true(job_expand(&made.job, index++, &task, NULL));
                    assert_true(task.cfg == cfg);
                    assert_int_equal(task.steps, steps);
                    assert_string_equal(task.prompt, prompts[p]);
                    assert_int_equal(task.seed, seeds[s]);
                    assert_string_equal(task.sampler, "PLMS");
                    task_clear(&task);
                }
    struct task beyond;
    struct error error = {0};
    assert_false(job_expand(&made.job, index, &beyond, &error));
    assert_string_equal(error.text, "the job has no task 60");
    task_clear(&beyond);
}

/* The tasks of one expansion in another order than theirs, against each alone. */
static void a_task_is_the_same_whichever_was_expanded_before(void **state)
{
    struct made made;
    start(&made);
    add_prompt(&made, "a {red|blue} cat");
    add_prompt(&made, "dog");
    add_seeds(&made, 3, 1);
    add_seeds(&made, 10, 2);
    add_axis(&made, "cfg", "1", "2");
    add_axis(&made, "sampler", "DPM++ 2M Karras", "Euler");
    uint64_t tasks;
    assert_true(job_check(&made.job, &tasks, NULL));
    struct expansion *expansion = expansion_new(&made.job, NULL);
    for (uint64_t i = 0; i < 3 * tasks; i++) {
        uint64_t index = i * 7 % tasks;
        struct task alone;
        uint8_t expected[32], key[32];
        assert_true(job_expand(&made.job, index, &alone, NULL));
        task_key(&alone, NULL, expected);
        task_key(expansion_task(expansion, index, NULL), NULL, key);
        assert_memory_equal(key, expected, 32);
        assert_int_equal(expansion_axes(expansion, index), index / 9);
        task_clear(&alone);
    }
    struct error error = {0};
    assert_null(expansion_task(expansion, tasks, &error));
    assert_string_equal(error.text, "the job has no task 36");
    expansion_destroy(&expansion);
}

static void expect_prompts(const char *prompt, const char *const *expected)
{
    struct made made;
    start(&made);
    add_prompt(&made, prompt);
    add_seeds(&made, 0, 1);
    uint64_t tasks = 0, count = 0;
    assert_true(job_check(&made.job, &tasks, NULL));
    for (; expected[count]; count++) {
        struct task task;
        assert_true(job_expand(&made.job, count, &task, NULL));
        assert_string_equal(task.prompt, expected[count]);
        task_clear(&task);
    }
    assert_int_equal(tasks, count);
}

static void backslashes_take_the_meaning_from_braces_and_bars_only(void **state)
{
    expect_prompts("\\{a|b\\} \\(c\\) \\\\",
                   (const char *[]){"{a|b} \\(c\\) \\\\", NULL});
    expect_prompts("{a\\|b|c\\}}", (const char *[]){"a|b", "c}", NULL});
    expect_prompts("{|very }big", (const char *[]){"big", "very big", NULL});
    expect_prompts("[a|b] } x", (const char *[]){"[a|b] } x", NULL});
    expect_prompts("", (const char *[]){"", NULL});
    expect_prompts("{a|b}{1|2}", (const char *[]){"a1", "a2", "b1", "b2", NULL});
}

static void an_escaped_prompt_stands_for_itself_alone(void **state)
{
    static const char *const prompts[] = {"{a|b}", "\\{a|b\\}", "a \\| b", "\\\\{",
                                          "}{|"};
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        struct buffer escaped = {0};
        assert_true(alternatives_escape(prompts[i], &escaped, NULL));
        expect_prompts(buffer_text(&escaped), (const char *[]){prompts[i], NULL});
        buffer_clear(&escaped);
    }
}

static void an_axis_may_take_the_place_of_prompts_and_seeds(void **state)
{
    struct made made;
    start(&made);
    add_axis(&made, "seed", "5", "7");
    add_axis(&made, "prompt", "{a|b}", "c");
    uint64_t tasks = 0;
    struct task task;
    assert_true(job_check(&made.job, &tasks, NULL));
    assert_int_equal(tasks, 4);
    assert_true(job_expand(&made.job, 2, &task, NULL));
    assert_int_equal(task.seed, 7);
    assert_string_equal(task.prompt, "{a|b}");
    task_clear(&task);
}

static void expect_refused(struct made *made, const char *says)
{
    uint64_t tasks;
    struct error error = {0};
    assert_false(job_check(&made->job, &tasks, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    if (!strstr(error.text, says))
        fail_msg("expected \"%s\", it says \"%s\"", says, error.text);
}

static void start_good(struct made *made)
{
    start(made);
    add_prompt(made, "cat");
    add_seeds(made, 0, 1);
}

static void hostile_jobs_are_refused_with_the_reason(void **state)
{
    struct made made;
    start(&made);
    expect_refused(&made, "prompt: the job has none");
    add_prompt(&made, "cat");
    expect_refused(&made, "seed: the job has none");
    add_seeds(&made, 0, 0);
    expect_refused(&made, "are not a range");

    start_good(&made);
    add_setting(&made, "stepz", "5");
    expect_refused(&made, "no option \"stepz\"");
    start_good(&made);
    add_setting(&made, "steps", "5");
    add_setting(&made, "steps", "6");
    expect_refused(&made, "steps: is given twice");
    start_good(&made);
    add_setting(&made, "steps", "5");
    add_axis(&made, "steps", "5", "6");
    expect_refused(&made, "steps: is given twice");
    start_good(&made);
    add_setting(&made, "seed", "5");
    expect_refused(&made, "seed: stands among the settings");
    start_good(&made);
    add_axis(&made, "seed", "5", NULL);
    expect_refused(&made, "an axis over them");
    start_good(&made);
    add_axis(&made, "prompt", "dog", NULL);
    expect_refused(&made, "an axis over them");
    start_good(&made);
    add_axis(&made, "cfg", NULL, NULL);
    expect_refused(&made, "axis cfg: has no values");
    start_good(&made);
    add_axis(&made, "cfg", "1", "x");
    expect_refused(&made, "axis: cfg: \"x\"");
    start_good(&made);
    made.prompt[0] = text("a\xff");
    expect_refused(&made, "prompt: the text is not UTF-8");
    start_good(&made);
    made.prompt[0] = text("a {b|c");
    expect_refused(&made, "the brace in \"{b|c\" is not closed");
    start_good(&made);
    made.prompt[0] = text("a {b|{c|d}}");
    expect_refused(&made, "is not closed before the next");
    start_good(&made);
    made.job.expansion = 2;
    expect_refused(&made, "expansion order 2");
}

static void counts_that_overflow_or_pass_ten_million_are_refused(void **state)
{
    struct made made;
    uint64_t tasks = 0;
    start(&made);
    add_prompt(&made, "cat");
    add_seeds(&made, 0, JOB_TASKS_MOST);
    assert_true(job_check(&made.job, &tasks, NULL));
    assert_int_equal(tasks, JOB_TASKS_MOST);
    add_seeds(&made, 0, 1);
    expect_refused(&made, "more than 10000000 tasks");

    start(&made);
    add_prompt(&made, "cat");
    add_seeds(&made, 1, UINT64_MAX);
    expect_refused(&made, "more than 10000000 tasks");
    made.seed[0].first = 2;
    expect_refused(&made, "are not a range");
    made.seed[0].first = UINT64_MAX;
    made.seed[0].count = 1;
    assert_true(job_check(&made.job, &tasks, NULL));

    char wide[64 * 5 + 1] = "";
    for (int i = 0; i < 64; i++)
        strcat(wide, "{a|b}"); /* 2^64 */
    start(&made);
    add_prompt(&made, wide);
    add_seeds(&made, 0, 1);
    expect_refused(&made, "alternatives make more than");

    start(&made);
    add_prompt(&made, "{a|b}");
    add_seeds(&made, 0, JOB_TASKS_MOST / 2 + 1);
    expect_refused(&made, "more than 10000000 tasks");
}

static void seeds_are_read_as_the_command_line_gives_them(void **state)
{
    Farm__SeedRange **ranges = NULL;
    size_t count = 0;
    assert_true(seeds_parse("7,0..15,random:3,-1", &ranges, &count, NULL));
    assert_int_equal(count, 6);
    assert_int_equal(ranges[0]->first, 7);
    assert_int_equal(ranges[0]->count, 1);
    assert_int_equal(ranges[1]->count, 16);
    assert_true(ranges[2]->first != ranges[3]->first ||
                ranges[3]->first != ranges[4]->first);
    assert_true(ranges[5]->first <= UINT32_MAX);
    static const char *const bad[] = {"",
                                      "x",
                                      "1..",
                                      "5..4",
                                      "1,,2",
                                      "-2",
                                      "random:",
                                      "random:0",
                                      "0..99999999",
                                      "1.5",
                                      " 1",
                                      "18446744073709551616",
                                      "random:10001"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error error = {0};
        assert_false(seeds_parse(bad[i], &ranges, &count, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_non_null(strstr(error.text, "seed: "));
    }
    for (size_t i = 0; i < count; i++)
        free(ranges[i]);
    free(ranges);
}

static void a_task_survives_the_wire(void **state)
{
    struct made made;
    start_good(&made);
    add_setting(&made, "size", "64x72");
    add_setting(&made, "eta", "0.1");
    struct task task, back;
    Farm__Setting **settings = NULL;
    size_t count = 0;
    uint8_t key[32], key_back[32];
    assert_true(job_expand(&made.job, 0, &task, NULL));
    assert_true(task_pack(&task, &settings, &count));
    assert_int_equal(count, OPTION_COUNT_ALL);
    assert_true(task_unpack(&back, settings, count, NULL));
    task_key(&task, NULL, key);
    task_key(&back, NULL, key_back);
    assert_memory_equal(key, key_back, 32);
    assert_int_equal(back.height, 72);
    settings_destroy(&settings, count);
    task_clear(&task);
    task_clear(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_go_slowest_then_prompts_then_alternatives_then_seeds),
        cmocka_unit_test(a_task_is_the_same_whichever_was_expanded_before),
        cmocka_unit_test(backslashes_take_the_meaning_from_braces_and_bars_only),
        cmocka_unit_test(an_escaped_prompt_stands_for_itself_alone),
        cmocka_unit_test(an_axis_may_take_the_place_of_prompts_and_seeds),
        cmocka_unit_test(hostile_jobs_are_refused_with_the_reason),
        cmocka_unit_test(counts_that_overflow_or_pass_ten_million_are_refused),
        cmocka_unit_test(seeds_are_read_as_the_command_line_gives_them),
        cmocka_unit_test(a_task_survives_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
