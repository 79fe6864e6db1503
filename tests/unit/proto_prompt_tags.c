#include <stdlib.h>
#include <string.h>

#include "proto/job/prompt_tags.h"
#include "tests/test.h"

static void tags_are_found_and_cut_out(void **state)
{
    const char *prompt = "a <lora:cat-style:0.8>cat <b> <lora:x y:-1> 1<2 <lora:z>";
    static const struct {
        const char *name;
        double weight;
    } want[] = {{"cat-style", 0.8}, {"x y", -1}, {"z", 1}};
    struct prompt_tag tag = {.end = prompt};
    for (size_t i = 0; i < 3; i++) {
        assert_true(prompt_tag_next(tag.end, strlen(tag.end), &tag, NULL));
        assert_non_null(tag.start);
        assert_int_equal(tag.name_size, strlen(want[i].name));
        assert_memory_equal(tag.name, want[i].name, tag.name_size);
        assert_float_equal(tag.weight, want[i].weight, 0);
    }
    assert_true(prompt_tag_next(tag.end, strlen(tag.end), &tag, NULL));
    assert_null(tag.start);
    char *cut = prompt_tags_cut(prompt);
    assert_string_equal(cut, "a cat <b>  1<2 ");
    free(cut);
}

static void what_is_no_tag_stays_text(void **state)
{
    static const char *const texts[] = {"",        "<",         "<>",
                                        "<lora>",  "<lora:",    "<lora:>",
                                        "a < b:c", "< lora:x>", "<lora x:y>"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct prompt_tag tag;
        assert_true(prompt_tag_next(texts[i], strlen(texts[i]), &tag, NULL));
        assert_null(tag.start);
        char *cut = prompt_tags_cut(texts[i]);
        assert_string_equal(cut, texts[i]);
        free(cut);
    }
}

static void a_wrong_tag_is_an_error(void **state)
{
    static const char *const texts[] = {
        "<lora:x:y>",   "<lora:x:>",      "<lora::1>",    "<lora:x:1000>",
        "<lora:a/b:1>", "<hypernet:x:1>", "<lora:x:1:2>", "<lora:x:nan>",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct prompt_tag tag;
        struct error error = {0};
        assert_false(prompt_tag_next(texts[i], strlen(texts[i]), &tag, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_non_null(strstr(error.text, texts[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_found_and_cut_out),
        cmocka_unit_test(what_is_no_tag_stays_text),
        cmocka_unit_test(a_wrong_tag_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
