/* Configurations that models seldom have, each as diffusers and transformers compute it; and
 * those that are refused, by the key's name. */
#include "tests/folder.h"
#include "tests/gpu/support_model.h"
#include "tests/invented.h"
#include "worker/sd/text_encoder.h"
#include "worker/sd/unet.h"
#include "worker/sd/vae.h"

static json_t *cases;
static double worst;

struct pass {
    const struct unet *unet;
    const struct vae *vae;
    const struct text_encoder *encoder;
    struct step step;
    struct unet_extra extra;
    struct text_form form;
    struct tensor y, x, context, added, step_buffer;
};

/* ---- Files and tensors of a case */

static int load_cases(void **state)
{
    cases = json_load_file(FARM_GOLDEN_DIR "/sweep.json", 0, NULL);
    return make_folder(state) || open_cpu_path(state) || !cases;
}

static int drop_cases(void **state)
{
    json_decref(cases);
    return close_gpu(state) || remove_folder(state);
}

static const char *text_at(const json_t *golden, const char *key)
{
    return json_string_value(json_object_get(golden, key));
}

/* config.json of the case; heap path. */
static char *write_config(const json_t *golden)
{
    char *path = path_format("%s/config.json", folder);
    assert_int_equal(json_dump_file(json_object_get(golden, "config"), path, 0), 0);
    return path;
}

/* Tensors by the parts of their names become a list as write_invented takes it. */
static void flatten(json_t *into, const char *prefix, const json_t *place)
{
    const char *part;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)place, part, value)
    {
        char *name = path_format("%s%s%s", prefix, *prefix ? "." : "", part);
        if (json_is_object(value)) {
            flatten(into, name, value);
        } else {
            json_t *shape = json_array();
            size_t dims = json_array_size(value) - 2;
            for (size_t i = 0; i < dims; i++)
                json_array_append(shape, json_array_get(value, i));
            json_array_append_new(into, json_pack("[s, s, o, O, O]", name, "F32", shape,
                                                  json_array_get(value, dims),
                                                  json_array_get(value, dims + 1)));
        }
        free(name);
    }
}

static struct checkpoint *open_weights(const json_t *golden)
{
    char *path = path_format("%s/weights.safetensors", folder);
    json_t *tensors = json_array();
    flatten(tensors, "", json_object_get(golden, "tensors"));
    write_invented(path, tensors);
    json_decref(tensors);
    struct checkpoint *from = checkpoint_open(path, "weights.safetensors", NULL);
    assert_non_null(from);
    free(path);
    return from;
}

static float *input(const json_t *golden, const char *role, size_t shape[4])
{
    const json_t *described = json_object_get(json_object_get(golden, "inputs"), role);
    const json_t *sides = json_array_get(described, 2);
    size_t count = count_of(sides), dims = json_array_size(sides);
    uint64_t hash = name_hash(json_string_value(json_array_get(described, 0)));
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)invent(hash + i) / 128;
    for (size_t d = 0; d < 4; d++)
        shape[d] = d < dims ? (size_t)json_integer_value(json_array_get(sides, d)) : 1;
    return values;
}

static struct tensor upload(const json_t *golden, const char *role)
{
    size_t shape[4];
    float *values = input(golden, role, shape);
    struct golden_tensor tensor = {.dims = 4, .values = values};
    memcpy(tensor.shape, shape, sizeof shape);
    tensor.count = shape[0] * shape[1] * shape[2] * shape[3];
    struct tensor into = strcmp(role, "context") == 0
                             ? tensor_from(DTYPE_F32, 1, 1, shape[1], shape[2], values)
                             : tensor_from_nchw(DTYPE_F32, &tensor);
    free(values);
    return into;
}

/* Runs it, and compares y's channels, as many as the golden has, with the golden tensor. */
static void check(struct pass *pass, void (*enqueue)(struct stream *, void *),
                  const json_t *golden, const char *role)
{
    char *name = path_format("%s.%s", text_at(golden, "name"), role);
    struct golden_tensor want = golden_load("sweep.safetensors", name);
    run_stream(DTYPE_F32, enqueue, pass);
    bool tokens = want.dims == 3;
    float *found = tokens ? tensor_values(&pass->y) : tensor_values_nchw(&pass->y);
    assert_true(want.count <= tensor_count(&pass->y));
    double far = relative_distance(found, want.values, want.count);
    if (!(far < 1e-4))
        fail_msg("%s: relative L2 %.2g", name, far);
    worst = far > worst ? far : worst;
    struct tensor *tensors[] = {&pass->y, &pass->x, &pass->context, &pass->added,
                                &pass->step_buffer};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tensor_destroy(tensors[i], gpu);
    free(found);
    free(want.values);
    free(name);
}

/* ---- UNets */

static void predict(struct stream *s, void *context)
{
    struct pass *pass = context;
    step_write(s, pass->step_buffer.memory, &pass->step);
    unet_forward(s, pass->y, pass->x, pass->step_buffer.memory, pass->context,
                 &pass->extra, pass->unet);
}

static void add_row(struct pass *pass, const json_t *golden)
{
    static const float ids[6] = {64, 80, 3, 5, 64, 80};
    size_t width = unet_added_width(pass->unet), shape[4];
    if (!width)
        return;
    float *row = calloc(width, sizeof *row);
    if (pass->unet->config.time_ids) {
        float *pooled = input(golden, "pooled", shape);
        unet_added_values(pass->unet, pooled, ids, 6, row);
        free(pooled);
    } else {
        unet_class_values(pass->unet,
                          (size_t)json_integer_value(json_object_get(golden, "class")),
                          row);
    }
    pass->added = tensor_from(DTYPE_F32, 1, 1, 1, width, row);
    pass->extra.added = &pass->added;
    free(row);
}

static void check_unet(const json_t *golden)
{
    struct unet unet = {0};
    const json_t *timestep = json_object_get(golden, "timestep");
    char *config = write_config(golden);
    struct checkpoint *from = open_weights(golden);
    assert_ok(unet_config_load(&unet.config, config, text_at(golden, "name"), &error));
    assert_ok(unet_load(&unet, gpu, DTYPE_F32, from, &error));
    assert_ok(checkpoint_all_used(from, &error));
    struct pass pass = {
        .unet = &unet,
        .step.timestep = timestep ? (float)json_number_value(timestep) : 500.5F,
        .x = upload(golden, "sample"),
        .step_buffer =
            tensor_from(DTYPE_F32, 1, 1, 1, sizeof(struct step) / sizeof(float), NULL)};
    if (unet.config.context)
        pass.context = upload(golden, "context");
    pass.y =
        tensor_from(DTYPE_F32, 1, pass.x.h, pass.x.w, unet.config.out_channels, NULL);
    add_row(&pass, golden);
    check(&pass, predict, golden, "out");
    checkpoint_close(&from);
    unet_clear(&unet, gpu);
    free(config);
}

/* ---- VAEs */

static void decode(struct stream *s, void *context)
{
    struct pass *pass = context;
    vae_decode(s, pass->y, pass->x, pass->vae);
}

static void encode(struct stream *s, void *context)
{
    struct pass *pass = context;
    vae_encode(s, pass->y, pass->x, pass->vae);
}

static void check_vae(const json_t *golden)
{
    struct vae vae = {0};
    char *config = write_config(golden);
    struct checkpoint *from = open_weights(golden);
    assert_ok(vae_config_load(&vae.config, config, text_at(golden, "name"), &error));
    assert_ok(vae_load(&vae, gpu, DTYPE_F32, from, &error));
    assert_ok(checkpoint_all_used(from, &error));
    struct pass pass = {.vae = &vae, .x = upload(golden, "latents")};
    size_t f = vae_factor(&vae), h = pass.x.h, w = pass.x.w;
    pass.y = tensor_from(DTYPE_F32, 1, h * f, w * f, 3, NULL);
    check(&pass, decode, golden, "decoded");
    pass = (struct pass){.vae = &vae, .x = upload(golden, "picture")};
    pass.y = tensor_from(DTYPE_F32, 1, h, w, 2 * vae.config.latent_channels, NULL);
    check(&pass, encode, golden, "moments");
    checkpoint_close(&from);
    vae_clear(&vae, gpu);
    free(config);
}

/* ---- Text encoders */

static void read_text(struct stream *s, void *context)
{
    struct pass *pass = context;
    text_encode(s, pass->y, NULL, pass->x.memory, &pass->form, pass->encoder);
}

static void check_text(const json_t *golden)
{
    struct text_encoder encoder;
    const json_t *list = json_object_get(golden, "ids");
    size_t count = json_array_size(list);
    char *config = write_config(golden);
    struct checkpoint *from = open_weights(golden);
    assert_ok(text_encoder_config(&encoder, config, text_at(golden, "name"), &error));
    assert_ok(text_encoder_load(&encoder, gpu, DTYPE_F32, from, &error));
    assert_ok(checkpoint_all_used(from, &error));
    assert_int_equal(count, encoder.tokens);
    float *bits = malloc(count * sizeof *bits);
    for (size_t i = 0; i < count; i++) {
        int32_t id = (int32_t)json_integer_value(json_array_get(list, i));
        memcpy(&bits[i], &id, sizeof id);
    }
    struct pass pass = {.encoder = &encoder,
                        .form.final_norm = true,
                        .x = tensor_from(DTYPE_F32, 1, 1, 1, count, bits),
                        .y = tensor_from(DTYPE_F32, 1, 1, count, encoder.c, NULL)};
    check(&pass, read_text, golden, "out");
    checkpoint_close(&from);
    text_encoder_clear(&encoder, gpu);
    free(bits);
    free(config);
}

/* ---- The tests */

static void check_part(const char *part, void (*one)(const json_t *golden),
                       size_t least)
{
    size_t i, checked = 0;
    json_t *golden;
    worst = 0;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(text_at(golden, "part"), part) != 0 || text_at(golden, "refused"))
            continue;
        one(golden);
        checked++;
    }
    print_message("    %zu configurations: relative L2 within %.2g\n", checked, worst);
    assert_true(checked >= least);
}

static void unets_of_rare_configurations_equal_those_of_diffusers(void **state)
{
    check_part("unet", check_unet, 54);
}

static void vaes_of_rare_configurations_equal_those_of_diffusers(void **state)
{
    check_part("vae", check_vae, 10);
}

static void text_encoders_of_all_activations_equal_those_of_transformers(void **state)
{
    check_part("text", check_text, 8);
}

static void what_cannot_be_run_is_refused_by_its_key(void **state)
{
    size_t i, checked = 0;
    json_t *golden;
    json_array_foreach(cases, i, golden)
    {
        const char *key = text_at(golden, "refused");
        if (!key)
            continue;
        struct unet_config unet;
        struct vae_config vae;
        struct error error = {0};
        char *config = write_config(golden);
        char *start = path_format("config.json: %s is ", key);
        bool loaded = strcmp(text_at(golden, "part"), "unet") == 0
                          ? unet_config_load(&unet, config, "config.json", &error)
                          : vae_config_load(&vae, config, "config.json", &error);
        if (loaded || strncmp(error.text, start, strlen(start)) != 0)
            fail_msg("%s: %s", text_at(golden, "name"), error.text);
        assert_int_equal(error.kind, ERROR_INPUT);
        free(start);
        free(config);
        checked++;
    }
    assert_true(checked >= 28);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unets_of_rare_configurations_equal_those_of_diffusers),
        cmocka_unit_test(vaes_of_rare_configurations_equal_those_of_diffusers),
        cmocka_unit_test(text_encoders_of_all_activations_equal_those_of_transformers),
        cmocka_unit_test(what_cannot_be_run_is_refused_by_its_key),
    };
    return cmocka_run_group_tests(tests, load_cases, drop_cases);
}
