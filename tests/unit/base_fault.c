#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/path.h"

static void only_the_named_faults_are_wanted(void **state)
{
    setenv("FARM_FAULT", "spool-full,worker-after", 1);
    assert_true(fault_wanted("worker-after"));
    assert_true(fault_wanted("spool-full"));
    assert_false(fault_wanted("worker-after-spool"));
    assert_false(fault_wanted("spool"));
    unsetenv("FARM_FAULT");
    assert_false(fault_wanted("worker-after"));
}

static void a_fault_with_a_file_happens_once(void **state)
{
    char folder[] = "/tmp/fault.XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *flag = path_format("%s/once", folder);
    char *value = path_format("other,die:%s", flag);
    setenv("FARM_FAULT", value, 1);
    assert_true(fault_wanted("die"));
    assert_false(fault_wanted("die"));
    unsetenv("FARM_FAULT");
    unlink(flag);
    rmdir(folder);
    free(value);
    free(flag);
}

static void a_delay_is_for_the_named_place_only(void **state)
{
    setenv("FARM_DELAY", "worker-step:100000000", 1); /* a day */
    fault_delay("worker");
    fault_delay("worker-steps");
    setenv("FARM_DELAY", "worker-step:60", 1);
    int64_t began = clock_ms();
    fault_delay("worker-step");
    assert_true(clock_ms() - began >= 60);
    unsetenv("FARM_DELAY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_named_faults_are_wanted),
        cmocka_unit_test(a_fault_with_a_file_happens_once),
        cmocka_unit_test(a_delay_is_for_the_named_place_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
