#include "tests/gpu/support_model.h"
#include "worker/sd/vae.h"

struct pass {
    const struct vae *vae;
    struct tensor y, x;
};

static void enqueue_decode(struct stream *s, void *context)
{
    struct pass *pass = context;
    vae_decode(s, pass->y, pass->x, pass->vae);
}

static void enqueue_encode(struct stream *s, void *context)
{
    struct pass *pass = context;
    vae_encode(s, pass->y, pass->x, pass->vae);
}

static void load_vae(struct vae *vae, const char *model)
{
    char *config = model_path(model, "vae/config.json");
    char *weights = model_path(model, "vae/diffusion_pytorch_model.safetensors");
    struct checkpoint *from = checkpoint_open(weights, "vae.safetensors", NULL);
    assert_non_null(from);
    *vae = (struct vae){0};
    assert_ok(vae_config_load(&vae->config, config, "config.json", &error));
    assert_ok(vae_load(vae, gpu, DTYPE_F32, from, &error));
    assert_ok(checkpoint_all_used(from, &error));
    checkpoint_close(&from);
    free(weights);
    free(config);
}

static void check(const json_t *golden, const char *input, const char *output,
                  void (*enqueue)(struct stream *, void *))
{
    struct vae vae;
    load_vae(&vae, golden_text(golden, "model"));
    struct golden_tensor x = golden_role(golden, "inputs", input);
    struct golden_tensor want = golden_role(golden, "outputs", output);
    struct pass pass = {.vae = &vae,
                        .x = tensor_from_nchw(DTYPE_F32, &x),
                        .y = tensor_from(DTYPE_F32, want.shape[0], want.shape[2],
                                         want.shape[3], want.shape[1], NULL)};
    run_stream(DTYPE_F32, enqueue, &pass);
    float *found = tensor_values_nchw(&pass.y);
    assert_golden(golden_text(golden, "model"), found, &want, 1e-4);
    free(found);
    free(want.values);
    free(x.values);
    tensor_destroy(&pass.x, gpu);
    tensor_destroy(&pass.y, gpu);
    vae_clear(&vae, gpu);
}

static void check_kind(const char *kind, const char *input, const char *output,
                       void (*enqueue)(struct stream *, void *))
{
    json_t *cases = golden_manifest(), *golden;
    size_t i, checked = 0;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(golden_text(golden, "kind"), kind) != 0)
            continue;
        check(golden, input, output, enqueue);
        checked++;
    }
    assert_int_equal(checked, 3);
    json_decref(cases);
}

static void decoded_latents_equal_those_of_diffusers(void **state)
{
    check_kind("vae decode", "latents", "out", enqueue_decode);
}

static void an_encoded_picture_equals_that_of_diffusers(void **state)
{
    check_kind("vae encode", "picture", "moments", enqueue_encode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoded_latents_equal_those_of_diffusers),
        cmocka_unit_test(an_encoded_picture_equals_that_of_diffusers),
    };
    return run_on_both_paths(tests);
}
