#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "client/command.h"
#include "client/draft.h"
#include "client/draft_parts.h"
#include "tests/test.h"

/* Makes a draft of the words of a command line. */
static bool make(struct draft *draft, char **words, struct error *error)
{
    struct arguments arguments;
    int argc = 0, used;
    while (words[argc])
        argc++;
    const struct command *command = command_find(argc, words, &used);
    bool ok = arguments_read(&arguments, command, argc, words, error) &&
              draft_make(draft, &arguments, error);
    arguments_clear(&arguments);
    return ok;
}

static void expect_task(const struct draft *draft, uint64_t index, const char *prompt,
                        uint64_t seed, double cfg)
{
    struct task task;
    assert_true(job_expand(draft->job, index, &task, NULL));
    assert_string_equal(task.prompt, prompt);
    assert_int_equal(task.seed, seed);
    assert_true(task.cfg >= cfg && task.cfg <= cfg);
    task_clear(&task);
}

static void a_command_line_becomes_a_job(void **state)
{
    struct draft draft = {0};
    char *words[] = {"render",    "a {red|blue} cat",
                     "--seed",    "0..1",
                     "--axis",    "cfg=1,2",
                     "--axis",    "negative=a\\,b,c",
                     "--label",   "x",
                     "--latents", "--size",
                     "64x64",     NULL};
    assert_true(make(&draft, words, NULL));
    assert_int_equal(draft.tasks, 16);
    assert_true(draft.job->latents);
    expect_task(&draft, 0, "a red cat", 0, 1);
    expect_task(&draft, 15, "a blue cat", 1, 2);
    struct task task;
    assert_true(job_expand(draft.job, 0, &task, NULL));
    assert_string_equal(task.negative, "a,b");
    assert_int_equal(task.width, 64);
    task_clear(&task);
    draft_clear(&draft);
}

static void n_counts_on_from_one_seed(void **state)
{
    struct draft draft = {0};
    struct error error = {0};
    assert_true(
        make(&draft, (char *[]){"render", "x", "--seed", "7", "-n", "3", NULL}, NULL));
    assert_int_equal(draft.tasks, 3);
    expect_task(&draft, 2, "x", 9, 7);
    draft_clear(&draft);
    assert_false(make(
        &draft, (char *[]){"render", "x", "--seed", "7,8", "-n", "3", NULL}, &error));
    assert_non_null(strstr(error.text, "-n counts on from one seed"));
    assert_null(draft.job);
}

static void n_with_comfy_batch_is_one_seed_and_places_in_a_batch(void **state)
{
    struct draft draft = {0};
    struct task task;
    assert_true(make(&draft,
                     (char *[]){"render", "x", "--rng", "comfy-batch", "--seed", "7",
                                "-n", "3", NULL},
                     NULL));
    assert_int_equal(draft.tasks, 3);
    assert_true(job_expand(draft.job, 2, &task, NULL));
    assert_int_equal(task.seed, 7);
    assert_int_equal(task.batch, 3);
    assert_int_equal(task.batch_index, 2);
    task_clear(&task);
    draft_clear(&draft);
}

static void without_a_seed_each_job_draws_its_own(void **state)
{
    struct draft first = {0}, second = {0};
    char *words[] = {"render", "x", "-n", "2", NULL};
    assert_true(make(&first, words, NULL));
    assert_true(make(&second, words, NULL));
    assert_int_equal(first.tasks, 2);
    assert_int_not_equal(first.job->seeds[0]->first, second.job->seeds[0]->first);
    draft_clear(&first);
    draft_clear(&second);
}

/* Calls make with a file of that content in place of FILE. */
static bool make_from(struct draft *draft, const char *content, struct error *error)
{
    char path[] = "/tmp/farm-draft-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_true(path_write(path, content, strlen(content), 0600, NULL));
    bool ok =
        make(draft, (char *[]){"render", "--from", path, "--steps", "9", NULL}, error);
    remove(path);
    return ok;
}

static void a_file_gives_prompts_or_a_whole_job(void **state)
{
    struct draft draft = {0};
    assert_true(make_from(&draft, "a cat\r\n\n  \na dog", NULL));
    assert_int_equal(draft.job->n_prompts, 2);
    draft_clear(&draft);
    assert_true(make_from(&draft,
                          "{\"prompt\": [\"a\", \"b\"], \"seed\": [1, \"5..6\"], "
                          "\"cfg\": 3.5, \"steps\": 4, \"axis\": {\"eta\": [0, 0.5]}, "
                          "\"latents\": true, \"label\": \"j\"}",
                          NULL));
    assert_int_equal(draft.tasks, 12);
    expect_task(&draft, 11, "b", 6, 3.5);
    struct task task;
    assert_true(job_expand(draft.job, 0, &task, NULL));
    assert_int_equal(task.steps, 9);
    task_clear(&task);
    draft_clear(&draft);
}

static void broken_files_are_refused_in_a_sentence(void **state)
{
    static const char *const bad[][2] = {
        {"{\"prompt\": ", "line 1"},
        {"{\"prompt\": \"x\", \"stepz\": 4}", "no option \"stepz\""},
        {"{\"prompt\": \"x\", \"cfg\": [1]}", "must be a text or a number"},
        {"{\"prompt\": {}}", "\"prompt\" must be a text"},
        {"{\"prompt\": \"x\", \"axis\": 3}", "\"axis\" must be an object"},
        {"{\"prompt\": \"x\", \"axis\": {\"cfg\": []}}", "axis cfg: has no values"},
        {"{\"prompt\": \"x\", \"latents\": 1}", "must be true or false"},
        {"{\"prompt\": \"x\", \"seed\": \"y\"}", "seed: \"y\""},
        {"{\"prompt\": \"x\", \"prompt\": \"y\"}", "line 1"},
        {"", "there is no prompt"},
        {"\xff\xfe\n", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct draft draft = {0};
        struct error error = {0};
        assert_false(make_from(&draft, bad[i][0], &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        if (!strstr(error.text, bad[i][1]))
            fail_msg("%s says: %s", bad[i][0], error.text);
    }
}

static void four_words_that_look_like_one_prompt_ask_for_quotes(void **state)
{
    struct draft draft = {0};
    struct error error = {0};
    assert_false(
        make(&draft, (char *[]){"render", "a", "red", "cat", "runs", NULL}, &error));
    assert_non_null(strstr(error.text, "put quotes"));
    assert_true(make(&draft, (char *[]){"render", "a", "red", "cat", NULL}, NULL));
    draft_clear(&draft);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_line_becomes_a_job),
        cmocka_unit_test(n_counts_on_from_one_seed),
        cmocka_unit_test(n_with_comfy_batch_is_one_seed_and_places_in_a_batch),
        cmocka_unit_test(without_a_seed_each_job_draws_its_own),
        cmocka_unit_test(a_file_gives_prompts_or_a_whole_job),
        cmocka_unit_test(broken_files_are_refused_in_a_sentence),
        cmocka_unit_test(four_words_that_look_like_one_prompt_ask_for_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
