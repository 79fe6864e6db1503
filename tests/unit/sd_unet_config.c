#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "tests/test.h"
#include "worker/sd/unet_config.h"

static const char name[] = "unet/config.json";
static char path[] = "/tmp/farm-unet-config-XXXXXX";

static int make_file(void **state)
{
    int file = mkstemp(path);
    return file < 0 ? -1 : close(file);
}

static int remove_file(void **state)
{
    return unlink(path);
}

/* A plain UNet's configuration of two levels; `more` (", \"key\": value") is added. */
static bool load(struct unet_config *config, const char *more, struct error *error)
{
    char *text = path_format(
        "{\"block_out_channels\": [32, 64], \"norm_num_groups\": 16,"
        " \"down_block_types\": [\"CrossAttnDownBlock2D\", \"DownBlock2D\"],"
        " \"up_block_types\": [\"UpBlock2D\", \"CrossAttnUpBlock2D\"]%s}",
        more);
    assert_true(path_write(path, text, strlen(text), 0600, NULL));
    free(text);
    return unet_config_load(config, path, name, error);
}

static void assert_refused(const char *more, const char *sentence)
{
    struct unet_config config;
    struct error error = {0};
    assert_false(load(&config, more, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_string_equal(error.text, sentence);
}

static void absent_keys_take_the_defaults_of_diffusers(void **state)
{
    struct unet_config config;
    struct error error = {0};
    assert_true(load(&config, "", &error));
    assert_int_equal(config.in_channels, 4);
    assert_int_equal(config.context, 1280);
    assert_int_equal(config.level[0].down.heads, 8);
    assert_int_equal(config.level[0].layers, 2);
    assert_int_equal(config.level[1].down.depth[0], 1);
    assert_true(config.flip_sin_to_cos);
    assert_false(config.pad_end);
    assert_int_equal(config.sample_width, 64);
}

static void the_way_up_is_listed_coarsest_first(void **state)
{
    struct unet_config config;
    assert_true(load(&config, "", NULL));
    assert_true(config.level[0].down.attends && config.level[0].up.attends);
    assert_false(config.level[1].down.attends || config.level[1].up.attends);
}

static void values_may_be_one_for_all_levels_or_a_list(void **state)
{
    struct unet_config config;
    assert_true(load(&config,
                     ", \"attention_head_dim\": [4, 2], \"layers_per_block\": 3,"
                     " \"transformer_layers_per_block\": [1, 10],"
                     " \"only_cross_attention\": [true, false],"
                     " \"sample_size\": [96, 64], \"downsample_padding\": 0",
                     NULL));
    assert_int_equal(config.level[0].down.heads, 4);
    assert_int_equal(config.level[1].up.heads, 2);
    assert_int_equal(config.level[1].layers, 3);
    assert_int_equal(config.level[1].up.depth[2], 10);
    assert_true(config.level[0].text_only && !config.level[1].text_only);
    assert_int_equal(config.sample_height, 96);
    assert_int_equal(config.sample_width, 64);
    assert_true(config.pad_end);
}

static void what_is_not_implemented_is_refused_by_key_and_value(void **state)
{
    static const struct {
        const char *more, *sentence;
    } cases[] = {
        {", \"addition_embed_type\": \"text_image\"",
         "unet/config.json: addition_embed_type is \"text_image\"; supported are "
         "text_time"},
        {", \"class_embed_type\": \"projection\"",
         "unet/config.json: class_embed_type is \"projection\"; supported are "
         "timestep"},
        {", \"time_cond_proj_dim\": 3",
         "unet/config.json: time_cond_proj_dim is 3; expected 4 or more"},
        {", \"resnet_time_scale_shift\": \"spatial\"",
         "unet/config.json: resnet_time_scale_shift is \"spatial\"; supported are "
         "default, scale_shift"},
        {", \"dual_cross_attention\": true",
         "unet/config.json: dual_cross_attention is true; only false is supported"},
        {", \"mid_block_type\": \"UNetMidBlock2DSimpleCrossAttn\"",
         "unet/config.json: mid_block_type is \"UNetMidBlock2DSimpleCrossAttn\"; "
         "supported are UNetMidBlock2DCrossAttn, UNetMidBlock2D"},
        {", \"act_fn\": \"tanh\"",
         "unet/config.json: act_fn is \"tanh\"; supported are silu, swish, mish, gelu "
         "and relu"},
        {", \"transformer_layers_per_block\": [[1, 2], 1]",
         "unet/config.json: transformer_layers_per_block is [[1,2],1]; "
         "reverse_transformer_layers_per_block must say what the way up has"},
        {", \"_class_name\": \"UNet1DModel\"",
         "unet/config.json: _class_name is \"UNet1DModel\"; supported are "
         "UNet2DConditionModel, UNet2DModel"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i].more, cases[i].sentence);
}

static void the_plain_value_written_out_is_taken(void **state)
{
    struct unet_config config;
    assert_true(load(&config,
                     ", \"addition_embed_type\": null, \"resnet_out_scale_factor\": "
                     "1.0, \"mid_block_scale_factor\": 1, \"act_fn\": \"silu\"",
                     NULL));
}

static void sizes_that_do_not_divide_or_fit_are_refused(void **state)
{
    assert_refused(", \"attention_head_dim\": 5",
                   "unet/config.json: attention_head_dim is 5; 32 channels do not "
                   "divide into 5 heads");
    assert_refused(
        ", \"in_channels\": 999999999",
        "unet/config.json: in_channels is 999999999; expected a whole number "
        "from 1 to 16384");
    assert_refused(
        ", \"in_channels\": -4",
        "unet/config.json: in_channels is -4; expected a whole number from 1 "
        "to 16384");
    assert_refused(", \"layers_per_block\": [2, 2, 2]",
                   "unet/config.json: layers_per_block is [2,2,2]; expected one value "
                   "or a list of 2");
    assert_refused(", \"layers_per_block\": \"two\"",
                   "unet/config.json: layers_per_block is \"two\"; expected a whole "
                   "number from 1 to 16");
    assert_refused(
        ", \"cross_attention_dim\": [768, 1024]",
        "unet/config.json: cross_attention_dim is [768,1024]; only one width "
        "for all levels that attend to text is supported");
}

/* Replaces the whole file. */
static void assert_file_refused(const char *text, const char *sentence)
{
    struct unet_config config;
    struct error error = {0};
    assert_true(path_write(path, text, strlen(text), 0600, NULL));
    assert_false(unet_config_load(&config, path, name, &error));
    assert_string_equal(error.text, sentence);
}

static void unknown_blocks_and_uneven_lists_are_refused(void **state)
{
    assert_file_refused(
        "{\"down_block_types\": [\"SkipDownBlock2D\"],"
        " \"up_block_types\": [\"UpBlock2D\"], \"block_out_channels\": [32]}",
        "unet/config.json: down_block_types is \"SkipDownBlock2D\"; supported are "
        "DownBlock2D, CrossAttnDownBlock2D, AttnDownBlock2D, UNetResDownBlock2D, "
        "UNetResCrossAttnDownBlock2D, UNetResAttnDownBlock2D");
    assert_file_refused(
        "{\"down_block_types\": [\"DownBlock2D\"],"
        " \"up_block_types\": [\"UpBlock2D\"], \"block_out_channels\": [32, 64]}",
        "unet/config.json: block_out_channels is [32,64]; down_block_types has 1 "
        "entries");
    assert_file_refused(
        "{\"down_block_types\": []}",
        "unet/config.json: down_block_types is []; expected a list of 1 "
        "to 8 entries");
    assert_file_refused("{\"norm_num_groups\": null}",
                        "unet/config.json: norm_num_groups is null; expected a number "
                        "of groups");
}

static void what_is_no_object_is_refused(void **state)
{
    assert_file_refused("[1, 2]", "unet/config.json: holds no JSON object");
    assert_file_refused("{\"in_channels\": 4",
                        "unet/config.json: no valid JSON in line 1: '}' expected near "
                        "end of file");
    assert_file_refused("{\"in_channels\": 4, \"in_channels\": 5}",
                        "unet/config.json: no valid JSON in line 1: duplicate object "
                        "key near '\"in_channels\"'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_take_the_defaults_of_diffusers),
        cmocka_unit_test(the_way_up_is_listed_coarsest_first),
        cmocka_unit_test(values_may_be_one_for_all_levels_or_a_list),
        cmocka_unit_test(what_is_not_implemented_is_refused_by_key_and_value),
        cmocka_unit_test(the_plain_value_written_out_is_taken),
        cmocka_unit_test(sizes_that_do_not_divide_or_fit_are_refused),
        cmocka_unit_test(unknown_blocks_and_uneven_lists_are_refused),
        cmocka_unit_test(what_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
