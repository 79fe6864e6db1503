#include "tests/gpu/support_model.h"

static struct image_request request(const char *prompt, uint64_t seed)
{
    return (struct image_request){.prompt = prompt,
                                  .negative = "",
                                  .seed = seed,
                                  .steps = 2,
                                  .cfg = 5,
                                  .sampler = "Euler a",
                                  .schedule = "Automatic",
                                  .clip_skip = 1};
}

static void assert_same_image(const struct image *a, const struct image *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_memory_equal(a->rgb, b->rgb, a->width * a->height * 3);
    assert_memory_equal(a->latents, b->latents, a->c * a->h * a->w * sizeof(float));
}

static void an_image_is_the_same_alone_and_in_a_batch(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[] = {request("red apple", 1), request("cat", 2),
                                       request("cat", 3)};
    requests[1].negative = "dog";
    struct image together[3], alone;
    assert_ok(pipeline_render(pipeline, requests, 3, NULL, NULL, together, &error));
    for (size_t i = 0; i < 3; i++) {
        assert_ok(
            pipeline_render(pipeline, &requests[i], 1, NULL, NULL, &alone, &error));
        assert_same_image(&alone, &together[i]);
        image_clear(&alone);
    }
    assert_memory_not_equal(together[1].rgb, together[2].rgb, 64 * 64 * 3);
    for (size_t i = 0; i < 3; i++)
        image_clear(&together[i]);
    pipeline_destroy(&pipeline);
}

static bool count_steps(void *owner, size_t done, size_t of)
{
    size_t *last = owner;
    assert_true(done >= *last && done <= of && of == 4);
    *last = done;
    return true;
}

static void images_whose_steps_are_found_on_the_way_keep_to_themselves(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[] = {request("red apple", 1), request("cat", 2)};
    struct image together[2], alone;
    size_t done = 0;
    for (size_t i = 0; i < 2; i++)
        requests[i].sampler = "DPM adaptive";
    assert_ok(
        pipeline_render(pipeline, requests, 2, count_steps, &done, together, &error));
    assert_int_equal(done, 4);
    assert_ok(pipeline_render(pipeline, &requests[1], 1, NULL, NULL, &alone, &error));
    assert_same_image(&alone, &together[1]);
    assert_memory_not_equal(together[0].rgb, together[1].rgb, 64 * 64 * 3);
    image_clear(&alone);
    for (size_t i = 0; i < 2; i++)
        image_clear(&together[i]);
    pipeline_destroy(&pipeline);
}

static void a_size_comes_back_the_same_after_others(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request wanted = request("red apple", 1), other = wanted;
    struct image first, image;
    assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &first, &error));
    for (size_t i = 1; i <= 6; i++) {
        other.width = 24 + 8 * i;
        other.height = 104;
        other.cfg = i % 2 ? 5 : 1;
        assert_ok(pipeline_render(pipeline, &other, 1, NULL, NULL, &image, &error));
        assert_int_equal(image.width, other.width);
        assert_int_equal(image.height, 104);
        assert_int_equal(image.h, 13);
        image_clear(&image);
    }
    assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
    assert_same_image(&first, &image);
    image_clear(&image);
    image_clear(&first);
    pipeline_destroy(&pipeline);
}

/* Kernels enqueued by the steps of a run, between the first and the last progress. */
struct counted {
    uint64_t from, to;
    size_t calls, of, stop_at;
};

static bool count_launches(void *owner, size_t done, size_t of)
{
    struct counted *self = owner;
    assert_int_equal(done, self->calls);
    self->calls++;
    self->of = of;
    if (done == 0)
        self->from = gpu_launches(gpu);
    self->to = gpu_launches(gpu);
    return !self->stop_at || done < self->stop_at;
}

static void a_batch_of_eight_takes_as_many_launches_a_step_as_one(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[8];
    struct image images[8];
    uint64_t launches[2];
    for (size_t i = 0; i < 8; i++)
        requests[i] = request("cat", i);
    for (size_t i = 0; i < 2; i++) {
        struct counted counted = {0};
        size_t count = i ? 8 : 1;
        assert_ok(pipeline_render(pipeline, requests, count, count_launches, &counted,
                                  images, &error));
        launches[i] = counted.to - counted.from;
        for (size_t j = 0; j < count; j++)
            image_clear(&images[j]);
    }
    print_message("    %llu launches in 2 steps\n", (unsigned long long)launches[0]);
    assert_true(launches[0] > 2);
    assert_int_equal(launches[0], launches[1]);
    pipeline_destroy(&pipeline);
}

static void progress_tells_each_step_and_may_stop_the_run(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request wanted = request("cat", 1);
    struct image image;
    struct counted counted = {0};
    wanted.steps = 5;
    assert_ok(pipeline_render(pipeline, &wanted, 1, count_launches, &counted, &image,
                              &error));
    assert_int_equal(counted.of, 5);
    assert_int_equal(counted.calls, 6);
    image_clear(&image);

    counted = (struct counted){.stop_at = 3};
    struct error error = {0};
    assert_false(pipeline_render(pipeline, &wanted, 1, count_launches, &counted, &image,
                                 &error));
    assert_int_equal(error.kind, ERROR_BUSY);
    assert_string_equal(error.text, "stopped");
    assert_int_equal(counted.calls, 4);
    pipeline_destroy(&pipeline);
}

static void a_text_known_is_not_encoded_again(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request wanted = request("cat", 1);
    struct image image;
    uint64_t launches[3];
    for (size_t i = 0; i < 3; i++) {
        uint64_t before = gpu_launches(gpu);
        wanted.prompt = i < 2 ? "cat" : "dog";
        assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
        launches[i] = gpu_launches(gpu) - before;
        image_clear(&image);
    }
    assert_true(launches[1] < launches[2]);
    assert_true(launches[2] < launches[0]);
    pipeline_destroy(&pipeline);
}

/* Another image's texts are encoded after the first step. */
struct ahead {
    struct pipeline *pipeline;
    const struct image_request *next;
    uint64_t before, launches;
};

static bool encode_next(void *owner, size_t done, size_t of)
{
    struct ahead *self = owner;
    if (done == 0)
        self->before = gpu_launches(gpu);
    uint64_t from = gpu_launches(gpu);
    if (done == 1 && self->next)
        assert_ok(pipeline_encode_ahead(self->pipeline, self->next, &error));
    self->launches += gpu_launches(gpu) - from;
    return true;
}

static void texts_encoded_ahead_are_found_and_leave_no_trace(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request requests[2] = {request("cat", 1), request("(dog:1.2)", 2)};
    struct image alone[2], image;
    for (size_t i = 0; i < 2; i++)
        assert_ok(
            pipeline_render(pipeline, &requests[i], 1, NULL, NULL, &alone[i], &error));
    pipeline_destroy(&pipeline);

    pipeline = load_pipeline("tiny");
    struct ahead ahead = {.pipeline = pipeline, .next = &requests[1]};
    struct ahead after = {.pipeline = pipeline};
    struct ahead *const owners[] = {&ahead, &after};
    for (size_t i = 0; i < 2; i++) {
        uint64_t before = gpu_launches(gpu);
        assert_ok(pipeline_render(pipeline, &requests[i], 1, encode_next, owners[i],
                                  &image, &error));
        assert_true(i == 0 ? owners[i]->before > before : owners[i]->before == before);
        assert_memory_equal(image.rgb, alone[i].rgb, image.width * image.height * 3);
        image_clear(&image);
        image_clear(&alone[i]);
    }
    assert_true(ahead.launches > 0);

    const struct adapter_use lora = {FARM_GOLDEN_DIR "/lora/kohya.safetensors",
                                     "kohya.safetensors", 1};
    struct image_request other = request("fox", 3);
    other.loras = &lora; /* whose weights are not there */
    other.lora_count = 1;
    ahead = (struct ahead){.pipeline = pipeline, .next = &other};
    assert_ok(pipeline_render(pipeline, &requests[0], 1, encode_next, &ahead, &image,
                              &error));
    assert_int_equal(ahead.launches, 0);
    image_clear(&image);
    pipeline_destroy(&pipeline);
}

static void a_prompt_too_long_is_said_to_be_truncated(void **state)
{
    struct pipeline *pipeline = load_pipeline("emoji");
    char text[4 * 76 + 1] = "";
    struct image image;
    for (size_t words = 75; words <= 76; words++) {
        for (size_t i = 0; i < words; i++)
            memcpy(text + 4 * i, "cat ", 5);
        struct image_request wanted = request(text, 1);
        wanted.steps = 1;
        wanted.syntax = "plain";
        assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
        assert_int_equal(image.truncated, words == 76);
        image_clear(&image);
    }
    pipeline_destroy(&pipeline);
}

static void the_models_own_size_is_the_default(void **state)
{
    struct pipeline *pipeline = load_pipeline("emoji");
    size_t width, height;
    pipeline_default_size(pipeline, &width, &height);
    assert_int_equal(width, 64);
    assert_int_equal(height, 64);
    assert_int_equal(pipeline_factor(pipeline), 4);
    pipeline_destroy(&pipeline);
}

static void assert_refused(struct pipeline *pipeline, struct image_request wanted,
                           const char *sentence)
{
    struct image image;
    struct error error = {0};
    assert_false(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(error.text, sentence);
}

static void a_size_that_the_unet_halves_to_nothing_is_refused(void **state)
{
    struct pipeline *pipeline = load_pipeline("variant"); /* downsample_padding 0 */
    struct image_request wanted = request("cat", 1);
    size_t factor = pipeline_factor(pipeline);
    char sentence[200];
    wanted.width = wanted.height = 3 * factor;
    snprintf(sentence, sizeof sentence,
             "size %zux%zu: this model halves its latents to nothing; each side has at "
             "least %zu pixels",
             wanted.width, wanted.height, 4 * factor);
    assert_refused(pipeline, wanted, sentence);
    wanted.width = wanted.height = 4 * factor;
    struct image image;
    assert_ok(pipeline_render(pipeline, &wanted, 1, NULL, NULL, &image, &error));
    image_clear(&image);
    pipeline_destroy(&pipeline);
}

static void what_a_request_asks_wrongly_is_said(void **state)
{
    struct pipeline *pipeline = load_pipeline("tiny");
    struct image_request good = request("cat", 1), wanted;

    wanted = good;
    wanted.width = 100;
    assert_refused(pipeline, wanted,
                   "width 100: this model's sizes are multiples of 8");
    wanted = good;
    wanted.height = 1 << 20;
    assert_refused(pipeline, wanted, "height 1048576: the most is 4096");
    wanted = good;
    wanted.cfg = (double)NAN;
    assert_refused(pipeline, wanted, "cfg nan: from -1000 to 1000");
    wanted = good;
    wanted.clip_skip = 4;
    assert_refused(
        pipeline, wanted,
        "prompt: clip skip 4: from 1 (what the model was trained with) to 3");

    struct image images[2];
    struct error error = {0};
    struct image_request uneven[] = {good, good};
    uneven[1].steps++;
    assert_false(pipeline_render(pipeline, uneven, 2, NULL, NULL, images, &error));
    assert_string_equal(error.text, "images of one batch differ in more than prompt, "
                                    "negative prompt and seed");
    assert_false(pipeline_render(pipeline, uneven, 0, NULL, NULL, images, &error));
    assert_string_equal(error.text, "a batch of 0: from 1 to 64 images");

    wanted = good;
    wanted.sampler = "Eulr";
    assert_false(pipeline_render(pipeline, &wanted, 1, NULL, NULL, images, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    wanted = good;
    wanted.prompt = "\xff\xfe";
    assert_false(pipeline_render(pipeline, &wanted, 1, NULL, NULL, images, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    pipeline_destroy(&pipeline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_the_same_alone_and_in_a_batch),
        cmocka_unit_test(images_whose_steps_are_found_on_the_way_keep_to_themselves),
        cmocka_unit_test(a_size_comes_back_the_same_after_others),
        cmocka_unit_test(a_batch_of_eight_takes_as_many_launches_a_step_as_one),
        cmocka_unit_test(progress_tells_each_step_and_may_stop_the_run),
        cmocka_unit_test(a_text_known_is_not_encoded_again),
        cmocka_unit_test(texts_encoded_ahead_are_found_and_leave_no_trace),
        cmocka_unit_test(a_prompt_too_long_is_said_to_be_truncated),
        cmocka_unit_test(the_models_own_size_is_the_default),
        cmocka_unit_test(a_size_that_the_unet_halves_to_nothing_is_refused),
        cmocka_unit_test(what_a_request_asks_wrongly_is_said),
    };
    return run_on_both_paths(tests);
}
