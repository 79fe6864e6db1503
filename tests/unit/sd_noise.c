/* The expected hashes are of torch.randn(count, generator=Generator().manual_seed(seed))
 * as PyTorch 2.13 gives them on x86-64 with AVX2: raw little-endian float32. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "worker/sd/noise.h"

static void assert_next(struct noise *noise, size_t count, const char *expected)
{
    float *values = malloc(count * sizeof *values);
    unsigned char hash[crypto_hash_sha256_BYTES];
    char text[2 * sizeof hash + 1];
    assert_non_null(values);
    noise_normal(noise, values, count);
    crypto_hash_sha256(hash, (unsigned char *)values, count * sizeof *values);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    assert_string_equal(text, expected);
    free(values);
}

static void assert_first(uint64_t seed, size_t count, const char *expected)
{
    struct noise noise;
    noise_seed(&noise, seed);
    assert_next(&noise, count, expected);
}

static void whole_blocks_equal_torch_bit_for_bit(void **state)
{
    assert_first(0, 16384,
                 "24efac55b39e95b2d74d8fb5b3a8e8a8e808bd04129f260c4cdbb225bb952a4d");
    assert_first(1, 16384,
                 "e3a63ffe8c41d8927973056980b6ef12e997f569ac35a6080304961709402cb4");
    assert_first(42, 16384,
                 "e97f3de04c7c6ba86354db4402b91d4402ede9c72aabed29a96dd7d635a798ba");
}

static void a_last_block_that_is_not_whole_is_drawn_again(void **state)
{
    assert_first(42, 4 * 9 * 5,
                 "070cb1c980a8fba290ca7c04d6558d7c91768f9894b732c7ec46b35c05d75ff1");
}

static void below_16_values_come_in_pairs_of_doubles(void **state)
{
    assert_first(42, 3 * 5,
                 "8db9a5331024e1ef6641fb105e2cef40e44a0fc808368674795ee3b09096fe02");
}

static void the_unused_half_of_a_pair_comes_first_next_time(void **state)
{
    struct noise whole, parts;
    float expected[8], found[8];
    noise_seed(&whole, 7);
    noise_seed(&parts, 7);
    noise_normal(&whole, expected, 8);
    noise_normal(&parts, found, 3);
    noise_normal(&parts, found + 3, 5);
    assert_memory_equal(found, expected, sizeof expected);
}

static void a_second_draw_continues_the_generator(void **state)
{
    struct noise noise;
    noise_seed(&noise, 42);
    assert_next(&noise, 2048,
                "cce876c98a066192c1175d87bb9e40a78c0364b4c1194fd710634ae8ecf385cb");
    assert_next(&noise, 1024,
                "b978d5de40ec2bfb73b26b9b7d83471f97c6e6926d2fc674e1a8db0ceb0892c7");
}

static void only_the_low_32_bits_of_a_seed_count(void **state)
{
    assert_first((uint64_t)5 << 32 | 42, 16384,
                 "e97f3de04c7c6ba86354db4402b91d4402ede9c72aabed29a96dd7d635a798ba");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_blocks_equal_torch_bit_for_bit),
        cmocka_unit_test(a_last_block_that_is_not_whole_is_drawn_again),
        cmocka_unit_test(below_16_values_come_in_pairs_of_doubles),
        cmocka_unit_test(the_unused_half_of_a_pair_comes_first_next_time),
        cmocka_unit_test(a_second_draw_continues_the_generator),
        cmocka_unit_test(only_the_low_32_bits_of_a_seed_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
