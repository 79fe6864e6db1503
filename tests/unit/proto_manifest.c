#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/wire.h"
#include "tests/folder.h"
#include "tests/invented.h"

#define EMOJI FARM_SOURCE_DIR "/models/emoji"

/* A copy of the bundled model to be spoiled; weights are links, they are only read. */
static int copy_model(void **state)
{
    if (make_folder(state))
        return -1;
    char *command = path_format("cp -rs '%s'/* '%s'", EMOJI, folder);
    int status = system(command);
    free(command);
    return status;
}

static void spoil(const char *script)
{
    char *command = path_format("cd '%s' && %s", folder, script);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Replaces a linked file by an edited copy. */
#define EDIT(file, program)                                                            \
    "cp --remove-destination \"$(readlink -f " file ")\" " file " && chmod u+w " file  \
    " && sed -i '" program "' " file

static void assert_refused(const char *text)
{
    struct error error = {0};
    Farm__Manifest *manifest = manifest_from_folder(folder, NULL, &error);
    assert_null(manifest);
    if (!strstr(error.text, text))
        fail_msg("\"%s\" does not say \"%s\"", error.text, text);
    assert_int_equal(error.kind, ERROR_INPUT);
}

static void the_bundled_model_is_read_whole(void **state)
{
    struct error error = {0};
    Farm__Manifest *manifest = manifest_from_folder(EMOJI, NULL, &error);
    if (!manifest)
        fail_msg("%s", error.text);
    assert_true(wire_is(manifest->name, "emoji", 5));
    assert_true(wire_is(manifest->family, "sd1", 3));
    assert_int_equal(manifest->factor, 4);
    assert_int_equal(manifest->width, 64);
    assert_int_equal(manifest->height, 64);
    assert_int_equal(manifest->n_files, 12);
    for (size_t i = 0; i < manifest->n_files; i++) {
        char *path = wire_string(manifest->files[i]->path);
        char *whole = path_format("%s/%s", EMOJI, path);
        uint8_t id[BLOB_ID];
        uint64_t size;
        assert_true(blob_id_of_file(whole, id, &size, NULL));
        assert_true(wire_is(manifest->files[i]->blob, id, BLOB_ID));
        assert_int_equal(manifest->files[i]->size, size);
        free(whole);
        free(path);
    }
    manifest_destroy(&manifest);
}

static void the_model_hash_begins_the_sha256_of_the_unets_weights(void **state)
{
    struct buffer weights = {0};
    uint8_t sum[32];
    char expected[65], text[11];
    assert_true(path_read(EMOJI "/unet/diffusion_pytorch_model.safetensors", 100u << 20,
                          &weights, NULL));
    crypto_hash_sha256(sum, weights.data, weights.size);
    sodium_bin2hex(expected, sizeof expected, sum, sizeof sum);
    expected[10] = 0;
    Farm__Manifest *manifest = manifest_from_folder(EMOJI, "x", NULL);
    manifest_model_hash(manifest, text);
    assert_string_equal(text, expected);
    manifest_destroy(&manifest);
    buffer_clear(&weights);
}

static void the_id_depends_on_content_and_not_on_the_name(void **state)
{
    uint8_t first[BLOB_ID], second[BLOB_ID];
    Farm__Manifest *manifest = manifest_from_folder(EMOJI, "one", NULL);
    manifest_id(manifest, first);
    manifest_destroy(&manifest);
    manifest = manifest_from_folder(folder, "two", NULL);
    manifest_id(manifest, second);
    assert_memory_equal(first, second, BLOB_ID);
    manifest->files[3]->size++;
    manifest_id(manifest, second);
    assert_memory_not_equal(first, second, BLOB_ID);
    manifest_destroy(&manifest);
}

static void a_folder_that_is_no_model_is_refused(void **state)
{
    struct error error = {0};
    assert_null(manifest_from_folder("/nowhere/model", NULL, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    assert_null(manifest_from_folder(FARM_SOURCE_DIR "/base", NULL, &error));
    assert_non_null(strstr(error.text, "holds no model_index.json"));
    spoil("rm model_index.json && echo '{\"_class_name\": [' > model_index.json");
    assert_refused("model_index.json: line 2");
}

static void a_missing_part_is_named(void **state)
{
    spoil("rm tokenizer/merges.txt");
    assert_refused("there is no tokenizer/merges.txt");
}

static void a_pickle_is_refused_with_the_way_to_convert_it(void **state)
{
    spoil("mv unet/diffusion_pytorch_model.safetensors "
          "unet/diffusion_pytorch_model.bin");
    assert_refused("unet/diffusion_pytorch_model.bin is a pickle");
    assert_refused("safe_serialization=True");
}

static void half_precision_weights_are_taken_where_no_others_are(void **state)
{
    spoil("mv vae/diffusion_pytorch_model.safetensors "
          "vae/diffusion_pytorch_model.fp16.safetensors");
    Farm__Manifest *manifest = manifest_from_folder(folder, NULL, NULL);
    assert_non_null(manifest);
    manifest_destroy(&manifest);
}

static void channels_after_the_latents_tell_what_a_model_is_for(void **state)
{
    spoil(EDIT("unet/config.json", "s/\"in_channels\": 4/\"in_channels\": 9/"));
    Farm__Manifest *manifest = manifest_from_folder(folder, NULL, NULL);
    assert_non_null(manifest);
    assert_non_null(
        memmem(manifest->reason.data, manifest->reason.len, "(inpainting)", 12));
    manifest_destroy(&manifest);
    spoil("sed -i 's/\"in_channels\": 9/\"in_channels\": 7/' unet/config.json");
    assert_refused("7 input channels is of no family we know");
}

static void families_are_recognised_from_their_files(void **state)
{
    static const struct {
        const char *name, *family, *reason;
        uint32_t factor, width;
    } cases[] = {
        {"sdxl", "sdxl", "two text encoders", 2, 16},
        {"refiner", "sdxl-refiner", "only a second text encoder", 2, 16},
        {"pixels_root", "pixels", "UNet2DModel of pixels", 2, 16},
        {"pixels_class", "pixels", "number of classes 5", 2, 16},
        {"pixels_channels", "pixels", "UNet2DModel of pixels", 4, 28},
        {"sd2_single", "sd2", "v-prediction", 2, 192},
        {"sdxl_single", "sdxl", "conditioner.embedders.1.model", 2, 256},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        char *into = path_format("%s/%s", folder, cases[i].name);
        json_decref(lay_out_family(cases[i].name, into));
        bool single = strstr(cases[i].name, "single");
        char *path = path_format("%s%s", into, single ? "/model.safetensors" : "");
        Farm__Manifest *manifest = manifest_from_path(path, NULL, &error);
        if (!manifest)
            fail_msg("%s: %s", cases[i].name, error.text);
        assert_true(
            wire_is(manifest->family, cases[i].family, strlen(cases[i].family)));
        assert_non_null(memmem(manifest->reason.data, manifest->reason.len,
                               cases[i].reason, strlen(cases[i].reason)));
        assert_int_equal(manifest->factor, cases[i].factor);
        assert_int_equal(manifest->width, cases[i].width);
        manifest_destroy(&manifest);
        free(path);
        free(into);
    }
}

static void all_files_of_weights_that_an_index_names_travel(void **state)
{
    struct error error = {0};
    char *into = path_format("%s/sharded", folder);
    char *stem = path_format("%s/unet/diffusion_pytorch_model", into);
    json_t *golden = lay_out_family("pixels_class", into);
    split_invented(
        stem,
        json_object_get(json_object_get(json_object_get(golden, "files"),
                                        "unet/diffusion_pytorch_model.safetensors"),
                        "tensors"));
    Farm__Manifest *manifest = manifest_from_folder(into, NULL, &error);
    if (!manifest)
        fail_msg("%s", error.text);
    assert_int_equal(manifest->n_files,
                     6); /* index, three configurations, two shards */
    manifest_destroy(&manifest);
    char *shard = path_format("%s-00002-of-00002.safetensors", stem);
    assert_int_equal(unlink(shard), 0);
    assert_null(manifest_from_folder(into, NULL, &error));
    assert_non_null(strstr(error.text, "which the index of its weights names"));
    json_decref(golden);
    free(shard);
    free(stem);
    free(into);
}

static void another_pipeline_is_refused_by_name(void **state)
{
    spoil(EDIT("model_index.json", "s/StableDiffusionPipeline/FluxPipeline/"));
    assert_refused("a FluxPipeline cannot be rendered");
}

static void a_gelu_text_encoder_means_sd2(void **state)
{
    spoil(EDIT("text_encoder/config.json", "s/quick_gelu/gelu/"));
    Farm__Manifest *manifest = manifest_from_folder(folder, NULL, NULL);
    assert_non_null(manifest);
    assert_true(wire_is(manifest->family, "sd2", 3));
    assert_non_null(
        memmem(manifest->reason.data, manifest->reason.len, "with gelu", 9));
    manifest_destroy(&manifest);
}

static void a_small_sample_size_of_an_old_version_means_64(void **state)
{
    spoil(EDIT(
        "unet/config.json",
        "s/\"_diffusers_version\": \"0.42.1\"/\"_diffusers_version\": \"0.8.1\"/"));
    Farm__Manifest *manifest = manifest_from_folder(folder, NULL, NULL);
    assert_non_null(manifest);
    assert_int_equal(manifest->width, 64 * 4);
    manifest_destroy(&manifest);
}

/* Sets the path of file 2 of a good manifest; what is said then. */
static void assert_path_refused(const char *path)
{
    struct error error = {0};
    Farm__Manifest *manifest = manifest_from_folder(EMOJI, NULL, NULL);
    ProtobufCBinaryData kept = manifest->files[2]->path;
    manifest->files[2]->path = wire_text(path);
    bool passed = manifest_check(manifest, &error);
    manifest->files[2]->path = kept;
    manifest_destroy(&manifest);
    if (passed)
        fail_msg("\"%s\" was taken", path);
    assert_int_equal(error.kind, ERROR_INPUT);
}

static void paths_that_leave_the_folder_or_are_not_plain_are_refused(void **state)
{
    static const char *const bad[] = {
        "",    "/etc/passwd", "../x", "unet/../../x", "a//b", "unet/", ".", "..",
        "...", "a/.",         "a\\b", "a b",          "a\nb", "C:x",   "~", "\xc3\xbc"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_path_refused(bad[i]);
    char *deep = path_format("scheduler/%0250d", 1);
    assert_path_refused(deep);
    free(deep);
    /* Plain, but named twice or out of order. */
    assert_path_refused("model_index.json");
    assert_path_refused("a");
    assert_path_refused("z");
}

static void hashes_sizes_and_family_must_fit(void **state)
{
    struct error error = {0};
    Farm__Manifest *manifest = manifest_from_folder(EMOJI, NULL, NULL);
    Farm__ModelFile *file = manifest->files[0];
    assert_true(manifest_check(manifest, &error));

    uint64_t size = file->size;
    file->size = (uint64_t)BLOB_PIECE * file->n_pieces + 1;
    assert_false(manifest_check(manifest, &error));
    file->size = UINT64_MAX;
    assert_false(manifest_check(manifest, &error));
    assert_non_null(strstr(error.text, "the limit is 1099511627776"));
    file->size = size;

    file->blob.len = 31;
    assert_false(manifest_check(manifest, &error));
    file->blob.len = 32;
    file->pieces[0].len = 0;
    assert_false(manifest_check(manifest, &error));
    file->pieces[0].len = 32;
    manifest->factor = 3;
    assert_false(manifest_check(manifest, &error));
    manifest->factor = 4;
    manifest->width = 66;
    assert_false(manifest_check(manifest, &error));
    manifest->width = 64;
    manifest->name.data[0] = '/';
    assert_false(manifest_check(manifest, &error));
    manifest->name.data[0] = 'e';
    assert_true(manifest_check(manifest, &error));
    size_t named = manifest->family.len;
    manifest->family.len = 1;
    assert_false(manifest_check(manifest, &error));
    manifest->family.len = 0;
    assert_true(manifest_check(manifest, &error));
    manifest->family.len = named;
    size_t count = manifest->n_files;
    manifest->n_files = 0;
    assert_false(manifest_check(manifest, &error));
    manifest->n_files = count;
    manifest_destroy(&manifest);
}

static void write_bytes(const char *name, const void *bytes, size_t size)
{
    char *path = path_format("%s/%s", folder, name);
    assert_true(path_write(path, bytes, size, 0600, NULL));
    free(path);
}

static Farm__Manifest *file_manifest(const char *name, const char *kind,
                                     struct error *error)
{
    char *path = path_format("%s/%s", folder, name);
    Farm__Manifest *manifest = manifest_from_file(path, kind, error);
    free(path);
    return manifest;
}

static void equal_pictures_are_one_whatever_their_names(void **state)
{
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xe0, 1, 2, 3};
    struct error error = {0};
    uint8_t one[BLOB_ID], other[BLOB_ID];
    write_bytes("a b.jpeg", jpeg, sizeof jpeg);
    write_bytes("other", jpeg, sizeof jpeg);
    Farm__Manifest *first = file_manifest("a b.jpeg", "picture", &error);
    Farm__Manifest *second = file_manifest("other", "picture", &error);
    if (!first || !second)
        fail_msg("%s", error.text);
    assert_true(wire_is(first->name, "a b", 3));
    assert_true(manifest_is_input(first));
    manifest_id(first, one);
    manifest_id(second, other);
    assert_memory_equal(one, other, BLOB_ID);
    first->factor = 8;
    assert_false(manifest_check(first, &error));
    manifest_destroy(&first);
    manifest_destroy(&second);
}

static void a_file_of_another_format_is_refused(void **state)
{
    static const uint8_t pickle[] = "PK\003\004 archive/data.pkl";
    static const uint8_t tensors[] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    struct error error = {0};
    write_bytes("style.pt", pickle, sizeof pickle);
    assert_null(file_manifest("style.pt", "embedding", &error));
    assert_non_null(strstr(error.text, "is not a safetensors file"));
    assert_null(file_manifest("style.pt", "picture", &error));
    assert_non_null(strstr(error.text, "is not a PNG or JPEG picture"));
    assert_null(file_manifest("nothing", "lora", &error));
    assert_non_null(strstr(error.text, "No such file"));
    write_bytes("style.safetensors", tensors, sizeof tensors);
    Farm__Manifest *embedding = file_manifest("style.safetensors", "embedding", &error);
    assert_non_null(embedding);
    assert_true(wire_is(embedding->files[0]->path, "style.safetensors", 17));
    manifest_destroy(&embedding);
}

int main(void)
{
#define SPOILED(test) cmocka_unit_test_setup_teardown(test, copy_model, remove_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bundled_model_is_read_whole),
        cmocka_unit_test(the_model_hash_begins_the_sha256_of_the_unets_weights),
        cmocka_unit_test_setup_teardown(equal_pictures_are_one_whatever_their_names,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_file_of_another_format_is_refused,
                                        make_folder, remove_folder),
        SPOILED(the_id_depends_on_content_and_not_on_the_name),
        SPOILED(a_folder_that_is_no_model_is_refused),
        SPOILED(a_missing_part_is_named),
        SPOILED(a_pickle_is_refused_with_the_way_to_convert_it),
        SPOILED(half_precision_weights_are_taken_where_no_others_are),
        SPOILED(channels_after_the_latents_tell_what_a_model_is_for),
        SPOILED(families_are_recognised_from_their_files),
        SPOILED(all_files_of_weights_that_an_index_names_travel),
        SPOILED(another_pipeline_is_refused_by_name),
        SPOILED(a_gelu_text_encoder_means_sd2),
        SPOILED(a_small_sample_size_of_an_old_version_means_64),
        cmocka_unit_test(paths_that_leave_the_folder_or_are_not_plain_are_refused),
        cmocka_unit_test(hashes_sizes_and_family_must_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
