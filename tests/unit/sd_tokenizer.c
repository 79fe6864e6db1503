/* Expected ids are those of transformers' CLIPTokenizer (tests/golden/tokens.json). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "tests/folder.h"
#include "worker/sd/tokenizer_clip.h"
#include "worker/sd/tokenizer_json.h"

#define FOLDER     FARM_SOURCE_DIR "/models/emoji/tokenizer/"
#define VOCABULARY FOLDER "vocab.json"
#define MERGES     FOLDER "merges.txt"

static json_t *golden;
static struct tokenizer *emoji;

static int set_up(void **state)
{
    golden = json_load_file(FARM_GOLDEN_DIR "/tokens.json", 0, NULL);
    emoji = tokenizer_open(VOCABULARY, MERGES, FOLDER "tokenizer_config.json",
                           FOLDER "special_tokens_map.json", NULL);
    return make_folder(state) == 0 && golden && emoji ? 0 : -1;
}

static int tear_down(void **state)
{
    tokenizer_close(&emoji);
    json_decref(golden);
    return remove_folder(state);
}

/* The text written into the test's folder; the path is the caller's to free. */
static char *write_text(const char *name, const char *text)
{
    char *path = path_format("%s/%s", folder, name);
    assert_true(path_write(path, text, strlen(text), 0600, NULL));
    return path;
}

static void check_cases(const struct tokenizer *tokenizer, const json_t *cases,
                        const char *name)
{
    size_t i, j;
    json_t *test, *id;
    json_array_foreach(cases, i, test)
    {
        int32_t *ids;
        size_t count;
        struct error error = {0};
        const char *text = json_string_value(json_object_get(test, "text"));
        const json_t *expected = json_object_get(test, "ids");
        if (!tokenizer_encode(tokenizer, text, &ids, &count, &error))
            fail_msg("%s: \"%s\": %s", name, text, error.text);
        if (count != json_array_size(expected))
            fail_msg("%s: \"%s\": %zu ids, expected %zu", name, text, count,
                     json_array_size(expected));
        json_array_foreach(expected, j, id) if (ids[j] != json_integer_value(id))
            fail_msg("%s: \"%s\": id %zu is %d, expected %d", name, text, j, ids[j],
                     (int)json_integer_value(id));
        free(ids);
    }
}

static void ids_equal_those_of_transformers(void **state)
{
    const json_t *cases = json_object_get(golden, "cases");
    assert_int_equal(json_array_size(cases), 200);
    check_cases(emoji, cases, "emoji");
    assert_int_equal(tokenizer_start(emoji), 49406);
    assert_int_equal(tokenizer_end(emoji), 49407);
    assert_int_equal(tokenizer_pad(emoji), 49407);
    assert_int_equal(tokenizer_size(emoji), 49408);
}

static void the_embedded_tokenizer_equals_the_published_one(void **state)
{
    struct tokenizer *clip = tokenizer_clip_new("<|endoftext|>", NULL);
    assert_non_null(clip);
    check_cases(clip, json_object_get(golden, "cases"), "embedded");
    assert_int_equal(tokenizer_pad(clip), 49407);
    assert_int_equal(tokenizer_size(clip), 49408);
    tokenizer_close(&clip);
    clip = tokenizer_clip_new("!", NULL);
    int32_t *ids;
    size_t count;
    assert_true(tokenizer_encode(clip, "wow!!! cat!", &ids, &count, NULL));
    assert_int_equal(count, 6);
    assert_memory_equal(ids, ((int32_t[]){2781, 0, 0, 0, 2368, 0}), 6 * sizeof *ids);
    assert_int_equal(tokenizer_pad(clip), 0);
    free(ids);
    tokenizer_close(&clip);
}

/* ComfyUI takes the tokenizer that pads with the end token for all encoders. */
static void padding_that_is_a_word_can_be_one_in_text(void **state)
{
    size_t i, count;
    json_t *test;
    struct tokenizer *clip = tokenizer_clip_new("!", NULL);
    json_array_foreach(json_object_get(golden, "cases"), i, test)
    {
        const char *text = json_string_value(json_object_get(test, "text"));
        const json_t *want = json_object_get(test, "ids");
        int32_t *ids;
        assert_true(tokenizer_encode_text(clip, text, &ids, &count, NULL));
        assert_int_equal(count, json_array_size(want));
        for (size_t j = 0; j < count; j++)
            assert_int_equal(ids[j], json_integer_value(json_array_get(want, j)));
        free(ids);
    }
    tokenizer_close(&clip);
}

/* vocab.json and merges.txt as one tokenizer.json; merges as strings or as pairs. */
static void write_whole(const char *name, bool pairs, const char *pad)
{
    struct buffer text = {0};
    json_t *merges = json_array();
    assert_true(path_read(MERGES, 1 << 24, &text, NULL));
    for (char *save, *line = strtok_r((char *)buffer_text(&text), "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char *blank = strchr(line, ' ');
        if (line[0] == '#' && strncmp(line, "#version", 8) == 0)
            continue;
        json_array_append_new(
            merges, pairs
                        ? json_pack("[s%, s]", line, (size_t)(blank - line), blank + 1)
                        : json_string(line));
    }
    json_t *root = json_pack("{s:{s:o, s:o}, s:[{s:s, s:b}, {s:s, s:b}]}", "model",
                             "vocab", json_load_file(VOCABULARY, 0, NULL), "merges",
                             merges, "added_tokens", "content", "<|endoftext|>",
                             "normalized", 1, "content", pad, "normalized", 1);
    char *path = path_format("%s/%s", folder, name);
    assert_int_equal(json_dump_file(root, path, 0), 0);
    json_decref(root);
    buffer_clear(&text);
    free(path);
}

static void one_file_holds_what_two_held_before(void **state)
{
    for (int pairs = 0; pairs < 2; pairs++) {
        struct error error = {0};
        write_whole("tokenizer.json", pairs, "<|startoftext|>");
        char *path = path_format("%s/tokenizer.json", folder);
        struct tokenizer *whole = tokenizer_open_json(path, NULL, NULL, &error);
        if (!whole)
            fail_msg("%s", error.text);
        const json_t *cases = json_object_get(golden, "folders"), *test;
        size_t i;
        json_array_foreach(
            (json_t *)(uintptr_t)cases, i,
            test) if (strcmp(json_string_value(json_object_get(test, "name")),
                             "sdxl") == 0)
            check_cases(whole, json_object_get(test, "cases"), "sdxl");
        assert_int_equal(tokenizer_size(whole), 49408);
        tokenizer_close(&whole);
        free(path);
    }
}

/* The object as a file, or NULL for null. */
static char *write_object(const char *name, const json_t *object)
{
    char *text = json_is_null(object) ? NULL : json_dumps(object, 0);
    char *path = text ? write_text(name, text) : NULL;
    free(text);
    return path;
}

static void special_tokens_follow_the_models_folder(void **state)
{
    size_t i;
    json_t *test;
    json_array_foreach(json_object_get(golden, "folders"), i, test)
    {
        struct error error = {0};
        const char *name = json_string_value(json_object_get(test, "name"));
        char *config = write_object("config.json", json_object_get(test, "config"));
        char *special = write_object("special.json", json_object_get(test, "special"));
        struct tokenizer *tokenizer =
            tokenizer_open(VOCABULARY, MERGES, config, special, &error);
        if (!tokenizer)
            fail_msg("%s: %s", name, error.text);
        check_cases(tokenizer, json_object_get(test, "cases"), name);
        assert_int_equal(tokenizer_pad(tokenizer),
                         json_integer_value(json_object_get(test, "pad")));
        tokenizer_close(&tokenizer);
        free(config);
        free(special);
    }
    assert_true(i >= 5);
}

static void text_that_is_no_utf8_or_too_long_is_refused(void **state)
{
    static const char *const texts[] = {"cat \xff", "\xc3", "a\xed\xa0\x80z",
                                        "\xc0\x80", "ok \xdf\xbd \xe0\x80"};
    int32_t *ids = NULL;
    size_t count;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct error error = {0};
        assert_false(tokenizer_encode(emoji, texts[i], &ids, &count, &error));
        assert_int_equal(error.kind, ERROR_INPUT);
        assert_non_null(strstr(error.text, "no UTF-8"));
    }
    struct error error = {0};
    char *text = malloc((1 << 20) + 2);
    memset(text, 'a', (1 << 20) + 1);
    text[(1 << 20) + 1] = 0;
    assert_false(tokenizer_encode(emoji, text, &ids, &count, &error));
    assert_string_equal(error.text, "text of 1048577 bytes, the limit is 1048576");
    free(text);
}

static void a_word_of_a_hundred_thousand_letters_takes_no_square_time(void **state)
{
    int32_t *ids;
    size_t count, size = 100000;
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + i * i % 26);
    text[size] = 0;
    assert_true(tokenizer_encode(emoji, text, &ids, &count, NULL));
    assert_in_range(count, size / 10, size);
    free(ids);
    free(text);
}

static void a_broken_vocabulary_is_refused_by_name(void **state)
{
    static const struct {
        const char *vocabulary, *merges, *expected;
    } cases[] = {
        {"[]", "", "v.json: expected an object"},
        {"{", "", "v.json: "},
        {"{\"a\": -1}", "", "v.json: token a: expected an id from 0"},
        {"{\"a\": 99999999}", "", "v.json: token a: expected an id from 0"},
        {"{\"a\": \"b\"}", "", "v.json: token a: expected an id from 0"},
        {"{\"a\": 0}", "", "v.json: special token \"<|startoftext|>\" is not in"},
        {"{\"a\":0,\"<|startoftext|>\":1,\"<|endoftext|>\":2}", "#version\na b\n",
         "m.txt: line 2: \"a b\": expected two tokens"},
        {"{\"a\":0,\"<|startoftext|>\":1,\"<|endoftext|>\":2}", "a\n", "m.txt: line 1"},
        {"{\"a\":0,\"<|startoftext|>\":1,\"<|endoftext|>\":2}", "", "m.txt: holds no"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        char *vocabulary = write_text("v.json", cases[i].vocabulary);
        char *merges = write_text("m.txt", cases[i].merges);
        assert_null(tokenizer_open(vocabulary, merges, NULL, NULL, &error));
        if (!strstr(error.text, cases[i].expected))
            fail_msg("expected \"%s\" in \"%s\"", cases[i].expected, error.text);
        free(vocabulary);
        free(merges);
    }
    struct error error = {0};
    assert_null(tokenizer_open("/nonexistent.json", MERGES, NULL, NULL, &error));
    assert_non_null(strstr(error.text, "/nonexistent.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_those_of_transformers),
        cmocka_unit_test(one_file_holds_what_two_held_before),
        cmocka_unit_test(the_embedded_tokenizer_equals_the_published_one),
        cmocka_unit_test(padding_that_is_a_word_can_be_one_in_text),
        cmocka_unit_test(special_tokens_follow_the_models_folder),
        cmocka_unit_test(text_that_is_no_utf8_or_too_long_is_refused),
        cmocka_unit_test(a_word_of_a_hundred_thousand_letters_takes_no_square_time),
        cmocka_unit_test(a_broken_vocabulary_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
