/* SD 1.5 and SDXL at their full sizes, from their configurations alone: a checkpoint that has
 * every tensor it is asked for, in the shape it should have and without values, takes the
 * place of the room's own. */
#include "tests/folder.h"
#include "tests/gpu/support_ops.h"
#include "worker/sd/checkpoint.h"
#include "worker/sd/footprint.h"

struct checkpoint {
    bool projects;
    struct layer_sites sites;
};

struct checkpoint *checkpoint_open_shards(const struct model_file *const *files,
                                          size_t count, struct error *error)
{
    struct checkpoint *self = calloc(1, sizeof *self);
    assert_non_null(self);
    self->projects = strstr(files[0]->name, "text_encoder_2/");
    return self;
}

struct checkpoint *checkpoint_open(const char *path, const char *name,
                                   struct error *error)
{
    struct model_file file = {(char *)(uintptr_t)name, (char *)(uintptr_t)path};
    return checkpoint_open_shards((const struct model_file *[]){&file}, 1, error);
}

void checkpoint_close(struct checkpoint **self)
{
    free(*self);
    *self = NULL;
}

void checkpoint_translate(struct checkpoint *self, checkpoint_store *store,
                          const void *owner)
{
}

const struct tensor_file *checkpoint_file(const struct checkpoint *self)
{
    return NULL;
}

bool checkpoint_has(const struct checkpoint *self, const char *tensor)
{
    return self->projects && strcmp(tensor, "text_projection.weight") == 0;
}

const struct tensor_entry *checkpoint_entry(const struct checkpoint *self,
                                            const char *tensor)
{
    return NULL;
}

bool checkpoint_get(struct checkpoint *self, const char *tensor, const size_t *shape,
                    size_t dims, struct host_tensor *into, struct error *error)
{
    *into = (struct host_tensor){.type = HOST_F16, .dims = dims};
    memcpy(into->shape, shape, dims * sizeof *shape);
    return true;
}

void checkpoint_forgive(struct checkpoint *self, const char *prefix)
{
}

void checkpoint_part(struct checkpoint *self, unsigned part)
{
}

bool checkpoint_note(struct checkpoint *self, const struct layer_site *site,
                     struct error *error)
{
    return true;
}

const struct layer_sites *checkpoint_sites(const struct checkpoint *self)
{
    return &self->sites;
}

bool checkpoint_all_used(const struct checkpoint *self, struct error *error)
{
    return true;
}

static const char index_sd15[] =
    "{\"_class_name\": \"StableDiffusionPipeline\", "
    "\"text_encoder\": [\"transformers\", \"CLIPTextModel\"], "
    "\"vae\": [\"diffusers\", \"AutoencoderKL\"]}";
static const char index_sdxl[] =
    "{\"_class_name\": \"StableDiffusionXLPipeline\", "
    "\"text_encoder\": [\"transformers\", \"CLIPTextModel\"], "
    "\"text_encoder_2\": [\"transformers\", \"CLIPTextModelWithProjection\"], "
    "\"vae\": [\"diffusers\", \"AutoencoderKL\"]}";
static const char clip_l[] =
    "{\"hidden_size\": 768, \"intermediate_size\": 3072, \"num_attention_heads\": 12, "
    "\"num_hidden_layers\": 12, \"hidden_act\": \"quick_gelu\", \"vocab_size\": 49408, "
    "\"max_position_embeddings\": 77, \"projection_dim\": 768, \"eos_token_id\": 2}";
static const char clip_g[] =
    "{\"hidden_size\": 1280, \"intermediate_size\": 5120, \"num_attention_heads\": 20, "
    "\"num_hidden_layers\": 32, \"hidden_act\": \"gelu\", \"vocab_size\": 49408, "
    "\"max_position_embeddings\": 77, \"projection_dim\": 1280, \"eos_token_id\": 2}";
static const char vae_sdxl[] =
    "{\"block_out_channels\": [128, 256, 512, 512], \"down_block_types\": "
    "[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
    "\"DownEncoderBlock2D\"], \"up_block_types\": [\"UpDecoderBlock2D\", "
    "\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", \"UpDecoderBlock2D\"], "
    "\"latent_channels\": 4, \"layers_per_block\": 2, \"norm_num_groups\": 32, "
    "\"sample_size\": 1024, \"scaling_factor\": 0.13025, \"force_upcast\": true}";

/* A file of the model: `text` is what it holds, or, with `from`, it is one of the tree's. */
struct part {
    const char *name, *text, *from;
};
#define TINY "tests/golden/tiny/"
#define TOKENS(FOLDER)                                                                 \
    {FOLDER "/vocab.json", .from = TINY "tokenizer/vocab.json"},                       \
    {                                                                                  \
        FOLDER "/merges.txt", .from = TINY "tokenizer/merges.txt"                      \
    }
static const struct part sd15[] = {
    {"model_index.json", .text = index_sd15},
    {"scheduler/scheduler_config.json", .from = TINY "scheduler/scheduler_config.json"},
    {"text_encoder/config.json", .text = clip_l},
    {"text_encoder/model.safetensors", .from = ""},
    TOKENS("tokenizer"),
    {"unet/config.json", .from = "tests/bench/sd15_unet.json"},
    {"unet/diffusion_pytorch_model.safetensors", .from = ""},
    {"vae/config.json", .from = "tests/bench/sd15_vae.json"},
    {"vae/diffusion_pytorch_model.safetensors", .from = ""},
};
static const struct part sdxl[] = {
    {"model_index.json", .text = index_sdxl},
    {"scheduler/scheduler_config.json", .from = TINY "scheduler/scheduler_config.json"},
    {"text_encoder/config.json", .text = clip_l},
    {"text_encoder/model.safetensors", .from = ""},
    {"text_encoder_2/config.json", .text = clip_g},
    {"text_encoder_2/model.safetensors", .from = ""},
    TOKENS("tokenizer"),
    TOKENS("tokenizer_2"),
    {"unet/config.json", .from = "tests/bench/sdxl_unet.json"},
    {"unet/diffusion_pytorch_model.safetensors", .from = ""},
    {"vae/config.json", .text = vae_sdxl},
    {"vae/diffusion_pytorch_model.safetensors", .from = ""},
};

static void lay_out(const struct part *parts, size_t count, struct model_files *files)
{
    files->file = calloc(count, sizeof *files->file);
    assert_non_null(files->file);
    for (size_t i = 0; i < count; i++) {
        struct model_file *file = &files->file[files->count++];
        file->name = path_format("%s", parts[i].name);
        file->path = parts[i].text ? path_format("%s/%zu-%zu", folder, count, i)
                                   : path_format(FARM_SOURCE_DIR "/%s", parts[i].from);
        if (parts[i].text)
            assert_ok(path_write(file->path, parts[i].text, strlen(parts[i].text), 0644,
                                 &error));
    }
}

/* On a GPU of so many bytes. */
static struct footprint plan(const struct part *parts, size_t count, size_t side,
                             const char *memory)
{
    struct model_files files = {0};
    struct footprint plan;
    lay_out(parts, count, &files);
    setenv("FARM_GPU_PATH", "gpu", 1);
    setenv("FARM_GPU_MEMORY", memory, 1);
    const struct footprint_request request = {&files, DTYPE_F16, side, side,
                                              1,      NULL,      NULL};
    assert_ok(footprint_plan(&plan, 0, &request, &error));
    unsetenv("FARM_GPU_MEMORY");
    unsetenv("FARM_GPU_PATH");
    model_files_clear(&files);
    for (size_t i = 0; i < FOOTPRINT_PHASES; i++) {
        const struct footprint_part *part = &plan.part[i];
        print_message("    %-5s weights %6zu, arena %5zu for %5zu alive, own %3zu MB\n",
                      footprint_phase_name[i], part->weights / 1000000,
                      part->arena / 1000000, part->live / 1000000, part->own / 1000000);
        assert_true(20 * part->arena <= 23 * part->live);
    }
    print_message("    %zu MB, at least %zu MB%s\n", plan.whole / 1000000,
                  plan.least / 1000000, plan.tiled ? ", tiled" : "");
    return plan;
}

static void sd15_at_512_fits_into_4_gb(void **state)
{
    struct footprint of = plan(sd15, sizeof sd15 / sizeof *sd15, 512, "4000000000");
    assert_true(of.whole <= 4000000000 && !of.tiled);
    assert_in_range(of.part[FOOTPRINT_UNET].weights, 1719000000, 1760000000);
}

static void sdxl_at_1024_fits_into_10_gb(void **state)
{
    struct footprint of = plan(sdxl, sizeof sdxl / sizeof *sdxl, 1024, "10000000000");
    assert_true(of.least <= 10000000000 && of.whole <= (size_t)10 << 30 && !of.tiled);
    assert_in_range(of.part[FOOTPRINT_UNET].weights, 5134000000, 5250000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sd15_at_512_fits_into_4_gb),
        cmocka_unit_test(sdxl_at_1024_fits_into_10_gb),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
