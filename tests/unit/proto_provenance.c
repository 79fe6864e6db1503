#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "proto/files/manifest.h"
#include "proto/files/picture.h"
#include "proto/provenance.h"
#include "proto/wire.h"
#include "tests/folder.h"

static struct signer farm, other;

static int make_keys(void **state)
{
    if (make_folder(state))
        return -1;
    char *path = path_format("%s/signing.key", folder);
    char *second = path_format("%s/other.key", folder);
    bool ok = signer_keep(&farm, path, NULL) && signer_keep(&other, second, NULL);
    free(second);
    free(path);
    return ok ? 0 : -1;
}

static struct provenance example(void)
{
    struct provenance made = {
        .task = {1}, .pixels = {2}, .models = 2, .time = 1795413397};
    made.model[0][0] = 3;
    made.model[1][31] = 4;
    made.node[5] = 6;
    strcpy(made.engine, "farm-worker 0.1.0, numerics 1");
    strcpy(made.variant, "pocl-cpu");
    return made;
}

static void the_key_is_made_once_and_kept(void **state)
{
    struct signer again;
    char *path = path_format("%s/signing.key", folder);
    assert_true(signer_keep(&again, path, NULL));
    assert_memory_equal(again.public_key, farm.public_key, SIGNING_KEY);
    assert_memory_not_equal(other.public_key, farm.public_key, SIGNING_KEY);
    signer_wipe(&again);
    free(path);
}

static void what_was_signed_reads_back(void **state)
{
    struct provenance made = example(), read;
    struct buffer text = {0};
    struct error error = {0};
    provenance_sign(&made, &farm, &text);
    assert_true(provenance_read(buffer_text(&text), &read, &error));
    assert_memory_equal(read.task, made.task, 32);
    assert_memory_equal(read.pixels, made.pixels, 32);
    assert_int_equal(read.models, 2);
    assert_memory_equal(read.model, made.model, sizeof made.model);
    assert_string_equal(read.engine, made.engine);
    assert_string_equal(read.variant, made.variant);
    assert_memory_equal(read.node, made.node, 32);
    assert_int_equal(read.time, made.time);
    assert_memory_equal(read.farm, farm.public_key, SIGNING_KEY);
    buffer_clear(&text);
}

static void the_deny_list_that_was_on_is_signed_too(void **state)
{
    struct provenance made = example(), read;
    struct buffer text = {0};
    provenance_sign(&made, &farm, &text);
    assert_true(provenance_read(buffer_text(&text), &read, NULL));
    assert_false(read.listed);
    text.size = 0;
    made.listed = true;
    made.deny_list[7] = 9;
    provenance_sign(&made, &farm, &text);
    assert_true(provenance_read(buffer_text(&text), &read, NULL));
    assert_true(read.listed);
    assert_memory_equal(read.deny_list, made.deny_list, 32);
    buffer_clear(&text);
}

static void any_byte_that_changes_breaks_it(void **state)
{
    struct provenance made = example(), read;
    struct buffer text = {0};
    provenance_sign(&made, &farm, &text);
    for (size_t i = 0; i < text.size; i++) {
        buffer_text(&text);
        text.data[i] ^= 1;
        assert_false(provenance_read((const char *)text.data, &read, NULL));
        text.data[i] ^= 1;
    }
    assert_true(buffer_append(&text, "more\n", 5, NULL));
    assert_false(provenance_read(buffer_text(&text), &read, NULL));
    buffer_clear(&text);
}

static void a_worker_s_text_cannot_pose_as_a_line(void **state)
{
    struct provenance made = example(), read;
    struct buffer text = {0};
    strcpy(made.variant, "x\nnode 0000000000000000000000000000000000000000");
    provenance_sign(&made, &farm, &text);
    assert_true(provenance_read(buffer_text(&text), &read, NULL));
    assert_memory_equal(read.node, made.node, 32);
    assert_non_null(strstr(read.variant, "x?node 0"));
    buffer_clear(&text);
}

static void other_pixels_and_other_farms_are_told(void **state)
{
    struct provenance made = example();
    struct buffer text = {0};
    struct error error = {0};
    uint8_t rgb[12] = {9, 8, 7};
    blob_id(rgb, sizeof rgb, made.pixels);
    provenance_sign(&made, &farm, &text);
    const char *signed_text = buffer_text(&text);
    assert_true(
        provenance_verify(signed_text, farm.public_key, rgb, sizeof rgb, &error));
    assert_false(
        provenance_verify(signed_text, other.public_key, rgb, sizeof rgb, &error));
    assert_non_null(strstr(error.text, "another farm"));
    rgb[11]++;
    assert_false(
        provenance_verify(signed_text, farm.public_key, rgb, sizeof rgb, &error));
    assert_non_null(strstr(error.text, "pixels"));
    buffer_clear(&text);
}

static void a_signature_for_one_purpose_is_none_for_another(void **state)
{
    uint8_t signature[SIGNING_SIGNATURE];
    signer_sign(&farm, "one", "data", 4, signature);
    assert_true(signing_verify(farm.public_key, "one", "data", 4, signature));
    assert_false(signing_verify(farm.public_key, "two", "data", 4, signature));
    assert_false(signing_verify(farm.public_key, "oned", "ata", 3, signature));
    assert_false(signing_verify(other.public_key, "one", "data", 4, signature));
}

static void text_put_into_a_png_and_cut_again_leaves_the_same_file(void **state)
{
    struct picture picture = {8, 4, calloc(8 * 4, 3)};
    struct buffer file = {0}, put = {0}, cut = {0}, text = {0}, read = {0};
    const struct picture_text parameters = {"parameters", "a cat"};
    assert_true(picture_write_png(&picture, &parameters, 1, &file, NULL));
    assert_true(
        picture_put_text(file.data, file.size, "clfarm", "one\ntwo", &put, NULL));
    assert_true(picture_read_text(put.data, put.size, "clfarm", &read, NULL));
    assert_string_equal(buffer_text(&read), "one\ntwo");
    assert_true(picture_cut_text(put.data, put.size, "clfarm", &cut, &text, NULL));
    assert_string_equal(buffer_text(&text), "one\ntwo");
    assert_int_equal(cut.size, file.size);
    assert_memory_equal(cut.data, file.data, file.size);
    for (size_t size = 0; size < put.size; size++) { /* a file that ends anywhere */
        cut.size = text.size = 0;
        picture_cut_text(put.data, size, "clfarm", &cut, &text, NULL);
    }
    struct error error = {0};
    assert_false(picture_put_text("no picture", 10, "clfarm", "x", &cut, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    picture_clear(&picture);
    buffer_clear(&file);
    buffer_clear(&put);
    buffer_clear(&cut);
    buffer_clear(&text);
    buffer_clear(&read);
}

static void a_manifest_holds_as_it_was_signed_and_no_other_way(void **state)
{
    uint8_t blob[32] = {1}, signature[SIGNING_SIGNATURE];
    struct error error = {0};
    Farm__ModelFile file = FARM__MODEL_FILE__INIT, *files[] = {&file};
    file.path = wire_text("model.bin");
    file.blob = wire_bytes(blob, sizeof blob);
    Farm__Manifest manifest = FARM__MANIFEST__INIT;
    manifest.name = wire_text("tiny");
    manifest.n_files = 1;
    manifest.files = files;
    assert_false(manifest_verify(&manifest, farm.public_key, &error));
    manifest_sign(&manifest, &farm, signature);
    manifest.signature = wire_bytes(signature, sizeof signature);
    assert_true(manifest_verify(&manifest, farm.public_key, NULL));
    Farm__Manifest *copy = wire_copy(&manifest.base);
    assert_true(manifest_verify(copy, farm.public_key, NULL));
    manifest_destroy(&copy);
    assert_false(manifest_verify(&manifest, other.public_key, NULL));
    blob[31] ^= 1;
    assert_false(manifest_verify(&manifest, farm.public_key, &error));
    assert_int_equal(error.kind, ERROR_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_made_once_and_kept),
        cmocka_unit_test(what_was_signed_reads_back),
        cmocka_unit_test(the_deny_list_that_was_on_is_signed_too),
        cmocka_unit_test(any_byte_that_changes_breaks_it),
        cmocka_unit_test(a_worker_s_text_cannot_pose_as_a_line),
        cmocka_unit_test(other_pixels_and_other_farms_are_told),
        cmocka_unit_test(a_signature_for_one_purpose_is_none_for_another),
        cmocka_unit_test(text_put_into_a_png_and_cut_again_leaves_the_same_file),
        cmocka_unit_test(a_manifest_holds_as_it_was_signed_and_no_other_way),
    };
    return cmocka_run_group_tests(tests, make_keys, remove_folder);
}
