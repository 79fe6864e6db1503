/* Noise against torch, torchsde and CUDA's published numbers (tests/golden/noise.json). */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "tests/test.h"
#include "worker/sd/draws.h"

enum { MOST = 256 };

static json_t *golden;
static const struct sampler_interval step = {2, 1};

static int load_golden(void **state)
{
    golden = json_load_file(FARM_GOLDEN_DIR "/noise.json", 0, NULL);
    return golden ? 0 : -1;
}

static int free_golden(void **state)
{
    json_decref(golden);
    return 0;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static size_t at(const json_t *object, const char *key, size_t i)
{
    return (size_t)json_integer_value(json_array_get(json_object_get(object, key), i));
}

static void assert_near(const float *values, const json_t *expected, double tolerance)
{
    for (size_t i = 0; i < json_array_size(expected); i++) {
        double wanted = json_number_value(json_array_get(expected, i));
        if (!(fabs(values[i] - wanted) <= tolerance))
            fail_msg("value %zu is %.9g, expected %.9g", i, values[i], wanted);
    }
}

static void philox_draws_what_cuda_draws(void **state)
{
    static const double cuda[] = {-0.92466259, -0.42534415, -2.6438457,  0.14518388,
                                  -0.12086647, -0.57972564, -0.62285122, -0.32838709,
                                  -1.07454231, -0.36314407, -1.67105067, 2.26550497};
    struct noise noise;
    float values[12], again[12];
    noise_seed_philox(&noise, 0);
    noise_normal(&noise, values, 12);
    for (size_t i = 0; i < 12; i++)
        assert_true(fabs(values[i] - cuda[i]) <
                    3e-7); /* its sine is an approximation */
    noise_normal(&noise, again, 12);
    assert_memory_not_equal(values, again, sizeof values);
    noise_seed_philox(&noise, (uint64_t)1 << 32);
    noise_normal(&noise, again, 12);
    assert_memory_not_equal(values, again, sizeof values);
}

static void brownian_motions_equal_torchsdes_bit_for_bit(void **state)
{
    size_t i, k;
    json_t *motion, *draw;
    json_array_foreach(json_object_get(golden, "brownian"), i, motion)
    {
        const json_t *draws = json_object_get(motion, "draws");
        float values[MOST];
        size_t count =
            json_array_size(json_object_get(json_array_get(draws, 0), "values"));
        struct brownian *brownian =
            brownian_new((uint64_t)number(motion, "seed"), number(motion, "least"),
                         number(motion, "most"), count, NULL);
        json_array_foreach(draws, k, draw)
        {
            assert_true(brownian_draw(brownian, (float)number(draw, "from"),
                                      (float)number(draw, "to"), values, NULL));
            assert_near(values, json_object_get(draw, "values"), 1e-7);
        }
        brownian_destroy(&brownian);
    }
}

static struct draws *draws_of(const struct draws_options *options,
                              enum noise_source source, size_t h, size_t w)
{
    struct sampler_run run = {.source = source, .range = {0.03, 14}};
    struct draws *draws = draws_new(options, &run, 2, h, w, NULL);
    assert_non_null(draws);
    return draws;
}

static void variations_and_other_sizes_are_a1111s(void **state)
{
    size_t i;
    json_t *test;
    json_array_foreach(json_object_get(golden, "varied"), i, test)
    {
        float values[MOST];
        struct draws_options options = {
            .seed = (uint64_t)number(test, "seed"),
            .variation_seed = (uint64_t)number(test, "variation_seed"),
            .variation = number(test, "variation"),
            .resize_h = at(test, "resize", 0),
            .resize_w = at(test, "resize", 1),
            .batch = 1,
        };
        struct draws *draws = draws_of(&options, NOISE_CONTINUED, at(test, "size", 0),
                                       at(test, "size", 1));
        assert_true(draws_step(draws, NULL, values, NULL));
        assert_near(values, json_object_get(test, "values"), 2e-6);
        draws_destroy(&draws);
    }
}

static void an_image_of_a_batch_gets_its_part_of_one_draw(void **state)
{
    size_t i;
    json_t *test;
    json_array_foreach(json_object_get(golden, "batch"), i, test)
    {
        size_t batch = (size_t)number(test, "batch");
        for (size_t k = 0; k < batch; k++) {
            const json_t *image = json_array_get(json_object_get(test, "images"), k);
            float values[MOST];
            struct draws_options options = {
                .seed = (uint64_t)number(test, "seed"), .batch = batch, .index = k};
            struct draws *draws = draws_of(&options, NOISE_CONTINUED,
                                           at(test, "size", 0), at(test, "size", 1));
            assert_true(draws_step(draws, NULL, values, NULL));
            assert_near(values, json_array_get(image, 0), 1e-8);
            assert_true(draws_step(draws, &step, values, NULL));
            assert_near(values, json_array_get(image, 1), 1e-8);
            draws_destroy(&draws);
        }
    }
}

static void the_steps_noise_goes_on_or_begins_anew(void **state)
{
    static const struct {
        enum noise_source source;
        uint64_t delta, seed; /* the steps' noise is the first of this seed */
    } cases[] = {{NOISE_RESEEDED, 0, 8},
                 {NOISE_CONTINUED, 31337, 31344},
                 {NOISE_CONTINUED, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float first[24], values[24], expected[24];
        struct noise noise;
        struct draws_options options = {.seed = 7, .delta = cases[i].delta, .batch = 1};
        struct draws *draws = draws_of(&options, cases[i].source, 3, 4);
        assert_true(draws_step(draws, NULL, first, NULL));
        assert_true(draws_step(draws, &step, values, NULL));
        noise_seed(&noise, cases[i].seed ? cases[i].seed : 7);
        noise_normal(&noise, expected, 24);
        if (!cases[i].seed) {
            assert_memory_equal(first, expected, sizeof first);
            noise_normal(&noise, expected, 24);
        }
        assert_memory_equal(values, expected, sizeof values);
        draws_destroy(&draws);
    }
}

static void an_image_outside_its_batch_is_refused(void **state)
{
    struct error error = {0};
    struct sampler_run run = {0};
    struct draws_options options = {.batch = 4, .index = 4};
    assert_null(draws_new(&options, &run, 2, 3, 4, &error));
    assert_string_equal(error.text, "batch-index 4: a batch of 4 has 0 to 3");
}

static void what_is_drawn_before_moves_the_first_noise(void **state)
{
    float posterior[24], values[24], expected[24];
    struct noise noise;
    struct draws_options options = {.seed = 7, .batch = 1};
    struct draws *draws = draws_of(&options, NOISE_CONTINUED, 3, 4);
    draws_next(draws, posterior);
    assert_true(draws_step(draws, NULL, values, NULL));
    noise_seed(&noise, 7);
    noise_normal(&noise, expected, 24);
    assert_memory_equal(posterior, expected, sizeof expected);
    noise_normal(&noise, expected, 24);
    assert_memory_equal(values, expected, sizeof expected);
    draws_destroy(&draws);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_draws_what_cuda_draws),
        cmocka_unit_test(brownian_motions_equal_torchsdes_bit_for_bit),
        cmocka_unit_test(variations_and_other_sizes_are_a1111s),
        cmocka_unit_test(an_image_of_a_batch_gets_its_part_of_one_draw),
        cmocka_unit_test(the_steps_noise_goes_on_or_begins_anew),
        cmocka_unit_test(an_image_outside_its_batch_is_refused),
        cmocka_unit_test(what_is_drawn_before_moves_the_first_noise),
    };
    return cmocka_run_group_tests(tests, load_golden, free_golden);
}
