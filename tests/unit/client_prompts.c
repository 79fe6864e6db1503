/* What prompts refer to on the client's machine. */
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "client/draft_parts.h"
#include "proto/wire.h"
#include "tests/folder.h"

static void put(const char *name, const char *text)
{
    char *path = path_format("%s/%s", folder, name);
    assert_true(path_write(path, text, strlen(text), 0600, NULL));
    free(path);
}

static int set_up(void **state)
{
    if (make_folder(state))
        return -1;
    char *inner = path_format("%s/sub", folder);
    bool ok = path_make_folders(inner, 0700, NULL);
    free(inner);
    setenv("CLFARM_WILDCARDS", folder, 1);
    setenv("CLFARM_LORAS", folder, 1);
    put("colour.txt", "red\n\n# a comment\n  blue \r\nsea|green\n");
    put("sub/one.txt", "alone\n");
    put("nested.txt", "__colour__\n");
    put("empty.txt", "# nothing\n");
    put("style.safetensors", "");
    return ok ? 0 : -1;
}

static Farm__Job *job_of(const char *prompt)
{
    Farm__Job *job = malloc(sizeof *job);
    assert_non_null(job);
    farm__job__init(job);
    draft_add_prompt(job, prompt);
    return job;
}

static void expect(const char *prompt, const char *want)
{
    Farm__Job *job = job_of(prompt);
    struct error error = {0};
    if (!draft_wildcards(job, &error))
        fail_msg("%s", error.text);
    char *text = wire_string(job->prompts[0]);
    assert_string_equal(text, want);
    free(text);
    farm__job__free_unpacked(job, NULL);
}

static void wildcards_become_alternatives(void **state)
{
    expect("a __colour__ cat", "a {red|blue|sea\\|green} cat");
    expect("__sub/one____colour__", "alone{red|blue|sea\\|green}");
    expect("snake_case __ and ____ stay", "snake_case __ and ____ stay");
}

static void expect_refused(const char *prompt, const char *why)
{
    Farm__Job *job = job_of(prompt);
    struct error error = {0};
    assert_false(draft_wildcards(job, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, why));
    farm__job__free_unpacked(job, NULL);
}

static void a_wildcard_without_lines_is_an_error(void **state)
{
    expect_refused("__nowhere__", "nowhere.txt; the setting `wildcards`");
    expect_refused("__empty__", "there is no line in it");
    expect_refused("__nested__", "a wildcard within a wildcard's file");
}

static void plain_prompts_have_no_wildcards(void **state)
{
    Farm__Job *job = job_of("a __colour__ <lora:nowhere>");
    draft_set(job, "syntax", "plain");
    assert_true(draft_wildcards(job, NULL));
    assert_true(draft_tags(job, NULL));
    char *text = wire_string(job->prompts[0]);
    assert_string_equal(text, "a __colour__ <lora:nowhere>");
    free(text);
    farm__job__free_unpacked(job, NULL);
}

static void tags_bring_files_with_weight_0(void **state)
{
    Farm__Job *job = job_of("a <lora:style:0.5> cat <lora:other:1>");
    struct error error = {0};
    draft_set(job, "lora", "/x/other.safetensors:0.3");
    assert_true(draft_tags(job, &error));
    char *value = wire_string(job->settings[0]->value);
    char *want = path_format("/x/other.safetensors:0.3;%s/style.safetensors:0", folder);
    assert_string_equal(value, want);
    free(want);
    free(value);
    farm__job__free_unpacked(job, NULL);
    job = job_of("<lora:nowhere>");
    assert_false(draft_tags(job, &error));
    assert_non_null(strstr(error.text, "nowhere.safetensors; the setting `loras`"));
    farm__job__free_unpacked(job, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wildcards_become_alternatives),
        cmocka_unit_test(a_wildcard_without_lines_is_an_error),
        cmocka_unit_test(plain_prompts_have_no_wildcards),
        cmocka_unit_test(tags_bring_files_with_weight_0),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
