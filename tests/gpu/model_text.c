#include "tests/gpu/support_model.h"
#include "worker/sd/text_encoder.h"

struct pass {
    const struct text_encoder *encoder;
    struct tensor y, ids;
    struct text_form form;
};

static void enqueue(struct stream *s, void *context)
{
    struct pass *pass = context;
    text_encode(s, pass->y, NULL, pass->ids.memory, &pass->form, pass->encoder);
}

static void load_encoder(struct text_encoder *encoder, const char *model)
{
    char *config = model_path(model, "text_encoder/config.json");
    char *weights = model_path(model, "text_encoder/model.safetensors");
    struct checkpoint *from = checkpoint_open(weights, "model.safetensors", NULL);
    assert_non_null(from);
    assert_ok(text_encoder_config(encoder, config, "config.json", &error));
    assert_ok(text_encoder_load(encoder, gpu, DTYPE_F32, from, &error));
    assert_ok(checkpoint_all_used(from, &error));
    checkpoint_close(&from);
    free(weights);
    free(config);
}

static struct tensor upload_ids(const json_t *golden)
{
    int32_t ids[77];
    float bits[77];
    const json_t *list = json_object_get(golden, "ids");
    assert_int_equal(json_array_size(list), 77);
    for (size_t i = 0; i < 77; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    memcpy(bits, ids, sizeof bits);
    return tensor_from(DTYPE_F32, 1, 1, 1, 77, bits);
}

static void check(const json_t *golden, const struct text_encoder *encoder,
                  const char *role, size_t skipped)
{
    struct golden_tensor want = golden_role(golden, "outputs", role);
    struct pass pass = {.encoder = encoder,
                        .y = tensor_from(DTYPE_F32, 1, 1, 77, encoder->c, NULL),
                        .ids = upload_ids(golden),
                        .form = {.skipped = skipped, .final_norm = true}};
    run_stream(DTYPE_F32, enqueue, &pass);
    float *found = tensor_values(&pass.y);
    assert_int_equal(want.count, 77 * encoder->c);
    assert_golden(role, found, &want, 1e-5);
    free(found);
    free(want.values);
    tensor_destroy(&pass.y, gpu);
    tensor_destroy(&pass.ids, gpu);
}

static void hidden_states_of_each_prompt_equal_those_of_transformers(void **state)
{
    json_t *cases = golden_manifest(), *golden;
    size_t i, checked = 0;
    json_array_foreach(cases, i, golden)
    {
        if (strcmp(golden_text(golden, "kind"), "text") != 0)
            continue;
        struct text_encoder encoder;
        load_encoder(&encoder, golden_text(golden, "model"));
        check(golden, &encoder, "last", 0);
        check(golden, &encoder, "skip2", 1);
        text_encoder_clear(&encoder, gpu);
        checked++;
    }
    assert_int_equal(checked, 9);
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hidden_states_of_each_prompt_equal_those_of_transformers),
    };
    return run_on_both_paths(tests);
}
