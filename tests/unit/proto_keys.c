#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "base/path.h"
#include "proto/keys.h"
#include "tests/folder.h"

static void a_secret_key_has_the_public_half_libzmq_derives(void **state)
{
    struct keypair pair, again;
    char secret[KEY_TEXT], mine[KEY_TEXT], theirs[KEY_TEXT];
    assert_true(keypair_make(&pair, NULL));
    key_format(pair.secret_key, secret);
    key_format(pair.public_key, mine);
    assert_int_equal(zmq_curve_public(theirs, secret), 0);
    assert_string_equal(mine, theirs);
    keypair_from_secret(&again, pair.secret_key);
    assert_memory_equal(again.public_key, pair.public_key, KEY_SIZE);
    keypair_wipe(&pair);
    keypair_wipe(&again);
    for (size_t i = 0; i < KEY_SIZE; i++)
        assert_int_equal(pair.secret_key[i], 0);
}

static void a_saved_key_is_private_and_loads_back(void **state)
{
    struct error error = {0};
    struct keypair pair, loaded;
    struct stat found;
    char *path = path_format("%s/key", folder);
    assert_true(keypair_make(&pair, &error));
    assert_true(keypair_save(&pair, path, &error));
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_true(keypair_load(&loaded, path, &error));
    assert_memory_equal(loaded.public_key, pair.public_key, KEY_SIZE);
    assert_memory_equal(loaded.secret_key, pair.secret_key, KEY_SIZE);

    assert_int_equal(chmod(path, 0640), 0);
    assert_false(keypair_load(&loaded, path, &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    assert_non_null(strstr(error.text, "mode 0640"));
    assert_non_null(strstr(error.text, "chmod 600"));

    assert_true(path_write(path, "# only a comment\n", 17, 0600, &error));
    assert_false(keypair_load(&loaded, path, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    unlink(path);
    assert_false(keypair_load(&loaded, path, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    free(path);
}

static void
a_kept_key_is_made_once_and_never_replaced_when_it_cannot_be_read(void **state)
{
    struct error error = {0};
    struct keypair first, again;
    char *path = path_format("%s/kept", folder);
    assert_true(keypair_keep(&first, path, &error));
    assert_true(keypair_keep(&again, path, &error));
    assert_memory_equal(again.secret_key, first.secret_key, KEY_SIZE);
    assert_int_equal(chmod(path, 0644), 0);
    assert_false(keypair_keep(&again, path, &error));
    assert_int_equal(error.kind, ERROR_DENIED);
    free(path);
}

static void a_key_with_a_character_outside_z85_is_refused(void **state)
{
    uint8_t key[KEY_SIZE];
    char text[KEY_TEXT];
    memset(text, 'a', 40);
    text[40] = 0;
    assert_true(key_parse(text, key, NULL));
    text[7] = '"';
    assert_false(key_parse(text, key, NULL));
    assert_false(key_parse("aaaaa", key, NULL));
    text[7] = '#';
    memset(text, '#', 5); /* five of the last digit pass 2^32 */
    assert_false(key_parse(text, key, NULL));
}

static struct token example(void)
{
    struct token token = {.expires = 1900000000, .farm = "attic"};
    strcpy(token.address[0], "tcp://10.0.0.5:7610");
    strcpy(token.address[1], "tcp://[fd00::5]:7610");
    for (uint8_t i = 0; i < KEY_SIZE; i++) {
        token.server_key[i] = i;
        token.join_secret[i] = (uint8_t)(200 - i);
    }
    return token;
}

static void a_token_reads_back_with_white_space_around_it(void **state)
{
    struct token token = example(), read;
    char text[TOKEN_TEXT];
    assert_true(token_format(&token, text, NULL));
    char *spaced = path_format(" \n%s\r\n", text);
    assert_true(token_parse(spaced, &read, NULL));
    assert_memory_equal(&read, &token, sizeof token);
    free(spaced);
}

static void a_token_is_given_as_text_or_as_the_file_that_holds_it(void **state)
{
    struct token token = example(), read;
    struct error error = {0};
    char text[TOKEN_TEXT];
    char *path = path_format("%s/token", folder);
    assert_true(token_format(&token, text, NULL));
    assert_true(token_read(text, &read, NULL));
    assert_memory_equal(&read, &token, sizeof token);

    assert_false(token_read(path, &read, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "nor a file that holds one"));
    char *line = path_format("%s\n", text);
    assert_true(path_write(path, line, strlen(line), 0600, NULL));
    memset(&read, 0, sizeof read);
    assert_true(token_read(path, &read, &error));
    assert_memory_equal(&read, &token, sizeof token);
    free(line);
    free(path);
}

static void a_token_with_any_byte_changed_or_missing_is_refused(void **state)
{
    struct token token = example(), read;
    struct error error = {0};
    char text[TOKEN_TEXT];
    assert_true(token_format(&token, text, NULL));
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        assert_false(token_parse(text, &read, &error));
        text[i] = 0;
        assert_false(token_parse(text, &read, &error));
        text[i] = kept;
    }
    assert_string_equal(error.text, "the token is damaged: was it copied whole?");
    assert_false(token_parse("hello", &read, &error));
    assert_string_equal(error.text, "not a token: a token begins with clfarm1-");
}

static void too_many_long_addresses_make_no_token(void **state)
{
    struct token token = example();
    struct error error = {0};
    char text[TOKEN_TEXT];
    for (size_t i = 0; i < TOKEN_ADDRESSES; i++) {
        memset(token.address[i], 'x', 127);
        memcpy(token.address[i], "tcp://", 6);
    }
    assert_false(token_format(&token, text, &error));
    assert_non_null(strstr(error.text, "advertise"));
}

static void a_join_is_proved_only_by_the_new_keys_owner(void **state)
{
    struct keypair server, own, thief, join;
    uint8_t nonce[JOIN_NONCE], proof[JOIN_PROOF];
    assert_true(keypair_make(&server, NULL) && keypair_make(&own, NULL) &&
                keypair_make(&thief, NULL) && keypair_make(&join, NULL));
    assert_true(
        join_prove(&own, server.public_key, join.public_key, nonce, proof, NULL));
    assert_true(
        join_verify(&server, own.public_key, join.public_key, nonce, proof, NULL));
    assert_false(
        join_verify(&server, thief.public_key, join.public_key, nonce, proof, NULL));
    assert_false(
        join_verify(&server, own.public_key, thief.public_key, nonce, proof, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_key_has_the_public_half_libzmq_derives),
        cmocka_unit_test(a_saved_key_is_private_and_loads_back),
        cmocka_unit_test(
            a_kept_key_is_made_once_and_never_replaced_when_it_cannot_be_read),
        cmocka_unit_test(a_key_with_a_character_outside_z85_is_refused),
        cmocka_unit_test(a_token_reads_back_with_white_space_around_it),
        cmocka_unit_test(a_token_is_given_as_text_or_as_the_file_that_holds_it),
        cmocka_unit_test(a_token_with_any_byte_changed_or_missing_is_refused),
        cmocka_unit_test(too_many_long_addresses_make_no_token),
        cmocka_unit_test(a_join_is_proved_only_by_the_new_keys_owner),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
