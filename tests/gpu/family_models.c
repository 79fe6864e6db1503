/* Models of all families and layouts: text, one pass of UNet and VAE, and whole runs, as
 * diffusers computes them. */
#include <stdio.h>
#include <stdlib.h>

#include "base/path.h"
#include "tests/gpu/support_family.h"
#include "tests/gpu/support_run.h"
#include "tests/invented.h"
#include "worker/sd/model.h"
#include "worker/sd/pipeline.h"
#include "worker/sd/resize.h"

struct pass {
    const struct model *model;
    struct step step;
    struct tensor y, x, context, added, guidance, step_buffer;
};

static void predict(struct stream *s, void *context)
{
    struct pass *pass = context;
    struct unet_extra extra = {.added = &pass->added, .guidance = &pass->guidance};
    step_write(s, pass->step_buffer.memory, &pass->step);
    unet_forward(s, pass->y, pass->x, pass->step_buffer.memory, pass->context, &extra,
                 &pass->model->unet);
}

static void decode(struct stream *s, void *context)
{
    struct pass *pass = context;
    vae_decode(s, pass->y, pass->x, &pass->model->vae);
}

static void encode(struct stream *s, void *context)
{
    struct pass *pass = context;
    vae_encode(s, pass->y, pass->x, &pass->model->vae);
}

static void pass_clear(struct pass *pass)
{
    struct tensor *tensors[] = {&pass->y,     &pass->x,        &pass->context,
                                &pass->added, &pass->guidance, &pass->step_buffer};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tensor_destroy(tensors[i], gpu);
}

/* Runs it and compares y with the golden tensor. */
static void check_pass(struct pass *pass, void (*enqueue)(struct stream *, void *),
                       const char *name, const char *tensor)
{
    struct golden_tensor want = family_tensor(name, tensor);
    run_stream(DTYPE_F32, enqueue, pass);
    float *found = tensor_values_nchw(&pass->y);
    /* a tiny VAE's latents are the first half of its moments */
    assert_true(want.count <= tensor_count(&pass->y));
    assert_golden(tensor, found, &want, 1e-4);
    free(found);
    free(want.values);
    pass_clear(pass);
}

static struct tensor upload(const char *name, const char *tensor)
{
    struct golden_tensor golden = family_tensor(name, tensor);
    struct tensor into;
    if (golden.dims == 4)
        into = tensor_from_nchw(DTYPE_F32, &golden);
    else
        into = tensor_from(DTYPE_F32, golden.shape[0], 1, golden.shape[1],
                           golden.shape[2], golden.values);
    free(golden.values);
    return into;
}

/* The pooled text and the time ids as the added embedding takes them. */
static struct tensor upload_added(const struct model *model, const char *name)
{
    struct golden_tensor pooled = family_tensor(name, "unet.pooled");
    struct golden_tensor ids = family_tensor(name, "unet.ids");
    size_t width = model->unet.config.added;
    float *row = calloc(width, sizeof *row);
    unet_added_values(&model->unet, pooled.values, ids.values, ids.count, row);
    struct tensor added = tensor_from(DTYPE_F32, 1, 1, 1, width, row);
    free(row);
    free(ids.values);
    free(pooled.values);
    return added;
}

/* A guidance of 8.5, where the model is told. */
static struct tensor upload_guidance(const struct model *model)
{
    size_t width = model->unet.config.guidance;
    float *row = calloc(width + 1, sizeof *row);
    if (width)
        unet_guidance_values(&model->unet, 8.5, row);
    struct tensor guidance = {0};
    if (width)
        guidance = tensor_from(DTYPE_F32, 1, 1, 1, width, row);
    free(row);
    return guidance;
}

static void check_unet(const struct model *model, const char *name)
{
    const struct unet_config *c = &model->unet.config;
    struct pass pass = {.model = model, .step = {.timestep = 500.5F}};
    pass.x = upload(name, "unet.sample");
    pass.context = upload(name, "unet.context");
    pass.y = tensor_from(DTYPE_F32, 1, pass.x.h, pass.x.w, c->out_channels, NULL);
    pass.step_buffer =
        tensor_from(DTYPE_F32, 1, 1, 1, sizeof(struct step) / sizeof(float), NULL);
    if (c->added)
        pass.added = upload_added(model, name);
    pass.guidance = upload_guidance(model);
    check_pass(&pass, predict, name, "unet.out");
}

/* x gets the channels of class 3. */
static void append_class(struct tensor *x, const struct model *model)
{
    size_t places = x->h * x->w, more = model->class_width, c = x->c + more;
    float *from = tensor_values(x), *into = calloc(places * c, sizeof *into);
    for (size_t i = 0; i < places; i++) {
        memcpy(into + i * c, from + i * x->c, x->c * sizeof *into);
        model_class_channels(model, 3, 1, into + i * c + x->c);
    }
    struct tensor joined = tensor_from(DTYPE_F32, 1, x->h, x->w, c, into);
    tensor_destroy(x, gpu);
    *x = joined;
    free(from);
    free(into);
}

/* A model of pixels: class 3 where it knows classes. */
static void check_pixel_unet(const struct model *model, const char *name)
{
    const struct unet *unet = &model->unet;
    struct pass pass = {.model = model, .step = {.timestep = 500}};
    size_t width = unet_added_width(unet);
    float *row = calloc(width + 1, sizeof *row);
    pass.x = upload(name, "unet.sample");
    if (model->class_width)
        append_class(&pass.x, model);
    pass.y =
        tensor_from(DTYPE_F32, 1, pass.x.h, pass.x.w, unet->config.out_channels, NULL);
    pass.step_buffer =
        tensor_from(DTYPE_F32, 1, 1, 1, sizeof(struct step) / sizeof(float), NULL);
    if (width) {
        unet_class_values(unet, 3, row);
        pass.added = tensor_from(DTYPE_F32, 1, 1, 1, width, row);
    }
    free(row);
    check_pass(&pass, predict, name, "unet.out");
}

static void check_vae(const struct model *model, const char *name)
{
    size_t f = vae_factor(&model->vae), c = model->vae.config.latent_channels;
    struct pass pass = {.model = model, .x = upload(name, "vae.latents")};
    pass.y = tensor_from(DTYPE_F32, 1, pass.x.h * f, pass.x.w * f, 3, NULL);
    check_pass(&pass, decode, name, "vae.decoded");
    pass = (struct pass){.model = model, .x = upload(name, "vae.picture")};
    pass.y = tensor_from(DTYPE_F32, 1, pass.x.h / f, pass.x.w / f, 2 * c, NULL);
    check_pass(&pass, encode, name, "vae.moments");
}

/* start, words, end, padding */
static void make_ids(const struct text_part *part, const char *prompt, int32_t ids[77])
{
    int32_t *words;
    size_t count, at = 0;
    assert_ok(tokenizer_encode(part->tokenizer, prompt, &words, &count, &error));
    ids[at++] = tokenizer_start(part->tokenizer);
    for (size_t i = 0; i < count; i++)
        ids[at++] = words[i];
    ids[at++] = tokenizer_end(part->tokenizer);
    while (at < 77)
        ids[at++] = tokenizer_pad(part->tokenizer);
    free(words);
}

static void check_text(struct model *model, const char *name, const char *prompt,
                       size_t which, size_t number)
{
    char z_name[60], pooled_name[60];
    int32_t ids[77];
    const struct text_part *part = &model->text.part[which];
    bool pools = model->text.pooled && which == model->text.pooled_by;
    snprintf(z_name, sizeof z_name, "%.5s.%zu.z", prompt, number);
    snprintf(pooled_name, sizeof pooled_name, "%.5s.%zu.pooled", prompt, number);
    struct golden_tensor want = family_tensor(name, z_name), want_pooled = {0};
    float *z = calloc(want.count, sizeof *z);
    float *pooled = calloc(model->text.pooled + 1, sizeof *pooled);
    assert_int_equal(want.count, 77 * part->encoder.c);
    make_ids(part, prompt, ids);
    assert_ok(text_stack_encode(&model->text, which, ids, NULL, 1, 77, z,
                                pools ? pooled : NULL, &error));
    assert_golden(z_name, z, &want, 1e-4);
    if (pools) {
        want_pooled = family_tensor(name, pooled_name);
        assert_int_equal(want_pooled.count, model->text.pooled);
        assert_golden(pooled_name, pooled, &want_pooled, 1e-4);
    }
    free(pooled);
    free(z);
    free(want_pooled.values);
    free(want.values);
}

static void check_run(struct pipeline *pipeline, const char *name, const json_t *run,
                      size_t i)
{
    char latents[40], pixels[40];
    struct image_request request = run_request(run);
    request.original_width = (size_t)run_number(run, "original_width", 0);
    request.original_height = (size_t)run_number(run, "original_height", 0);
    request.crop_x = (size_t)run_number(run, "crop_x", 0);
    request.crop_y = (size_t)run_number(run, "crop_y", 0);
    request.aesthetic = run_number(run, "aesthetic", 6);
    request.class = (size_t)run_number(run, "class", 0);
    struct image image;
    struct pixels picture = invented_picture("picture", request.width, request.height);
    struct pixels mask = invented_picture("mask", request.width, request.height);
    const char *mode = json_string_value(json_object_get(run, "mode"));
    bool edits = mode && strcmp(mode, "edit") == 0;
    request.init = json_object_get(run, "strength") && !edits ? &picture : NULL;
    request.image = edits ? &picture : NULL;
    request.image_cfg = 1.5;
    request.mask = mode && strcmp(mode, "inpaint") == 0 ? &mask : NULL;
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    free(picture.rgb);
    free(mask.rgb);
    snprintf(latents, sizeof latents, "%zu.latents", i);
    snprintf(pixels, sizeof pixels, "%zu.pixels", i);
    struct golden_tensor want = family_tensor(name, latents);
    assert_int_equal(want.count, image.c * image.h * image.w);
    assert_golden(latents, image.latents, &want, 2e-3);
    free(want.values);
    if (request.steps == 20 && json_object_get(run, "prompt"))
        assert_true(pixel_distance(&image, family_tensor(name, pixels)) < 0.6);
    image_clear(&image);
}

static void check_runs(const struct family *family, const char *name)
{
    const json_t *runs = json_object_get(family->golden, "runs"), *run;
    struct error error = {0};
    struct pipeline *pipeline = pipeline_load(gpu, &family->files, DTYPE_F32, &error);
    if (!pipeline)
        fail_msg("%s: %s", name, error.text);
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)runs, i, run)
        check_run(pipeline, name, run, i);
    pipeline_destroy(&pipeline);
}

static void check_family(const char *name)
{
    struct family family;
    struct model model;
    struct error error = {0};
    print_message("  %s\n", name);
    family_open(&family, name);
    if (!model_load(&model, gpu, &family.files, DTYPE_F32, &error))
        fail_msg("%s: %s", name, error.text);
    if (model.pixels) {
        check_pixel_unet(&model, name);
    } else {
        check_unet(&model, name);
        check_vae(&model, name);
    }
    for (size_t i = 0; i < model.text.count; i++) {
        bool second = model.text.count == 1 && model.text.penultimate;
        check_text(&model, name, golden_text(family.golden, "prompt"), i, i + second);
        check_text(&model, name, "", i, i + second);
    }
    model_clear(&model);
    check_runs(&family, name);
    family_close(&family);
}

static void an_sdxl_folder_equals_diffusers(void **state)
{
    check_family("sdxl");
}

static void an_sdxl_refiner_folder_equals_diffusers(void **state)
{
    check_family("refiner");
}

/* force_upcast: the VAE's weights and activations stay f32; the rest is half. */
static void in_half_precision_sdxls_vae_stays_in_float(void **state)
{
    struct family family;
    struct model model;
    struct image image;
    struct error error = {0};
    family_open(&family, "sdxl");
    if (!model_load(&model, gpu, &family.files, DTYPE_F16, &error))
        fail_msg("%s", error.text);
    assert_int_equal(model.vae.dtype, DTYPE_F32);
    check_vae(&model, "sdxl");
    model_clear(&model);
    struct pipeline *pipeline = pipeline_load(gpu, &family.files, DTYPE_F16, &error);
    assert_non_null(pipeline);
    const json_t *run =
        json_array_get(json_object_get(family.golden, "runs"), 1); /* 20 steps */
    struct image_request request = run_request(run);
    if (!pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error))
        fail_msg("%s", error.text);
    struct golden_tensor want = family_tensor("sdxl", "1.latents");
    assert_golden("1.latents in f16", image.latents, &want, 2e-2);
    double pixels = pixel_distance(&image, family_tensor("sdxl", "1.pixels"));
    print_message("    pixels within %.2g of 255\n", pixels);
    assert_true(pixels < 3);
    free(want.values);
    image_clear(&image);
    pipeline_destroy(&pipeline);
    family_close(&family);
}

static const json_t *tensors_of(const struct family *family, const char *file)
{
    return json_object_get(
        json_object_get(json_object_get(family->golden, "files"), file), "tensors");
}

/* As save_pretrained writes them with max_shard_size and with variant="fp16". */
static void weights_in_several_files_and_variants_are_found(void **state)
{
    struct family family;
    struct model model;
    family_open(&family, "sdxl");
    char *stem = path_format("%s/unet/diffusion_pytorch_model", family.folder);
    char *vae =
        path_format("%s/vae/diffusion_pytorch_model.safetensors", family.folder);
    char *half =
        path_format("%s/vae/diffusion_pytorch_model.fp16.safetensors", family.folder);
    split_invented(stem,
                   tensors_of(&family, "unet/diffusion_pytorch_model.safetensors"));
    assert_int_equal(rename(vae, half), 0);
    model_files_clear(&family.files);
    assert_ok(model_files_from_folder(&family.files, family.folder, &error));
    assert_ok(model_load(&model, gpu, &family.files, DTYPE_F32, &error));
    check_unet(&model, "sdxl");
    check_vae(&model, "sdxl");
    model_clear(&model);
    free(half);
    free(vae);
    free(stem);
    family_close(&family);
}

static void models_of_pixels_equal_diffusers(void **state)
{
    check_family("pixels_root");
    check_family("pixels_class");
    check_family("pixels_channels");
}

static void single_files_of_each_family_equal_diffusers(void **state)
{
    check_family("sd1_single");
    check_family("sd2_single");
    check_family("sdxl_single");
    check_family("refiner_single");
}

static void single_files_that_inpaint_or_edit_equal_diffusers(void **state)
{
    check_family("sd1_inpaint_single");
    check_family("sd1_edit_single");
    check_family("sd2_inpaint_single");
}

static void single_files_say_how_they_predict(void **state)
{
    check_family("sd2_base_single");
    check_family("sdxl_v_single");
}

static void latents_mean_and_std_of_sdxl_equal_diffusers(void **state)
{
    check_family("sdxl_normalised");
}

static void a_folder_with_a_tiny_vae_equals_diffusers(void **state)
{
    check_family("sd1_taesd");
}

static void models_that_are_told_their_guidance_equal_diffusers(void **state)
{
    check_family("lcm");
    check_family("lcm_xl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_sdxl_folder_equals_diffusers),
        cmocka_unit_test(an_sdxl_refiner_folder_equals_diffusers),
        cmocka_unit_test(in_half_precision_sdxls_vae_stays_in_float),
        cmocka_unit_test(weights_in_several_files_and_variants_are_found),
        cmocka_unit_test(models_of_pixels_equal_diffusers),
        cmocka_unit_test(single_files_of_each_family_equal_diffusers),
        cmocka_unit_test(single_files_that_inpaint_or_edit_equal_diffusers),
        cmocka_unit_test(single_files_say_how_they_predict),
        cmocka_unit_test(latents_mean_and_std_of_sdxl_equal_diffusers),
        cmocka_unit_test(a_folder_with_a_tiny_vae_equals_diffusers),
        cmocka_unit_test(models_that_are_told_their_guidance_equal_diffusers),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
