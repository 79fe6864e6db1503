#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/test.h"

/* What the lines written in between look like. */
static char *caught;
static FILE *catcher;
static int before;

static int catch (void **state)
{
    catcher = tmpfile();
    fflush(stderr);
    before = dup(2);
    dup2(fileno(catcher), 2);
    return 0;
}

static const char *lines(void)
{
    free(caught);
    fflush(stderr);
    long size = (fseek(catcher, 0, SEEK_END), ftell(catcher));
    caught = calloc((size_t)size + 1, 1);
    rewind(catcher);
    assert_int_equal(fread(caught, 1, (size_t)size, catcher), size);
    return caught;
}

static int let_go(void **state)
{
    dup2(before, 2);
    close(before);
    fclose(catcher);
    free(caught);
    caught = NULL;
    log_about(NULL);
    return 0;
}

static const struct log_subject subject = {
    .node = "iris", .job = "5f0c", .task = 3, .epoch = 7, .attempt = 9};

static void a_text_line_ends_with_what_it_is_about(void **state)
{
    log_open("test", LOG_INFO_LINE, LOG_TEXT);
    log_debug("dropped");
    log_info("plain");
    log_about(&subject);
    log_warn("a task %d", 5);
    assert_non_null(strstr(lines(), "Z info test: plain\n"));
    assert_non_null(strstr(
        lines(), "Z warn test: a task 5 [node=iris job=5f0c task=3 attempt=7-9]\n"));
    assert_null(strstr(lines(), "dropped"));
}

static void a_json_line_is_one_object_whatever_the_text(void **state)
{
    log_open("test", LOG_INFO_LINE, LOG_JSON);
    log_about(&subject);
    log_error("say \"hello\" to C:\\ and\nforge {}");
    assert_non_null(strstr(lines(), "\"level\":\"error\",\"program\":\"test\",\"text\":"
                                    "\"say \\\"hello\\\" to C:\\\\ and?forge {}\","
                                    "\"node\":\"iris\",\"job\":\"5f0c\",\"task\":\"3\","
                                    "\"attempt\":\"7-9\"}\n"));
    log_about(NULL);
    log_error("bare");
    assert_non_null(strstr(lines(), "\"text\":\"bare\"}\n"));
}

static void a_long_line_is_cut_and_stays_one_object(void **state)
{
    char text[5000];
    memset(text, '"', sizeof text - 1);
    text[sizeof text - 1] = 0;
    log_open("test", LOG_INFO_LINE, LOG_JSON);
    log_about(&subject);
    log_info("%s", text);
    const char *line = lines();
    assert_string_equal(line + strlen(line) - 3, "\"}\n");
    assert_non_null(strstr(line, "\",\"node\":\"iris\""));
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, catch, let_go)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_text_line_ends_with_what_it_is_about),
        LOG_TEST(a_json_line_is_one_object_whatever_the_text),
        LOG_TEST(a_long_line_is_cut_and_stays_one_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
