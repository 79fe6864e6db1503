#include <string.h>

#include "coordinator/synced.h"
#include "tests/test.h"

static void id_of(uint32_t number, uint8_t id[32])
{
    memset(id, 7, 32);
    memcpy(id, &number, sizeof number);
}

static bool has(const struct synced *synced, uint32_t number)
{
    uint8_t id[32];
    id_of(number, id);
    return synced_has(synced, id);
}

static void add(struct synced *synced, uint32_t number)
{
    uint8_t id[32];
    id_of(number, id);
    synced_add(synced, id);
}

static void what_was_synced_is_known_until_its_file_goes(void **state)
{
    struct synced synced;
    uint8_t id[32];
    synced_init(&synced);
    assert_false(has(&synced, 1));
    add(&synced, 1);
    add(&synced, 1);
    assert_true(has(&synced, 1));
    assert_false(has(&synced, 2));
    id_of(1, id);
    synced_forget(&synced, id);
    assert_false(has(&synced, 1));
    synced_clear(&synced);
}

static void the_oldest_are_forgotten_and_the_youngest_never(void **state)
{
    struct synced synced;
    synced_init(&synced);
    for (uint32_t i = 0; i < 3 * SYNCED_MOST; i++)
        add(&synced, i);
    assert_false(has(&synced, 0));
    for (uint32_t i = 2 * SYNCED_MOST; i < 3 * SYNCED_MOST; i++)
        assert_true(has(&synced, i));
    uint8_t id[32];
    id_of(3 * SYNCED_MOST - 1, id);
    synced_forget(&synced, id);
    assert_false(has(&synced, 3 * SYNCED_MOST - 1));
    synced_clear(&synced);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_is_known_until_its_file_goes),
        cmocka_unit_test(the_oldest_are_forgotten_and_the_youngest_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
