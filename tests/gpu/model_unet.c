#include "tests/gpu/support_model.h"
#include "worker/sd/unet.h"

struct pass {
    const struct unet *unet;
    struct step step;
    struct tensor y, x, context, step_buffer, added;
    struct unet_extra extra;
};

static void enqueue(struct stream *s, void *context)
{
    struct pass *pass = context;
    step_write(s, pass->step_buffer.memory, &pass->step);
    unet_forward(s, pass->y, pass->x, pass->step_buffer.memory, pass->context,
                 &pass->extra, pass->unet);
}

static void load_unet(struct unet *unet, const char *model, enum dtype dtype)
{
    char *config = model_path(model, "unet/config.json");
    char *weights = model_path(model, "unet/diffusion_pytorch_model.safetensors");
    struct checkpoint *from = checkpoint_open(weights, "unet.safetensors", NULL);
    assert_non_null(from);
    *unet = (struct unet){0};
    assert_ok(unet_config_load(&unet->config, config, "config.json", &error));
    assert_ok(unet_load(unet, gpu, dtype, from, &error));
    assert_ok(checkpoint_all_used(from, &error));
    checkpoint_close(&from);
    free(weights);
    free(config);
}

/* x and context are taken over and released. */
static float *predict(const struct unet *unet, enum dtype dtype, struct tensor x,
                      struct tensor context, double timestep)
{
    size_t floats = sizeof(struct step) / sizeof(float);
    struct pass pass = {.unet = unet,
                        .step = {.timestep = (float)timestep},
                        .y = tensor_from(dtype, x.n, x.h, x.w, 4, NULL),
                        .x = x,
                        .context = context,
                        .step_buffer = tensor_from(DTYPE_F32, 1, 1, 1, floats, NULL)};
    run_stream(dtype, enqueue, &pass);
    float *found = tensor_values_nchw(&pass.y);
    tensor_destroy(&pass.y, gpu);
    tensor_destroy(&pass.x, gpu);
    tensor_destroy(&pass.context, gpu);
    tensor_destroy(&pass.step_buffer, gpu);
    return found;
}

static struct tensor context_of(const json_t *golden, enum dtype dtype)
{
    struct golden_tensor context = golden_role(golden, "inputs", "context");
    struct tensor tensor =
        tensor_from(dtype, 1, 1, context.shape[1], context.shape[2], context.values);
    free(context.values);
    return tensor;
}

static void check(const json_t *golden, enum dtype dtype, double most)
{
    struct unet unet;
    load_unet(&unet, golden_text(golden, "model"), dtype);
    struct golden_tensor sample = golden_role(golden, "inputs", "sample");
    struct golden_tensor want = golden_role(golden, "outputs", "out");
    float *found = predict(&unet, dtype, tensor_from_nchw(dtype, &sample),
                           context_of(golden, dtype),
                           json_number_value(json_object_get(golden, "timestep")));
    assert_golden(golden_text(json_object_get(golden, "outputs"), "out"), found, &want,
                  most);
    free(found);
    free(want.values);
    free(sample.values);
    unet_clear(&unet, gpu);
}

/* The cases of one model, or of all (NULL); how many there were. */
static size_t check_cases(const char *model, enum dtype dtype, double most)
{
    json_t *cases = golden_manifest(), *golden;
    size_t i, checked = 0;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(golden_text(golden, "kind"), "unet") != 0 ||
            (model && strcmp(golden_text(golden, "model"), model) != 0))
            continue;
        check(golden, dtype, most);
        checked++;
    }
    json_decref(cases);
    return checked;
}

static void
passes_at_three_timesteps_and_odd_sizes_equal_those_of_diffusers(void **state)
{
    assert_int_equal(check_cases(NULL, DTYPE_F32, 1e-4), 18);
}

static void half_precision_storage_stays_near(void **state)
{
    assert_int_equal(check_cases("tiny", DTYPE_F16, 1e-2), 6);
}

/* Rows of different latents and texts; each must come out as it does alone. */
static void a_row_does_not_depend_on_its_neighbours(void **state)
{
    enum { ROWS = 3, H = 9, W = 7, ROW = 4 * H * W };
    struct unet unet;
    load_unet(&unet, "tiny", DTYPE_F32);
    size_t text = 77 * unet.config.context;
    float *x = random_values(ROWS * ROW, DTYPE_F32, 1);
    float *context = random_values(ROWS * text, DTYPE_F32, 2);
    float *together =
        predict(&unet, DTYPE_F32, tensor_from(DTYPE_F32, ROWS, H, W, 4, x),
                tensor_from(DTYPE_F32, ROWS, 1, 77, unet.config.context, context), 321);
    for (size_t i = 0; i < ROWS; i++) {
        float *alone = predict(
            &unet, DTYPE_F32, tensor_from(DTYPE_F32, 1, H, W, 4, x + i * ROW),
            tensor_from(DTYPE_F32, 1, 1, 77, unet.config.context, context + i * text),
            321);
        assert_memory_equal(alone, together + i * ROW, ROW * sizeof *alone);
        free(alone);
    }
    assert_memory_not_equal(together, together + ROW, ROW * sizeof *together);
    free(together);
    free(context);
    free(x);
    unet_clear(&unet, gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            passes_at_three_timesteps_and_odd_sizes_equal_those_of_diffusers),
        cmocka_unit_test(half_precision_storage_stays_near),
        cmocka_unit_test(a_row_does_not_depend_on_its_neighbours),
    };
    const struct CMUnitTest half_tests[] = {
        cmocka_unit_test(half_precision_storage_stays_near),
    };
    return run_on_both_paths(tests) + run_on_matrix_units(half_tests);
}
