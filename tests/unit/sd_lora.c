#include <string.h>

#include "base/path.h"
#include "tests/folder.h"
#include "worker/sd/lora.h"
#include "worker/sd/lora_alias.h"

static void every_spelling_of_a_key_names_part_role_and_layer(void **state)
{
    static const struct {
        const char *key;
        enum lora_part part;
        enum lora_role role;
        const char *layer;
    } cases[] = {
        {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", LORA_UNET,
         LORA_DOWN, "mid_block_attentions_0_proj_in"},
        {"lora_unet_conv_in.alpha", LORA_UNET, LORA_ALPHA, "conv_in"},
        {"lora_unet_conv_in.lora_mid.weight", LORA_UNET, LORA_MID, "conv_in"},
        {"lora_unet_conv_in.hada_w1_a", LORA_UNET, HADA_W1_A, "conv_in"},
        {"lora_te_text_model_encoder_layers_0_mlp_fc1.lokr_w2_b", LORA_TEXT, LOKR_W2_B,
         "encoder_layers_0_mlp_fc1"},
        {"lora_unet_conv_in.dora_scale", LORA_UNET, LORA_MAGNITUDE, "conv_in"},
        {"unet.conv_in.lora_magnitude_vector", LORA_UNET, LORA_MAGNITUDE, "conv_in"},
        {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", LORA_TEXT,
         LORA_UP, "encoder_layers_0_mlp_fc1"},
        {"lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha", LORA_TEXT, LORA_ALPHA,
         "encoder_layers_0_mlp_fc1"},
        {"lora_te2_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight",
         LORA_TEXT_2, LORA_UP, "encoder_layers_3_self_attn_q_proj"},
        {"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A."
         "weight",
         LORA_UNET, LORA_DOWN,
         "mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0"},
        {"unet.conv_in.lora_B.default.weight", LORA_UNET, LORA_UP, "conv_in"},
        {"unet.base_model.model.conv_in.lora_B.weight", LORA_UNET, LORA_UP, "conv_in"},
        {"base_model.model.conv_in.lora_A.weight", LORA_UNET, LORA_DOWN, "conv_in"},
        {"unet.conv_in.lora.up.weight", LORA_UNET, LORA_UP, "conv_in"},
        {"text_encoder_2.text_model.encoder.layers.1.mlp.fc2.lora_linear_layer.up."
         "weight",
         LORA_TEXT_2, LORA_UP, "encoder_layers_1_mlp_fc2"},
        {"text_encoder.encoder.layers.1.mlp.fc2.lora_A.weight", LORA_TEXT, LORA_DOWN,
         "encoder_layers_1_mlp_fc2"},
        {"unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_q_lora."
         "down.weight",
         LORA_UNET, LORA_DOWN,
         "up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_q"},
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora."
         "up."
         "weight",
         LORA_UNET, LORA_UP,
         "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lora_key key;
        struct error error = {0};
        if (!lora_key_read(&key, cases[i].key, &error))
            fail_msg("%s", error.text);
        assert_int_equal(key.part, cases[i].part);
        assert_int_equal(key.role, cases[i].role);
        assert_string_equal(key.layer, cases[i].layer);
    }
}

static void adapters_of_other_kinds_are_refused_by_name(void **state)
{
    static const char *const cases[][2] = {
        {"lora_unet_conv_in.a1.weight", "GLoRA"},
        {"lora_unet_conv_in.diff", "a full difference"},
        {"lora_unet_conv_in.oft_blocks", "OFT"},
        {"emb_params", "expected a LoRA's"},
        {"lora_unet_.alpha", "expected a LoRA's"},
        {"lora_te_text_model_.alpha", "expected a LoRA's"},
        {"", "expected a LoRA's"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lora_key key;
        struct error error = {0};
        assert_false(lora_key_read(&key, cases[i][0], &error));
        assert_non_null(strstr(error.text, cases[i][1]));
    }
}

/* As in SDXL's single files. */
static void layers_have_the_names_of_single_files_too(void **state)
{
    struct unet_config sdxl = {.levels = 3};
    for (size_t i = 0; i < 3; i++)
        sdxl.level[i] = (struct unet_level_config){
            .layers = 2, .down.attends = i > 0, .up.attends = i > 0};
    static const char *const cases[][2] = {
        {"conv_in", "input_blocks.0.0"},
        {"conv_out", "out.2"},
        {"time_embedding.linear_2", "time_embed.2"},
        {"add_embedding.linear_1", "label_emb.0.0"},
        {"down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"},
        {"down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"},
        {"down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"},
        {"down_blocks.2.resnets.0.conv_shortcut", "input_blocks.7.0.skip_connection"},
        {"mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"},
        {"mid_block.attentions.0.proj_out", "middle_block.1.proj_out"},
        {"up_blocks.0.attentions.2.transformer_blocks.0.attn1.to_q",
         "output_blocks.2.1.transformer_blocks.0.attn1.to_q"},
        {"up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"},
        {"up_blocks.1.resnets.0.conv2", "output_blocks.3.0.out_layers.3"},
        {"up_blocks.2.resnets.2.conv1", "output_blocks.8.0.in_layers.2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[LORA_LAYER_MOST];
        assert_true(lora_alias(name, &sdxl, cases[i][0]));
        assert_string_equal(name, cases[i][1]);
    }
    char name[LORA_LAYER_MOST];
    assert_false(lora_alias(name, &sdxl, "down_blocks.7.resnets.0.conv1"));
    assert_false(lora_alias(name, &sdxl, "elsewhere"));
}

/* unet.x: down [1, 2] of 1 and 2, up [1, 1] of 3; `alpha` in the tensors or not. */
static struct lora *lora_with(const char *metadata, bool alpha, struct error *error)
{
    static const float values[] = {1, 2, 3, 0.5F};
    struct buffer header = {0}, file = {0};
    assert_true(buffer_printf(
        &header, NULL,
        "{%s\"unet.x.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],"
        "\"data_offsets\":[0,8]},\"unet.x.lora_B.weight\":{\"dtype\":\"F32\","
        "\"shape\":[1,1],\"data_offsets\":[8,12]}%s}",
        metadata,
        alpha ? ",\"unet.x.alpha\":{\"dtype\":\"F32\",\"shape\":[],"
                "\"data_offsets\":[12,16]}"
              : ""));
    uint64_t size = header.size;
    assert_true(buffer_append(&file, &size, sizeof size, NULL));
    assert_true(buffer_append(&file, header.data, header.size, NULL));
    assert_true(buffer_append(&file, values, alpha ? 16 : 12, NULL));
    char *path = path_format("%s/x.safetensors", folder);
    assert_true(path_write(path, file.data, file.size, 0600, NULL));
    struct lora *lora = lora_open(path, "x.safetensors", error);
    free(path);
    buffer_clear(&header);
    buffer_clear(&file);
    return lora;
}

static void expect_sum(const char *metadata, bool alpha, float first, float second)
{
    struct error error = {0};
    struct lora *lora = lora_with(metadata, alpha, &error);
    float values[2] = {10, 20};
    if (!lora ||
        !lora_add(lora, 0, 2, (const float[2]){10, 20}, values, 1, 2, 1, &error))
        fail_msg("%s", error.text);
    assert_float_equal(values[0], first, 1e-6);
    assert_float_equal(values[1], second, 1e-6);
    lora_close(&lora);
}

static void alpha_comes_from_the_tensors_the_metadata_or_the_rank(void **state)
{
    const char *said = "\"__metadata__\":{\"lora_adapter_metadata\":"
                       "\"{\\\"unet.lora_alpha\\\": 4, \\\"unet.r\\\": 1}\"},";
    expect_sum("", false, 10 + 2 * 3, 20 + 2 * 6);
    expect_sum("", true, 10 + 0.5F * 2 * 3, 20 + 0.5F * 2 * 6);
    expect_sum(said, false, 10 + 4 * 2 * 3, 20 + 4 * 2 * 6);
    expect_sum("\"__metadata__\":{\"lora_adapter_metadata\":\"{"
               "\\\"unet.lora_alpha\\\": 4, \\\"unet.alpha_pattern\\\": "
               "{\\\"y\\\": 9, \\\"[w-x]\\\": 5, \\\"x\\\": 7}}\"},",
               false, 10 + 5 * 2 * 3, 20 + 5 * 2 * 6);
}

static void metadata_that_changes_the_meaning_is_refused(void **state)
{
    struct error error = {0};
    assert_null(lora_with("\"__metadata__\":{\"lora_adapter_metadata\":"
                          "\"{\\\"unet.alpha_pattern\\\": {\\\"(x\\\": 2}}\"},",
                          false, &error));
    assert_string_equal(error.text,
                        "x.safetensors: lora_adapter_metadata: unet.alpha_pattern (x: "
                        "expected a pattern of layers' names and a number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_of_a_key_names_part_role_and_layer),
        cmocka_unit_test(adapters_of_other_kinds_are_refused_by_name),
        cmocka_unit_test(layers_have_the_names_of_single_files_too),
        cmocka_unit_test(alpha_comes_from_the_tensors_the_metadata_or_the_rank),
        cmocka_unit_test(metadata_that_changes_the_meaning_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
