#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "config/settings.h"
#include "tests/folder.h"

static char *file;

static int set_up(void **state)
{
    if (make_folder(state))
        return -1;
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("XDG_STATE_HOME", "/var/farmstate", 1);
    file = path_format("%s/clfarm/farm-coordinator.conf", folder);
    char *parent = path_format("%s/clfarm", folder);
    bool ok = path_make_folders(parent, 0700, NULL);
    free(parent);
    return ok ? 0 : -1;
}

static int tear_down(void **state)
{
    free(file);
    return remove_folder(state);
}

/* The settings that these arguments give; CONFIG_WRONG's sentence in *error. */
static enum config_result load(struct coordinator_settings *into, struct error *error,
                               int *argc, char **argv)
{
    return config_load(&coordinator_program, into, argc, argv, error);
}

#define LOAD(into, error, ...)                                                         \
    load(into, error, &(int){sizeof((char *[]){"x", __VA_ARGS__}) / sizeof(char *)},   \
         (char *[]){"x", __VA_ARGS__, NULL})

static void without_anything_the_defaults_hold(void **state)
{
    struct coordinator_settings s;
    struct error error = {0};
    assert_int_equal(load(&s, &error, NULL, NULL), CONFIG_READY);
    assert_string_equal(s.state, "/var/farmstate/clfarm/coordinator");
    assert_string_equal(s.bind, "tcp://0.0.0.0");
    assert_int_equal(s.port, 7610);
    assert_int_equal(s.lease_ms, 30000);
    assert_int_equal(s.log, 1);
    config_clear(&coordinator_program, &s);

    struct worker_settings w;
    assert_int_equal(config_load(&worker_program, &w, NULL, NULL, &error),
                     CONFIG_READY);
    assert_string_equal(w.depot, "");
    assert_int_equal(w.batch, 8);
    config_clear(&worker_program, &w);
}

static void command_line_beats_environment_beats_file_beats_default(void **state)
{
    struct coordinator_settings s;
    struct error error = {0};
    const char *text = "# a comment\nport = 1\nbulk-port = 2\nlease-ms = 3000\n"
                       "farm = \"attic room\"\n";
    assert_true(path_write(file, text, strlen(text), 0600, &error));
    setenv("CLFARM_COORDINATOR_BULK_PORT", "20", 1);
    setenv("CLFARM_COORDINATOR_LEASE_MS", "4000", 1);
    assert_int_equal(LOAD(&s, &error, "--lease-ms=5000", "--log", "WARN"),
                     CONFIG_READY);
    unsetenv("CLFARM_COORDINATOR_BULK_PORT");
    unsetenv("CLFARM_COORDINATOR_LEASE_MS");
    unlink(file);
    assert_int_equal(s.port, 1);
    assert_int_equal(s.bulk_port, 20);
    assert_int_equal(s.lease_ms, 5000);
    assert_int_equal(s.suspect_ms, 6000);
    assert_string_equal(s.farm, "attic room");
    assert_int_equal(s.log, 2);
    config_clear(&coordinator_program, &s);
}

static void what_is_no_option_stays_in_order(void **state)
{
    struct coordinator_settings s;
    struct error error = {0};
    char *argv[] = {"x", "join", "--port", "0", "TOKEN", "--", "--port", NULL};
    int argc = 7;
    assert_int_equal(load(&s, &error, &argc, argv), CONFIG_READY);
    assert_int_equal(argc, 4);
    assert_string_equal(argv[1], "join");
    assert_string_equal(argv[2], "TOKEN");
    assert_string_equal(argv[3], "--port");
    assert_null(argv[4]);
    assert_int_equal(s.port, 0);
    config_clear(&coordinator_program, &s);
}

static void a_wrong_value_is_named_with_where_it_stood(void **state)
{
    struct coordinator_settings s;
    struct error error = {0};
    assert_int_equal(LOAD(&s, &error, "--port=65536"), CONFIG_WRONG);
    assert_string_equal(
        error.text,
        "--port=65536: port is \"65536\", expected a number from 0 to 65535");
    assert_int_equal(LOAD(&s, &error, "--port", "12x"), CONFIG_WRONG);
    assert_int_equal(LOAD(&s, &error, "--port"), CONFIG_WRONG);
    assert_string_equal(error.text, "--port needs a value");
    assert_int_equal(LOAD(&s, &error, "--log=loud"), CONFIG_WRONG);
    assert_string_equal(error.text,
                        "--log=loud: log is \"loud\", expected debug|info|warn|error");
    assert_int_equal(LOAD(&s, &error, "--prot=1"), CONFIG_WRONG);
    assert_non_null(strstr(error.text, "no setting \"--prot=1\""));

    assert_true(path_write(file, "lease = 1\n", 10, 0600, NULL));
    assert_int_equal(load(&s, &error, NULL, NULL), CONFIG_WRONG);
    assert_non_null(strstr(error.text, "farm-coordinator.conf: there is no setting"));
    unlink(file);
    assert_int_equal(LOAD(&s, &error, "--config", "/nowhere/x.conf"), CONFIG_WRONG);
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
}

static void a_broken_file_is_told_with_its_line(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"port = 1\nport 7\n", "line 2: \"port 7\" is not of the form"},
        {"= 7\n", "line 1: \"= 7\" is not"},
        {"# fine\n\n  port = 7\n", "line 3: \"  port = 7\" is not"},
        {"state =\n", "state is empty, expected a path"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct coordinator_settings s;
        struct error error = {0};
        assert_true(path_write(file, cases[i].text, strlen(cases[i].text), 0600, NULL));
        assert_int_equal(load(&s, &error, NULL, NULL), CONFIG_WRONG);
        if (!strstr(error.text, cases[i].says))
            fail_msg("expected \"%s\" in \"%s\"", cases[i].says, error.text);
    }
    struct coordinator_settings s;
    struct error error = {0};
    assert_true(path_write(file, "\0\1\2", 3, 0600, NULL));
    assert_int_equal(load(&s, &error, NULL, NULL), CONFIG_WRONG);
    assert_non_null(strstr(error.text, "no text file"));
    unlink(file);
}

static void a_relative_path_is_made_absolute(void **state)
{
    struct coordinator_settings s;
    struct error error = {0};
    char *here = getcwd(NULL, 0);
    char *wanted = path_format("%s/farm", here);
    assert_int_equal(LOAD(&s, &error, "--state", "farm"), CONFIG_READY);
    assert_string_equal(s.state, wanted);
    config_clear(&coordinator_program, &s);
    free(wanted);
    free(here);
}

/* The sample with its comment signs taken away loads as the defaults. */
static void the_sample_file_is_true(void **state)
{
    struct coordinator_settings s;
    struct error error = {0};
    struct buffer sample = {0}, plain = {0};
    assert_true(config_sample(&coordinator_program, &sample, &error));
    char *rest = (char *)(uintptr_t)buffer_text(&sample);
    size_t rows = 0;
    for (char *line; (line = strsep(&rest, "\n"));)
        if (strncmp(line, "# ", 2) == 0 && strstr(line, " = \"")) {
            buffer_printf(&plain, NULL, "%s\n", line + 2);
            rows++;
        }
    assert_int_equal(rows, 23);
    assert_true(path_write(file, plain.data, plain.size, 0600, &error));
    assert_int_equal(load(&s, &error, NULL, NULL), CONFIG_READY);
    assert_int_equal(s.bulk_port, 7611);
    assert_string_equal(s.state, "/var/farmstate/clfarm/coordinator");
    config_clear(&coordinator_program, &s);
    unlink(file);
    buffer_clear(&plain);
    buffer_clear(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_the_defaults_hold),
        cmocka_unit_test(command_line_beats_environment_beats_file_beats_default),
        cmocka_unit_test(what_is_no_option_stays_in_order),
        cmocka_unit_test(a_wrong_value_is_named_with_where_it_stood),
        cmocka_unit_test(a_broken_file_is_told_with_its_line),
        cmocka_unit_test(a_relative_path_is_made_absolute),
        cmocka_unit_test(the_sample_file_is_true),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
