/* Model folders that are not what they should be. Each case takes the tiny model's list of
 * files and puts a changed file in the place of one. */
#include <unistd.h>

#include "base/path.h"
#include "tests/gpu/support_model.h"

#define UNET "unet/diffusion_pytorch_model.safetensors"
#define VAE  "vae/diffusion_pytorch_model.safetensors"
#define TEXT "text_encoder/model.safetensors"

static char path[] = "/tmp/farm-broken-XXXXXX";

static struct model_files tiny_files(void)
{
    struct model_files files;
    assert_ok(model_files_from_folder(&files, FARM_GOLDEN_DIR "/tiny", &error));
    return files;
}

static struct buffer read_original(const char *name)
{
    struct buffer bytes = {0};
    char *original = model_path("tiny", name);
    assert_ok(path_read(original, 64 << 20, &bytes, &error));
    free(original);
    return bytes;
}

static struct pipeline *load_with(const char *name, const struct buffer *bytes,
                                  struct error *error)
{
    struct model_files files = tiny_files();
    assert_true(path_write(path, bytes->data, bytes->size, 0600, error));
    for (size_t i = 0; i < files.count; i++) {
        if (strcmp(files.file[i].name, name) != 0)
            continue;
        free(files.file[i].path);
        files.file[i].path = path_format("%s", path);
    }
    struct pipeline *pipeline = pipeline_load(gpu, &files, DTYPE_F32, error);
    model_files_clear(&files);
    return pipeline;
}

static void assert_refused(const char *name, const struct buffer *bytes,
                           const char *sentence)
{
    struct error error = {0};
    struct pipeline *pipeline = load_with(name, bytes, &error);
    assert_null(pipeline);
    assert_int_equal(error.kind, ERROR_INPUT);
    if (strcmp(error.text, sentence) != 0)
        fail_msg("said: %s\nexpected: %s", error.text, sentence);
    assert_int_equal(gpu_allocated(gpu), 0);
}

/* Key `key` of a JSON file set to what `json` says. */
static void assert_key_refused(const char *name, const char *key, const char *json,
                               const char *sentence)
{
    struct buffer bytes = read_original(name);
    json_t *object = json_loadb((char *)bytes.data, bytes.size, 0, NULL);
    assert_non_null(object);
    json_object_set_new(object, key, json_loads(json, JSON_DECODE_ANY, NULL));
    bytes.size = 0;
    char *text = json_dumps(object, 0);
    assert_ok(buffer_append(&bytes, text, strlen(text), &error));
    assert_refused(name, &bytes, sentence);
    free(text);
    json_decref(object);
    buffer_clear(&bytes);
}

/* What stands in a tensor's name, and what instead. */
struct renaming {
    const char *from, *to;
};

static char *renamed(const char *tensor, const struct renaming *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *at = strstr(tensor, list[i].from);
        if (at)
            return path_format("%.*s%s%s", (int)(at - tensor), tensor, list[i].to,
                               at + strlen(list[i].from));
    }
    return path_format("%s", tensor);
}

/* A safetensors file with other names for its tensors. */
static struct buffer rename_tensors(const char *name, const struct renaming *list,
                                    size_t count)
{
    struct buffer bytes = read_original(name), result = {0};
    uint64_t size, result_size;
    memcpy(&size, bytes.data, sizeof size);
    json_t *header = json_loadb((char *)bytes.data + 8, size, 0, NULL), *value;
    json_t *other = json_object();
    const char *tensor;
    json_object_foreach(header, tensor, value)
    {
        char *now = renamed(tensor, list, count);
        json_object_set(other, now, value);
        free(now);
    }
    char *text = json_dumps(other, 0);
    result_size = strlen(text);
    assert_ok(
        buffer_append(&result, &result_size, 8, &error) &&
        buffer_append(&result, text, result_size, &error) &&
        buffer_append(&result, bytes.data + 8 + size, bytes.size - 8 - size, &error));
    free(text);
    json_decref(other);
    json_decref(header);
    buffer_clear(&bytes);
    return result;
}

static void a_missing_file_is_named(void **state)
{
    struct model_files files = tiny_files();
    struct error error = {0};
    for (size_t i = 0; i < files.count; i++)
        if (strcmp(files.file[i].name, "vae/config.json") == 0)
            memcpy(files.file[i].name, "Vae", 3);
    assert_null(pipeline_load(gpu, &files, DTYPE_F32, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(error.text,
                        "vae/config.json is missing; expected a model folder "
                        "as diffusers saves it");
    model_files_clear(&files);
}

static void a_missing_tensor_is_named(void **state)
{
    struct buffer bytes = rename_tensors(
        UNET, &(struct renaming){"mid_block.resnets.1.conv2.bias", "x"}, 1);
    assert_refused(UNET, &bytes,
                   UNET ": tensor mid_block.resnets.1.conv2.bias: missing");
    buffer_clear(&bytes);
}

static void a_tensor_too_many_is_named(void **state)
{
    assert_key_refused("vae/config.json", "use_quant_conv", "false",
                       VAE
                       ": tensor quant_conv.bias: the configuration has no place for "
                       "it; is config.json another model's?");
}

static void a_tensor_of_another_shape_is_named_with_both(void **state)
{
    assert_key_refused("unet/config.json", "in_channels", "9",
                       UNET ": tensor conv_in.weight: shape 20x4x3x3, expected "
                            "20x9x3x3");
    assert_key_refused("text_encoder/config.json", "vocab_size", "1000000",
                       TEXT ": tensor text_model.embeddings.token_embedding.weight: "
                            "shape 1014x32, expected 1000000x32");
}

static void a_file_cut_short_is_refused(void **state)
{
    struct buffer bytes = read_original(VAE);
    struct error error = {0};
    for (size_t parts = 0; parts < 4; parts++) {
        struct buffer cut = {.data = bytes.data, .size = bytes.size * parts / 4};
        assert_null(load_with(VAE, &cut, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_memory_equal(error.text, VAE ": ", sizeof VAE + 1);
    }
    buffer_clear(&bytes);
}

static void broken_json_is_refused_with_its_line(void **state)
{
    struct buffer bytes = read_original("unet/config.json");
    bytes.size = bytes.size / 2;
    struct error error = {0};
    assert_null(load_with("unet/config.json", &bytes, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    const char start[] = "unet/config.json: no valid JSON in line ";
    assert_memory_equal(error.text, start, sizeof start - 1);
    buffer_clear(&bytes);
}

static void models_of_other_kinds_are_refused_by_name(void **state)
{
    assert_key_refused(
        "model_index.json", "_class_name", "\"StableDiffusion3Pipeline\"",
        "model_index.json: _class_name is \"StableDiffusion3Pipeline\"; supported are "
        "DDPMPipeline, DDIMPipeline, StableDiffusionPipeline, "
        "StableDiffusionImg2ImgPipeline, "
        "StableDiffusionInpaintPipeline, StableDiffusionInstructPix2PixPipeline, "
        "LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline, "
        "StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline, "
        "StableDiffusionXLInpaintPipeline, StableDiffusionXLInstructPix2PixPipeline");
    assert_key_refused(
        "text_encoder/config.json", "hidden_act", "\"maxout\"",
        "text_encoder/config.json: hidden_act is \"maxout\"; supported are "
        "quick_gelu, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish, mish, "
        "relu");
    assert_key_refused("vae/config.json", "out_channels", "1",
                       "vae/config.json: out_channels is 1; only 3 is supported");
}

static void assert_taken(const char *file, const struct renaming *list, size_t count)
{
    struct error error = {0};
    struct buffer bytes = rename_tensors(file, list, count);
    struct pipeline *pipeline = load_with(file, &bytes, &error);
    if (!pipeline)
        fail_msg("%s", error.text);
    pipeline_destroy(&pipeline);
    buffer_clear(&bytes);
}

/* Every value of the file becomes f16's NaN. */
static void assert_not_finite(const char *file, const char *sentence)
{
    struct buffer bytes = read_original(file);
    struct error error = {0};
    struct image image;
    struct image_request request = {.prompt = "cat",
                                    .negative = "",
                                    .seed = 7,
                                    .steps = 2,
                                    .cfg = 5,
                                    .sampler = "Euler",
                                    .schedule = "Automatic",
                                    .clip_skip = 1};
    uint64_t header;
    memcpy(&header, bytes.data, sizeof header);
    for (size_t i = 8 + header; i < bytes.size; i++)
        bytes.data[i] = 0x7e;
    struct pipeline *pipeline = load_with(file, &bytes, &error);
    assert_non_null(pipeline);
    assert_false(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    assert_int_equal(error.kind, ERROR_DEVICE);
    assert_string_equal(error.text, sentence);
    pipeline_destroy(&pipeline);
    buffer_clear(&bytes);
}

static void results_that_are_not_finite_are_errors_of_the_device(void **state)
{
    assert_not_finite(UNET, "seed 7: latents are not finite after 2 steps");
    assert_not_finite(VAE, "the decoded picture has values that are not finite");
}

static void spellings_of_older_and_newer_files_are_taken(void **state)
{
    static const struct renaming old_attention[] = {{"to_q", "query"},
                                                    {"to_k", "key"},
                                                    {"to_v", "value"},
                                                    {"to_out.0", "proj_attn"}};
    static const struct renaming no_outer[] = {{"text_model.", ""}};
    assert_taken(VAE, old_attention, 4);
    assert_taken(TEXT, no_outer, 1);
}

static int open_device_and_file(void **state)
{
    int file = mkstemp(path);
    return file < 0 || close(file) ? -1 : open_cpu_path(state);
}

static int close_device_and_file(void **state)
{
    return unlink(path) | close_gpu(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_missing_tensor_is_named),
        cmocka_unit_test(a_tensor_too_many_is_named),
        cmocka_unit_test(a_tensor_of_another_shape_is_named_with_both),
        cmocka_unit_test(a_file_cut_short_is_refused),
        cmocka_unit_test(broken_json_is_refused_with_its_line),
        cmocka_unit_test(models_of_other_kinds_are_refused_by_name),
        cmocka_unit_test(results_that_are_not_finite_are_errors_of_the_device),
        cmocka_unit_test(spellings_of_older_and_newer_files_are_taken),
    };
    return cmocka_run_group_tests(tests, open_device_and_file, close_device_and_file);
}
