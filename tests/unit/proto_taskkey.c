/* Task keys against tests/golden/taskkey.json, whose keys were computed by Python's
 * hashlib from the canonical text written beside them. */
#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include "proto/job/job.h"
#include "tests/test.h"

static void keys_equal_those_computed_elsewhere(void **state)
{
    json_t *vectors = json_load_file(FARM_GOLDEN_DIR "/taskkey.json", 0, NULL);
    assert_true(json_array_size(vectors) >= 5);
    size_t i;
    json_t *vector, *value;
    json_array_foreach(vectors, i, vector)
    {
        struct task task;
        const char *name;
        task_init(&task);
        json_object_foreach(json_object_get(vector, "settings"), name, value)
            assert_true(task_set(&task, name, json_string_value(value), NULL));
        uint8_t salt[16], key[32];
        const char *hex = json_string_value(json_object_get(vector, "salt"));
        if (hex)
            sodium_hex2bin(salt, 16, hex, 32, NULL, NULL, NULL);
        task_key(&task, hex ? salt : NULL, key);
        char text[65];
        sodium_bin2hex(text, sizeof text, key, 32);
        assert_string_equal(text, json_string_value(json_object_get(vector, "key")));
        task_clear(&task);
    }
    json_decref(vectors);
}

static void every_option_changes_the_key(void **state)
{
    static const char *const other[][2] = {
        {"cfg", "7.5"},
        {"clip-skip", "2"},
        {"eta", "0.5"},
        {"model", "other"},
        {"negative", "x"},
        {"precision", "f32"},
        {"prompt", "x"},
        {"sampler", "DDIM"},
        {"schedule", "Normal"},
        {"seed", "1"},
        {"size", "8x16"},
        {"steps", "21"},
        {"class", "3"},
        {"crop", "1,2"},
        {"original-size", "9x9"},
        {"aesthetic", "5"},
        {"prediction", "v"},
        {"empty-negative", "text"},
        {"zsnr", "off"},
        {"init", "0123"},
        {"image", "0123"},
        {"image-cfg", "1"},
        {"mask", "0123"},
        {"mask-blur", "1"},
        {"strength", "0.5"},
        {"inpaint-fill", "latent-noise"},
        {"syntax", "comfy"},
        {"lora", "0123:0.5"},
        {"embedding", "0123"},
        {"vae", "0123"},
        {"tile", "on"},
        {"hires", "2"},
        {"hires-cfg", "3"},
        {"hires-sampler", "DDIM"},
        {"hires-schedule", "Normal"},
        {"hires-steps", "3"},
        {"hires-upscaler", "Lanczos"},
        {"inpaint-full-res", "on"},
        {"inpaint-padding", "8"},
        {"mask-invert", "on"},
        {"refiner", "0123"},
    };
    struct task task;
    uint8_t plain[32], key[32];
    task_init(&task);
    task_key(&task, NULL, plain);
    task_clear(&task);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        task_init(&task);
        assert_true(task_set(&task, other[i][0], other[i][1], NULL));
        task_key(&task, NULL, key);
        assert_memory_not_equal(key, plain, 32);
        task_clear(&task);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_equal_those_computed_elsewhere),
        cmocka_unit_test(every_option_changes_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
