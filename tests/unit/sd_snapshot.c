#include <math.h>
#include <string.h>

#include "tests/test.h"
#include "worker/sd/snapshot.h"

static struct snapshot make(void)
{
    struct snapshot snapshot = {.c = 4,
                                .h = 3,
                                .w = 2,
                                .step = 5,
                                .steps = 20,
                                .draws = 4,
                                .seed = 0xfedcba9876543210};
    memset(snapshot.tag, 7, sizeof snapshot.tag);
    assert_true(snapshot_make(&snapshot, NULL));
    for (size_t i = 0; i < 5 * 24; i++)
        snapshot.values[i] = sinf((float)i) * 1e-30F;
    return snapshot;
}

static void a_snapshot_comes_back_bit_for_bit(void **state)
{
    struct snapshot snapshot = make(), back;
    struct buffer bytes = {0};
    assert_true(snapshot_write(&snapshot, &bytes, NULL));
    assert_int_equal(bytes.size, 12 + 8 * 8 + 32 + 5 * 24 * 4);
    assert_true(snapshot_read(&back, bytes.data, bytes.size, NULL));
    assert_int_equal(back.c, 4);
    assert_int_equal(back.h, 3);
    assert_int_equal(back.w, 2);
    assert_int_equal(back.step, 5);
    assert_int_equal(back.steps, 20);
    assert_int_equal(back.draws, 4);
    assert_true(back.seed == snapshot.seed);
    assert_memory_equal(back.tag, snapshot.tag, sizeof back.tag);
    assert_memory_equal(back.values, snapshot.values, 5 * 24 * sizeof *back.values);
    snapshot_clear(&snapshot);
    snapshot_clear(&back);
    buffer_clear(&bytes);
}

/* Changes one byte and expects a refusal that says so. */
static void assert_spoiled(size_t at, uint8_t value, const char *says)
{
    struct snapshot snapshot = make(), back;
    struct buffer bytes = {0};
    struct error error = {0};
    assert_true(snapshot_write(&snapshot, &bytes, NULL));
    bytes.data[at] = value;
    assert_false(snapshot_read(&back, bytes.data, bytes.size, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    if (!strstr(error.text, says))
        fail_msg("\"%s\" does not say \"%s\"", error.text, says);
    snapshot_clear(&snapshot);
    buffer_clear(&bytes);
}

static void spoiled_snapshots_are_refused(void **state)
{
    assert_spoiled(0, 'x', "these bytes are none");
    assert_spoiled(12, 2, "of version 2");
    assert_spoiled(12 + 8, 65, "beyond all limits");
    assert_spoiled(12 + 16 + 2, 1, "beyond all limits");
    assert_spoiled(12 + 24, 3, "not as long");
    assert_spoiled(12 + 32, 21, "do not fit");
    assert_spoiled(12 + 48, 21, "do not fit");
    assert_spoiled(12 + 64 + 32 + 4 + 3, 0x7f, "not finite");
}

static void a_snapshot_cut_short_is_refused_wherever_that_is(void **state)
{
    struct snapshot snapshot = make(), back;
    struct buffer bytes = {0};
    assert_true(snapshot_write(&snapshot, &bytes, NULL));
    for (size_t size = 0; size < bytes.size; size++)
        assert_false(snapshot_read(&back, bytes.data, size, NULL));
    snapshot_clear(&snapshot);
    buffer_clear(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_comes_back_bit_for_bit),
        cmocka_unit_test(spoiled_snapshots_are_refused),
        cmocka_unit_test(a_snapshot_cut_short_is_refused_wherever_that_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
