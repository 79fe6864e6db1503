/* Expected readings are those of stable-diffusion-webui and ComfyUI (prompts.json). */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "worker/sd/prompt.h"

enum { STEPS = 10 };

static json_t *golden;

static int load(void **state)
{
    golden = json_load_file(FARM_GOLDEN_DIR "/prompts.json", 0, NULL);
    return json_array_size(golden) > 600 ? 0 : -1;
}

static int unload(void **state)
{
    json_decref(golden);
    return 0;
}

static const char *text_of(const json_t *test)
{
    return json_string_value(json_object_get(test, "text"));
}

/* The i-th pair of a text and a number, in either order. */
static void check_pair(const json_t *test, const char *list, size_t i, const char *text,
                       double number)
{
    const json_t *pair = json_array_get(json_object_get(test, list), i);
    const json_t *first = json_array_get(pair, 0), *second = json_array_get(pair, 1);
    const json_t *words = json_is_string(first) ? first : second;
    double expected = json_number_value(words == first ? second : first);
    if (!pair || strcmp(json_string_value(words), text) != 0 ||
        fabs(number - expected) > 1e-12 * fabs(expected))
        fail_msg("\"%s\": %s %zu is \"%s\" %.17g, expected \"%s\" %.17g", text_of(test),
                 list, i, text, number, pair ? json_string_value(words) : "none",
                 expected);
}

static void check_count(const json_t *test, const char *list, size_t count)
{
    size_t expected = json_array_size(json_object_get(test, list));
    if (count != expected)
        fail_msg("\"%s\": %zu %s, expected %zu", text_of(test), count, list, expected);
}

static void states_of_edited_prompts_are_a1111s(void **state)
{
    size_t i;
    json_t *test;
    json_array_foreach(golden, i, test)
    {
        struct prompt_schedule schedule;
        const char *text = text_of(test);
        assert_true(
            prompt_schedule_read(&schedule, text, strlen(text), 0, STEPS, NULL));
        check_count(test, "states", schedule.count);
        for (size_t s = 0; s < schedule.count; s++)
            check_pair(test, "states", s, schedule.state[s].text,
                       (double)schedule.state[s].end);
        prompt_schedule_clear(&schedule);
    }
}

static void parts_joined_by_and_are_a1111s(void **state)
{
    size_t i;
    json_t *test;
    json_array_foreach(golden, i, test)
    {
        struct prompt prompt;
        assert_true(
            prompt_read(&prompt, text_of(test), PROMPT_A1111, true, 0, 1, NULL));
        check_count(test, "parts", prompt.count);
        for (size_t p = 0; p < prompt.count; p++) {
            const json_t *part = json_array_get(json_object_get(test, "parts"), p);
            const char *text = json_string_value(json_array_get(part, 0));
            struct prompt_schedule expected;
            assert_true(
                prompt_schedule_read(&expected, text, strlen(text), 0, 1, NULL));
            assert_string_equal(prompt.part[p].schedule.state[0].text,
                                expected.state[0].text);
            assert_float_equal(prompt.part[p].weight,
                               json_number_value(json_array_get(part, 1)), 1e-9);
            prompt_schedule_clear(&expected);
        }
        prompt_clear(&prompt);
    }
}

static void check_runs(const char *list, enum prompt_syntax syntax)
{
    size_t i;
    json_t *test;
    json_array_foreach(golden, i, test)
    {
        struct emphasis emphasis;
        struct error error = {0};
        bool ok = emphasis_read(&emphasis, text_of(test), syntax, &error);
        if (json_is_null(json_object_get(test, list))) {
            assert_false(ok);
            assert_non_null(strstr(error.text, "is not a number"));
            continue;
        }
        assert_true(ok);
        check_count(test, list, emphasis.count);
        for (size_t r = 0; r < emphasis.count; r++)
            check_pair(test, list, r, emphasis.run[r].text, emphasis.run[r].weight);
        emphasis_clear(&emphasis);
    }
}

static void emphasis_is_a1111s(void **state)
{
    check_runs("runs", PROMPT_A1111);
}

static void emphasis_is_comfyuis(void **state)
{
    check_runs("comfy", PROMPT_COMFY);
}

static void plain_text_keeps_its_markup(void **state)
{
    struct prompt prompt;
    struct emphasis emphasis;
    const char *text = "a (b:1.2) AND [c:d:3] BREAK \\( :2";
    assert_true(prompt_read(&prompt, text, PROMPT_PLAIN, true, 0, STEPS, NULL));
    assert_int_equal(prompt.count, 1);
    assert_int_equal(prompt.part[0].schedule.count, 1);
    assert_string_equal(prompt.part[0].schedule.state[0].text, text);
    assert_true(emphasis_read(&emphasis, text, PROMPT_PLAIN, NULL));
    assert_int_equal(emphasis.count, 1);
    assert_string_equal(emphasis.run[0].text, text);
    emphasis_clear(&emphasis);
    prompt_clear(&prompt);
}

static void only_a_word_break_of_its_own_weight_ends_a_chunk(void **state)
{
    struct emphasis emphasis;
    assert_true(emphasis_read(&emphasis, "a BREAK (b BREAK c)", PROMPT_A1111, NULL));
    assert_int_equal(emphasis.count, 6);
    assert_true(emphasis.run[1].ends_chunk);
    assert_string_equal(emphasis.run[4].text, "BREAK");
    assert_false(emphasis.run[4].ends_chunk);
    emphasis_clear(&emphasis);
}

static void negative_prompts_are_not_parted(void **state)
{
    struct prompt prompt;
    assert_true(
        prompt_read(&prompt, "a AND b :2", PROMPT_A1111, false, 0, STEPS, NULL));
    assert_int_equal(prompt.count, 1);
    assert_string_equal(prompt.part[0].schedule.state[0].text, "a AND b :2");
    assert_float_equal(prompt.part[0].weight, 1, 0);
    prompt_clear(&prompt);
}

/* A1111 counts calls from 0 and ends from 1: the first state holds a call longer. */
static void a_state_holds_up_to_the_call_of_its_end(void **state)
{
    struct prompt_schedule schedule;
    assert_true(prompt_schedule_read(&schedule, "[a:b:3]", 7, 0, STEPS, NULL));
    assert_int_equal(prompt_schedule_at(&schedule, 0), 0);
    assert_int_equal(prompt_schedule_at(&schedule, 3), 0);
    assert_int_equal(prompt_schedule_at(&schedule, 4), 1);
    assert_int_equal(prompt_schedule_at(&schedule, 10), 1);
    assert_int_equal(prompt_schedule_at(&schedule, 11), 0);
    prompt_schedule_clear(&schedule);
}

/* The examples that webui's prompt_parser.py gives for a second pass of 10 after 10. */
static void a_second_pass_counts_on_from_the_first(void **state)
{
    static const struct {
        const char *text;
        size_t count, end;
        const char *first;
    } cases[] = {{"a [b:.5] c", 1, 10, "a b c"},
                 {"a [b:1.5] c", 2, 5, "a  c"},
                 {"a [b:7] c", 1, 10, "a b c"},
                 {"a [b:13] c", 2, 3, "a  c"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prompt_schedule schedule;
        const char *text = cases[i].text;
        assert_true(prompt_schedule_read(&schedule, text, strlen(text), 10, 10, NULL));
        assert_int_equal(schedule.count, cases[i].count);
        assert_int_equal(schedule.state[0].end, cases[i].end);
        assert_string_equal(schedule.state[0].text, cases[i].first);
        prompt_schedule_clear(&schedule);
    }
}

static void auto_syntax_follows_the_samplers_name(void **state)
{
    static const struct {
        const char *name, *sampler;
        enum prompt_syntax want;
    } cases[] = {
        {"auto", "DPM++ 2M", PROMPT_A1111},
        {"auto", "Euler a", PROMPT_A1111},
        {NULL, "EulerDiscreteScheduler", PROMPT_PLAIN},
        {"auto", "DDIMScheduler(eta=1)", PROMPT_PLAIN},
        {"auto", "dpmpp_2m", PROMPT_COMFY},
        {"comfy", "DPM++ 2M", PROMPT_COMFY},
        {"plain", "euler", PROMPT_PLAIN},
        {"a1111", "DDIMScheduler", PROMPT_A1111},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(prompt_syntax_of(cases[i].name, cases[i].sampler),
                         cases[i].want);
}

static void editing_counts_two_calls_a_step_where_a_sampler_makes_two(void **state)
{
    static const char *const twice[] = {"Heun", "DPM2 a", "DPM++ SDE Karras", "DPM2",
                                        "HeunDiscreteScheduler(a=b)"};
    static const char *const once[] = {"Euler", "DPM++ 2M SDE", "heunpp2",
                                       "DPMSolverMultistepScheduler", "UniPC"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(prompt_calls(twice[i], 20), 40);
        assert_int_equal(prompt_calls(once[i], 20), 20);
    }
}

static void hostile_nesting_and_growth_are_refused(void **state)
{
    static char text[60001];
    struct error error = {0};
    struct prompt_schedule schedule;
    struct emphasis emphasis;
    memset(text, '(', sizeof text - 1);
    assert_false(
        prompt_schedule_read(&schedule, text, sizeof text - 1, 0, STEPS, &error));
    assert_non_null(strstr(error.text, "nested more than 200 deep"));
    memset(text + 30000, ')', 30000);
    assert_false(emphasis_read(&emphasis, text, PROMPT_COMFY, &error));
    assert_non_null(strstr(error.text, "nested more than 200 deep"));
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "[a|b]", 5);
    assert_false(
        prompt_schedule_read(&schedule, text, sizeof text - 1, 0, 1000, &error));
    assert_non_null(strstr(error.text, "shorten the text"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_of_edited_prompts_are_a1111s),
        cmocka_unit_test(parts_joined_by_and_are_a1111s),
        cmocka_unit_test(emphasis_is_a1111s),
        cmocka_unit_test(emphasis_is_comfyuis),
        cmocka_unit_test(plain_text_keeps_its_markup),
        cmocka_unit_test(only_a_word_break_of_its_own_weight_ends_a_chunk),
        cmocka_unit_test(negative_prompts_are_not_parted),
        cmocka_unit_test(a_state_holds_up_to_the_call_of_its_end),
        cmocka_unit_test(a_second_pass_counts_on_from_the_first),
        cmocka_unit_test(auto_syntax_follows_the_samplers_name),
        cmocka_unit_test(editing_counts_two_calls_a_step_where_a_sampler_makes_two),
        cmocka_unit_test(hostile_nesting_and_growth_are_refused),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
