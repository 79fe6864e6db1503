/* LoRAs on SDXL: both text encoders, and a UNet whose layers have two names. The spellings
 * themselves are compared with diffusers in pipeline_loras.c. */
#include <unistd.h>

#include "base/path.h"
#include "tests/gpu/support_family.h"
#include "tests/gpu/support_run.h"
#include "worker/sd/lora_alias.h"
#include "worker/sd/model.h"

enum spelling { DIFFUSERS, SINGLE_FILE };

/* A file being written: header entries, and floats behind. */
struct writing {
    struct buffer header, data;
};

static void add_tensor(struct writing *self, const char *layer, const char *ending,
                       const size_t *shape, size_t dims)
{
    size_t count = 1, begin = self->data.size;
    assert_true(buffer_printf(&self->header, NULL,
                              "%s\"%s%s\":{\"dtype\":\"F32\",\"shape\":[",
                              self->header.size > 1 ? "," : "", layer, ending));
    for (size_t i = 0; i < dims; i++) {
        count *= shape[i];
        assert_true(
            buffer_printf(&self->header, NULL, "%s%zu", i ? "," : "", shape[i]));
    }
    for (size_t i = 0; i < count; i++) {
        float value = 0.02F * (float)((i * 7 + dims + shape[0]) % 11) - 0.1F;
        assert_true(buffer_append(&self->data, &value, sizeof value, NULL));
    }
    assert_true(buffer_printf(&self->header, NULL, "],\"data_offsets\":[%zu,%zu]}",
                              begin, self->data.size));
}

/* Factors of rank 1 for a layer, where the file has a name for it. */
static bool add_layer(struct writing *self, const struct model *model,
                      const struct layer_site *site, enum spelling spelling)
{
    static const char *const starts[] = {[LORA_TEXT] = "lora_te1_text_model_",
                                         [LORA_TEXT_2] = "lora_te2_text_model_",
                                         [LORA_UNET] = "lora_unet_"};
    char alias[LORA_LAYER_MOST], name[LORA_LAYER_MOST];
    const char *layer = site->name, *outer = "text_model.";
    if (strncmp(layer, outer, strlen(outer)) == 0)
        layer += strlen(outer);
    if (spelling == SINGLE_FILE && site->part == LORA_UNET) {
        assert_true(lora_alias(alias, &model->unet.config, site->name));
        layer = alias;
    }
    assert_true(lora_layer_name(name, layer));
    char *key = path_format("%s%s", starts[site->part], name);
    const struct host_tensor *weight = &site->weight;
    size_t down[4] = {1, weight->shape[1], weight->shape[2], weight->shape[3]};
    size_t up[4] = {weight->shape[0], 1, 1, 1};
    add_tensor(self, key, ".lora_down.weight", down, weight->dims);
    add_tensor(self, key, ".lora_up.weight", up, weight->dims);
    free(key);
    return true;
}

/* A LoRA for every layer of those parts; heap path. */
static char *write_lora(const struct model *model, enum spelling spelling,
                        const char *parts)
{
    struct writing writing = {0};
    size_t layers = 0;
    assert_true(buffer_printf(&writing.header, NULL, "{"));
    for (size_t i = 0; i < model->files; i++) {
        const struct layer_sites *sites = checkpoint_sites(model->file[i]);
        for (size_t j = 0; j < sites->count; j++)
            if (strchr(parts, '0' + (int)sites->item[j].part))
                layers += add_layer(&writing, model, &sites->item[j], spelling);
    }
    assert_true(layers > 10);
    assert_true(buffer_printf(&writing.header, NULL, "}"));
    struct buffer file = {0};
    uint64_t size = writing.header.size;
    assert_true(buffer_append(&file, &size, sizeof size, NULL));
    assert_true(buffer_append(&file, writing.header.data, writing.header.size, NULL));
    assert_true(buffer_append(&file, writing.data.data, writing.data.size, NULL));
    char *path = path_format("/tmp/family-lora-%d-%d-%s.safetensors", (int)getpid(),
                             (int)spelling, parts);
    assert_true(path_write(path, file.data, file.size, 0600, NULL));
    buffer_clear(&file);
    buffer_clear(&writing.header);
    buffer_clear(&writing.data);
    return path;
}

static struct image render(struct pipeline *pipeline, const char *path)
{
    struct adapter_use use = {path, "x.safetensors", 0.3};
    struct image image;
    struct image_request request = {.prompt = "a red cat",
                                    .negative = "",
                                    .seed = 1,
                                    .steps = 2,
                                    .cfg = 3,
                                    .aesthetic = 6,
                                    .sampler = "EulerDiscreteScheduler",
                                    .schedule = "Automatic",
                                    .clip_skip = 1,
                                    .loras = &use,
                                    .lora_count = path ? 1 : 0};
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    return image;
}

/* Every layer by either name gives the same bytes; each part changes the picture. */
static void check_family(const char *name)
{
    static const char *const parts[] = {"2", "0", "1", "012"};
    struct family family;
    struct model model;
    family_open(&family, name);
    assert_ok(model_load(&model, gpu, &family.files, DTYPE_F32, &error));
    struct pipeline *pipeline;
    assert_ok(pipeline = pipeline_load(gpu, &family.files, DTYPE_F32, &error));
    struct image plain = render(pipeline, NULL);
    size_t bytes = plain.c * plain.h * plain.w * sizeof(float);
    for (size_t i = 0; i < 4; i++) {
        char *ours = write_lora(&model, DIFFUSERS, parts[i]);
        char *theirs = write_lora(&model, SINGLE_FILE, parts[i]);
        struct image first = render(pipeline, ours), second = render(pipeline, theirs);
        assert_memory_equal(first.latents, second.latents, bytes);
        assert_memory_not_equal(first.latents, plain.latents, bytes);
        image_clear(&first);
        image_clear(&second);
        unlink(ours);
        unlink(theirs);
        free(ours);
        free(theirs);
    }
    image_clear(&plain);
    pipeline_destroy(&pipeline);
    model_clear(&model);
    family_close(&family);
}

static void every_layer_of_an_sdxl_folder_takes_a_lora_by_either_name(void **state)
{
    check_family("sdxl");
}

static void every_layer_of_an_sdxl_file_takes_a_lora_by_either_name(void **state)
{
    check_family("sdxl_single");
}

/* As many LoRAs and words of its own as the run names. */
static void check_adapted(struct pipeline *pipeline, const json_t *run, size_t i)
{
    struct embedding_file word = {FARM_GOLDEN_DIR "/families/mycat.safetensors",
                                  "mycat.safetensors"};
    struct adapter_use uses[4];
    struct image_request request = run_request(run);
    const json_t *loras = json_object_get(run, "loras");
    json_t *use;
    size_t u;
    char tensor[40];
    json_array_foreach((json_t *)(uintptr_t)loras, u, use)
    {
        const char *name = json_string_value(json_array_get(use, 0));
        uses[u] = (struct adapter_use){
            path_format(FARM_GOLDEN_DIR "/families/%s.safetensors", name), name,
            json_number_value(json_array_get(use, 1))};
    }
    request.loras = uses;
    request.lora_count = json_array_size(loras);
    request.embeddings = &word;
    request.embedding_count = 1;
    request.aesthetic = 6;
    struct image image;
    assert_ok(pipeline_render(pipeline, &request, 1, NULL, NULL, &image, &error));
    snprintf(tensor, sizeof tensor, "%zu.latents", i);
    struct golden_tensor want = family_tensor("sdxl_adapters", tensor);
    assert_int_equal(want.count, image.c * image.h * image.w);
    assert_golden(tensor, image.latents, &want, 5e-4);
    image_clear(&image);
    free(want.values);
    for (u = 0; u < request.lora_count; u++)
        free((char *)(uintptr_t)uses[u].path);
}

/* LoRAs of both encoders and all kinds of layers, and a word of three vectors in both. */
static void sdxls_loras_and_words_render_as_in_diffusers(void **state)
{
    struct family family;
    struct pipeline *pipeline;
    family_open(&family, "sdxl");
    assert_ok(pipeline = pipeline_load(gpu, &family.files, DTYPE_F32, &error));
    json_t *golden =
        json_load_file(FARM_GOLDEN_DIR "/families/sdxl_adapters.json", 0, NULL);
    json_t *runs = json_object_get(golden, "runs"), *run;
    size_t i;
    assert_int_equal(json_array_size(runs), 4);
    json_array_foreach(runs, i, run) check_adapted(pipeline, run, i);
    json_decref(golden);
    pipeline_destroy(&pipeline);
    family_close(&family);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_of_an_sdxl_folder_takes_a_lora_by_either_name),
        cmocka_unit_test(every_layer_of_an_sdxl_file_takes_a_lora_by_either_name),
        cmocka_unit_test(sdxls_loras_and_words_render_as_in_diffusers),
    };
    return cmocka_run_group_tests(tests, open_cpu_path, close_gpu);
}
