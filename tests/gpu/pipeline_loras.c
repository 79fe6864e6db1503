/* LoRA files against diffusers and torch (tests/golden/lora). */
#include "base/path.h"
#include <unistd.h>

#include "tests/gpu/support_run.h"

#define FOLDER FARM_GOLDEN_DIR "/lora/"

static struct image_request request(const struct adapter_use *loras, size_t count)
{
    struct image_request request = apple_request();
    request.loras = loras;
    request.lora_count = count;
    return request;
}

static double distance_to(struct pipeline *pipeline, const struct adapter_use *loras,
                          size_t count, const char *tensor)
{
    struct image image;
    struct image_request wanted = request(loras, count);
    assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
    struct golden_tensor want = golden_load("lora/runs.safetensors", tensor);
    double far = relative_distance(image.latents, want.values, want.count);
    free(want.values);
    image_clear(&image);
    return far;
}

static size_t read_uses(const json_t *test, struct adapter_use uses[8])
{
    size_t i;
    json_t *use;
    json_array_foreach(test, i, use)
    {
        const char *name = json_string_value(json_array_get(use, 0));
        uses[i] = (struct adapter_use){path_format(FOLDER "%s.safetensors", name), name,
                                       json_number_value(json_array_get(use, 1))};
    }
    return i;
}

static void every_spelling_alone_and_together_renders_as_in_diffusers(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    json_t *cases = json_load_file(FOLDER "runs.json", 0, NULL), *test;
    size_t i;
    double worst = 0;
    assert_int_equal(json_array_size(cases), 13);
    for (int round = 0; round < 2; round++) /* again: from sets that stayed, and not */
        json_array_foreach(cases, i, test)
        {
            struct adapter_use uses[8];
            char tensor[40];
            size_t count = read_uses(test, uses);
            snprintf(tensor, sizeof tensor, "%zu.latents", i);
            double far = distance_to(pipeline, uses, count, tensor);
            if (!(far < 2e-4))
                fail_msg("case %zu: off by %g", i, far);
            worst = fmax(worst, far);
            far = distance_to(pipeline, NULL, 0, "none.latents");
            if (!(far < 2e-4))
                fail_msg("after case %zu, without: off by %g", i, far);
            for (size_t u = 0; u < count; u++)
                free((char *)(uintptr_t)uses[u].path);
        }
    print_message("    %zu sets within %.2g\n", i, worst);
    json_decref(cases);
    pipeline_destroy(&pipeline);
}

static void taking_a_set_off_leaves_the_very_bytes(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct adapter_use use = {FOLDER "kohya.safetensors", "kohya", 1};
    struct image_request plain = request(NULL, 0), with = request(&use, 1);
    struct image images[3];
    const struct image_request *order[] = {&plain, &with, &plain};
    for (size_t i = 0; i < 3; i++)
        assert_ok(
            pipeline_render(pipeline, order[i], 1, NULL, NULL, &images[i], &error));
    size_t bytes = images[0].c * images[0].h * images[0].w * sizeof(float);
    assert_memory_equal(images[0].latents, images[2].latents, bytes);
    assert_memory_not_equal(images[0].latents, images[1].latents, bytes);
    for (size_t i = 0; i < 3; i++)
        image_clear(&images[i]);
    pipeline_destroy(&pipeline);
}

static void assert_refused(struct pipeline *pipeline, const char *path,
                           const char *sentence)
{
    struct adapter_use use = {path, "x.safetensors", 1};
    struct image_request wanted = request(&use, 1);
    struct image image;
    struct error error = {0};
    assert_false(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(error.text, sentence);
}

/* One tensor of zeros in a file of its own. */
static void write_tensors(const char *path, const char *const *names, size_t count,
                          const size_t shape[2])
{
    struct buffer header = {0};
    size_t bytes = shape[0] * shape[1] * 4;
    for (size_t i = 0; i < count; i++)
        assert_true(buffer_printf(&header, NULL,
                                  "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%zu,%zu],"
                                  "\"data_offsets\":[%zu,%zu]}",
                                  i ? "," : "{", names[i], shape[0], shape[1],
                                  i * bytes, (i + 1) * bytes));
    assert_true(buffer_printf(&header, NULL, "}"));
    struct buffer file = {0};
    uint64_t size = header.size;
    assert_true(buffer_append(&file, &size, sizeof size, NULL));
    assert_true(buffer_append(&file, header.data, header.size, NULL));
    uint8_t *zeros = buffer_room(&file, count * bytes, NULL);
    memset(zeros, 0, count * bytes);
    file.size += count * bytes;
    assert_true(path_write(path, file.data, file.size, 0600, NULL));
    buffer_clear(&header);
    buffer_clear(&file);
}

static void what_does_not_fit_is_named(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    char *path = path_format("/tmp/lora-%d.safetensors", (int)getpid());
    static const struct {
        const char *names[2];
        const char *sentence;
    } cases[] = {
        {{"lora_unet_nowhere.lora_down.weight", "lora_unet_nowhere.lora_up.weight"},
         "x.safetensors: key lora_unet_nowhere.lora_down.weight: the model has no such "
         "layer; is it for another family?"},
        {{"lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.alpha"},
         "x.safetensors: key lora_unet_conv_in.lora_down.weight: there is no lora_up "
         "beside it"},
        {{"lora_unet_conv_in.hada_w1_a", "lora_unet_conv_in.hada_w1_b"},
         "x.safetensors: key lora_unet_conv_in.hada_w1_a: its factors do not fit each "
         "other"},
        {{"lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.lora_up.weight"},
         "x.safetensors: key lora_unet_conv_in.lora_down.weight: lora_down 2x3x1x1 and "
         "lora_up 2x3x1x1 do not fit a layer of 20x4x3x3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_tensors(path, cases[i].names, 2, (size_t[]){2, 3});
        assert_refused(pipeline, path, cases[i].sentence);
    }
    /* and the model is as it was */
    assert_true(distance_to(pipeline, NULL, 0, "none.latents") < 2e-4);
    unlink(path);
    free(path);
    pipeline_destroy(&pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_alone_and_together_renders_as_in_diffusers),
        cmocka_unit_test(taking_a_set_off_leaves_the_very_bytes),
        cmocka_unit_test(what_does_not_fit_is_named),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
