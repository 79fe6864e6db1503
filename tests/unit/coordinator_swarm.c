#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/swarm.h"
#include "tests/test.h"

enum { PIECES = 64, BITS = PIECES / 8, PEERS = 20 };

static const uint8_t model[32] = {7};
static struct swarm *swarm;

static int make_swarm(void **state)
{
    swarm = swarm_new();
    return 0;
}

static int drop_swarm(void **state)
{
    swarm_destroy(&swarm);
    return 0;
}

static struct swarm_member *have(uint8_t who, const uint8_t *bits, bool fetching)
{
    uint8_t peer[PEER_ID] = {who}, key[32] = {who};
    char address[40];
    struct error error = {0};
    snprintf(address, sizeof address, "tcp://10.0.0.%d:1", who);
    struct swarm_member *member = swarm_have(swarm, model, PIECES, peer, key, address,
                                             bits, BITS, fetching, &error);
    assert_string_equal(error.text, "");
    return member;
}

static size_t count(const uint8_t *bits)
{
    size_t sum = 0;
    for (size_t b = 0; b < BITS; b++)
        sum += (size_t)__builtin_popcount(bits[b]);
    return sum;
}

static void one_that_fetches_alone_is_fed_all_of_it(void **state)
{
    uint8_t bits[BITS] = {0};
    size_t rounds = 0;
    while (count(bits) < PIECES && rounds++ < 100) {
        struct swarm_member *member = have(1, bits, true);
        uint8_t *seeds = swarm_seeds(swarm, member, false, 1000);
        for (size_t b = 0; b < BITS; b++)
            bits[b] |= seeds[b];
        free(seeds);
    }
    assert_int_equal(count(bits), PIECES);
    assert_in_range(rounds, PIECES / 16, PIECES / 4);
}

/* Everybody gets one piece a round, from another or from the coordinator. */
static void a_swarm_of_twenty_is_fed_about_once(void **state)
{
    uint8_t bits[PEERS][BITS] = {{0}};
    size_t fed = 0, whole = 0, rounds = 0;
    while (whole < PEERS && rounds++ < 1000) {
        whole = 0;
        for (uint8_t w = 0; w < PEERS; w++) {
            struct swarm_member *sources[SWARM_SOURCES];
            struct swarm_member *member = have((uint8_t)(w + 1), bits[w], true);
            uint8_t *seeds = swarm_seeds(swarm, member, false, (int64_t)rounds * 1000);
            size_t others = swarm_sources(swarm, member, sources);
            bool got = false;
            for (size_t p = 0; p < PIECES && !got; p++) {
                uint8_t mask = (uint8_t)(1u << p % 8);
                if (!(seeds[p / 8] & ~bits[w][p / 8] & mask))
                    continue;
                bits[w][p / 8] |= mask;
                got = true;
                fed++;
            }
            for (size_t s = 0; s < others && !got; s++)
                for (size_t i = 0; i < PIECES && !got; i++) {
                    size_t p = (i + w * 3u) % PIECES;
                    uint8_t mask = (uint8_t)(1u << p % 8);
                    if (!(sources[s]->have[p / 8] & ~bits[w][p / 8] & mask))
                        continue;
                    bits[w][p / 8] |= mask;
                    got = true;
                }
            free(seeds);
            whole += count(bits[w]) == PIECES;
        }
    }
    assert_int_equal(whole, PEERS);
    assert_int_equal(fed, PIECES); /* every piece once, and no piece twice */
    assert_true(rounds < 2 * PIECES);
}

static void one_to_whom_nobody_gives_is_fed_though_others_have_it(void **state)
{
    uint8_t none[BITS] = {0};
    have(1, NULL, false);
    have(3, none, true);
    struct swarm_member *member = have(2, none, true);
    uint8_t *seeds = swarm_seeds(swarm, member, false, 1000);
    assert_int_equal(count(seeds), 0);
    free(seeds);
    seeds = swarm_seeds(swarm, member, true, 6000);
    assert_true(count(seeds) > 0);
    free(seeds);
}

static void one_is_fed_when_all_who_have_it_are_accused(void **state)
{
    uint8_t none[BITS] = {0}, bad[32] = {1}, a[32] = {2}, b[32] = {3};
    struct swarm_member *sources[SWARM_SOURCES];
    have(1, NULL, false);
    have(3, none, true);
    struct swarm_member *member = have(2, none, true);
    swarm_accuse(swarm, bad, a);
    swarm_accuse(swarm, bad, b);
    assert_int_equal(swarm_sources(swarm, member, sources), 0);
    free(swarm_seeds(swarm, member, true, 1000));
    uint8_t *seeds = swarm_seeds(swarm, member, true, 6000);
    assert_true(count(seeds) > 0);
    free(seeds);
}

static void one_that_waits_for_the_first_pieces_only_waits(void **state)
{
    uint8_t none[BITS] = {0};
    struct swarm_member *first = have(1, none, true), *second = have(2, none, true);
    free(swarm_seeds(swarm, first, false, 1000));
    free(swarm_seeds(swarm, first, false, 1000));
    uint8_t *seeds = swarm_seeds(swarm, second, true, 1000);
    assert_true(count(seeds) <= 2);
    free(seeds);
}

/* A slow line: the first piece is there after a minute. */
static void
one_that_waited_long_for_the_first_piece_is_not_starved_by_then(void **state)
{
    uint8_t none[BITS] = {0}, some[BITS] = {1};
    struct swarm_member *second = have(2, none, true);
    have(1, none, true);
    free(swarm_seeds(swarm, second, true, 1000));
    free(swarm_seeds(swarm, second, true, 60000));
    have(1, some, true);
    free(swarm_seeds(swarm, second, true, 61000));
    assert_int_equal(second->alone_until, 0);
    free(swarm_seeds(swarm, second, true, 67000));
    assert_true(second->alone_until > 0);
}

/* Eight pieces were given to one who takes half a minute for each. */
static void what_comes_slowly_is_given_to_nobody_else(void **state)
{
    uint8_t none[BITS] = {0}, mine[BITS];
    struct swarm_member *slow = have(1, none, true), *other;
    uint8_t *seeds = swarm_seeds(swarm, slow, false, 0);
    memcpy(mine, none, BITS);
    for (size_t p = 0, came = 0; p < PIECES && came < 5; p++) {
        if (!(seeds[p / 8] >> p % 8 & 1))
            continue;
        mine[p / 8] |= (uint8_t)(1u << p % 8);
        slow = have(1, mine, true);
        free(swarm_seeds(swarm, slow, false, (int64_t)++came * 30000));
    }
    other = have(2, none, true);
    uint8_t *others = swarm_seeds(swarm, other, false, 150000);
    for (size_t b = 0; b < BITS; b++)
        assert_int_equal(others[b] & seeds[b], 0);
    free(others);
    free(seeds);
}

static void one_that_gave_up_does_not_slow_the_one_that_goes_on(void **state)
{
    uint8_t none[BITS] = {0};
    struct swarm_member *idle = have(1, none, true), *member = have(2, none, true);
    free(swarm_seeds(swarm, idle, false, 1000));
    uint8_t *seeds = swarm_seeds(swarm, member, false, 1000);
    assert_true(count(seeds) <= 2);
    free(seeds);
    seeds = swarm_seeds(swarm, member, false, 60000);
    assert_true(count(seeds) > 4);
    free(seeds);
}

static void what_was_given_to_one_that_left_is_given_again(void **state)
{
    uint8_t none[BITS] = {0}, gone[PEER_ID] = {1};
    struct swarm_member *first = have(1, none, true), *second;
    free(swarm_seeds(swarm, first, false, 1000));
    second = have(2, none, true);
    uint8_t *seeds = swarm_seeds(swarm, second, false, 1000);
    assert_int_equal(count(seeds), 0); /* all that may be on its way is */
    free(seeds);
    swarm_leave(swarm, gone);
    seeds = swarm_seeds(swarm, second, false, 1000);
    assert_true(count(seeds) > 0);
    free(seeds);
}

static void nobody_is_sent_to_itself_or_to_whom_two_accuse(void **state)
{
    uint8_t none[BITS] = {0}, bad[32] = {1}, a[32] = {2}, b[32] = {3};
    struct swarm_member *sources[SWARM_SOURCES];
    have(1, NULL, false);
    struct swarm_member *member = have(2, none, true);
    assert_int_equal(swarm_sources(swarm, member, sources), 1);
    assert_int_equal(swarm_sources(swarm, sources[0], sources), 0);
    assert_true(swarm_accuse(swarm, bad, a));
    assert_false(swarm_accuse(swarm, bad, a)); /* one voice counts once */
    assert_int_equal(swarm_sources(swarm, member, sources), 1);
    assert_true(swarm_accuse(swarm, bad, b));
    assert_int_equal(swarm_sources(swarm, member, sources), 0);
}

static void a_grant_is_asked_for_once_confirmed_and_ends_with_its_server(void **state)
{
    uint8_t none[BITS] = {0}, key[32] = {2};
    bool is_new;
    struct swarm_member *source = have(1, NULL, false), *member = have(2, none, true);
    struct swarm_grant *grant = swarm_grant(swarm, source, member, 1000, &is_new);
    assert_true(is_new);
    assert_false(grant->confirmed);
    assert_ptr_equal(swarm_grant(swarm, source, member, 1001, &is_new), grant);
    assert_false(is_new);
    assert_null(swarm_grant_find(swarm, grant->id, member->peer));
    assert_ptr_equal(swarm_grant_find(swarm, grant->id, source->peer), grant);
    grant->confirmed = true;
    swarm_grant(swarm, source, member, 1000 + SWARM_GRANT_S * 1000, &is_new);
    assert_true(is_new); /* about to end */
    assert_ptr_equal(swarm_grant_of(swarm, key), grant);
    uint8_t gone[PEER_ID] = {1};
    swarm_leave(swarm, gone);
    assert_null(swarm_grant_of(swarm, key));
}

static void bits_that_do_not_fit_the_model_are_refused(void **state)
{
    uint8_t peer[PEER_ID] = {1}, key[32] = {1}, bits[BITS + 1] = {0};
    struct error error = {0};
    assert_null(
        swarm_have(swarm, model, PIECES, peer, key, "", bits, BITS + 1, true, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
}

#define SWARM_TEST(name) cmocka_unit_test_setup_teardown(name, make_swarm, drop_swarm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SWARM_TEST(one_that_fetches_alone_is_fed_all_of_it),
        SWARM_TEST(a_swarm_of_twenty_is_fed_about_once),
        SWARM_TEST(one_to_whom_nobody_gives_is_fed_though_others_have_it),
        SWARM_TEST(one_is_fed_when_all_who_have_it_are_accused),
        SWARM_TEST(one_that_waits_for_the_first_pieces_only_waits),
        SWARM_TEST(one_that_waited_long_for_the_first_piece_is_not_starved_by_then),
        SWARM_TEST(what_comes_slowly_is_given_to_nobody_else),
        SWARM_TEST(one_that_gave_up_does_not_slow_the_one_that_goes_on),
        SWARM_TEST(what_was_given_to_one_that_left_is_given_again),
        SWARM_TEST(nobody_is_sent_to_itself_or_to_whom_two_accuse),
        SWARM_TEST(a_grant_is_asked_for_once_confirmed_and_ends_with_its_server),
        SWARM_TEST(bits_that_do_not_fit_the_model_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
