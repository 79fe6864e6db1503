/* The engine's samplers and the options' list of them are two tables: rooms apart. */
#include <stdio.h>
#include <string.h>

#include "proto/job/options.h"
#include "tests/test.h"
#include "worker/sd/sampler.h"

static void the_options_list_is_the_engines(void **state)
{
    const struct option *option = option_find("sampler");
    const char *at = option->choices;
    size_t count = 0;
    for (const char *const *name = sampler_names(); *name; name++, count++) {
        size_t length = strcspn(at, "=|");
        if (length != strlen(*name) || strncmp(at, *name, length) != 0)
            fail_msg("the options have %.*s where the engine has %s", (int)length, at,
                     *name);
        at += strcspn(at, "|");
        at += *at == '|';
    }
    assert_true(count > 30);
    assert_true(!*at);
}

static void every_choice_is_planned_under_all_its_names(void **state)
{
    const char *at = option_find("sampler")->choices;
    while (*at) {
        char name[80];
        struct schedule_config config;
        struct sampler_run run;
        struct error error = {0};
        struct sampler_options wanted = {
            .schedule = "Automatic", .steps = 5, .strength = 1};
        size_t length = strcspn(at, "=|");
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        at += length + (at[length] != 0);
        schedule_config_defaults(&config);
        if (!sampler_plan(&run, name, &config, &wanted, &error))
            fail_msg("%s: %s", name, error.text);
        sampler_run_clear(&run);
    }
}

static void every_schedule_choice_is_taken_by_a1111s_samplers(void **state)
{
    const char *at = option_find("schedule")->choices;
    while (*at) {
        char name[80];
        struct schedule_config config;
        struct sampler_run run;
        struct error error = {0};
        struct sampler_options wanted = {.schedule = name, .steps = 5, .strength = 1};
        size_t length = strcspn(at, "=|");
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        at += length + (at[length] != 0);
        schedule_config_defaults(&config);
        if (!sampler_plan(&run, "Euler", &config, &wanted, &error))
            fail_msg("%s: %s", name, error.text);
        sampler_run_clear(&run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_options_list_is_the_engines),
        cmocka_unit_test(every_choice_is_planned_under_all_its_names),
        cmocka_unit_test(every_schedule_choice_is_taken_by_a1111s_samplers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
