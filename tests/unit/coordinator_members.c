#include <string.h>

#include "coordinator/members.h"
#include "proto/keys.h"
#include "tests/test.h"

static struct members members;

static int open_members(void **state)
{
    members_init(&members);
    return 0;
}

static int close_members(void **state)
{
    members_clear(&members);
    return 0;
}

static struct member *add(uint8_t key, Farm__Role role, const char *name)
{
    struct member member = {.key = {key}, .role = role, .expires = 100};
    snprintf(member.name, sizeof member.name, "%s", name);
    return members_add(&members, &member);
}

static void unknown_revoked_and_expired_keys_have_no_role(void **state)
{
    uint8_t stranger[32] = {99};
    struct member *worker = add(1, FARM__ROLE__ROLE_WORKER, "iris");
    struct member *token = add(2, FARM__ROLE__ROLE_JOIN, "");
    assert_int_equal(members_role(&members, stranger, 0), FARM__ROLE__ROLE_NONE);
    assert_int_equal(members_role(&members, worker->key, 1000),
                     FARM__ROLE__ROLE_WORKER);
    worker->revoked = 5;
    assert_int_equal(members_role(&members, worker->key, 1000), FARM__ROLE__ROLE_NONE);
    assert_int_equal(members_role(&members, token->key, 99), FARM__ROLE__ROLE_JOIN);
    assert_int_equal(members_role(&members, token->key, 100), FARM__ROLE__ROLE_NONE);
}

static void names_are_made_unique_and_plain(void **state)
{
    char name[MEMBER_NAME];
    members_name(&members, "iris", FARM__ROLE__ROLE_WORKER, name);
    assert_string_equal(name, "iris");
    add(1, FARM__ROLE__ROLE_WORKER, "iris");
    members_name(&members, "iris", FARM__ROLE__ROLE_WORKER, name);
    assert_string_equal(name, "iris-2");
    members_name(&members, "a/b c\n", FARM__ROLE__ROLE_WORKER, name);
    assert_string_equal(name, "a-b-c-");
    members_name(&members, "", FARM__ROLE__ROLE_WORKER, name);
    assert_string_equal(name, "worker");
}

static void a_key_is_found_by_name_or_unique_prefix(void **state)
{
    struct error error = {0};
    char text[KEY_TEXT];
    struct member *iris = add(1, FARM__ROLE__ROLE_WORKER, "iris");
    struct member *rose = add(200, FARM__ROLE__ROLE_WORKER, "rose");
    add(1 + 100, FARM__ROLE__ROLE_JOIN, "rose");
    key_format(iris->key, text);
    assert_ptr_equal(members_resolve(&members, "iris", &error), iris);
    assert_ptr_equal(members_resolve(&members, "rose", &error), rose);
    assert_ptr_equal(members_resolve(&members, text, &error), iris);
    text[5] = 0;
    assert_ptr_equal(members_resolve(&members, text, &error), iris);
    assert_null(members_resolve(&members, "lily", &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    struct member twin = {.key = {1, 0, 0, 0, 0, 0, 0, 0, 7}};
    members_add(&members, &twin);
    assert_null(members_resolve(&members, text, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
}

static void administrators_are_counted_with_and_without_tokens(void **state)
{
    struct member *token = add(2, FARM__ROLE__ROLE_JOIN, "");
    token->grants = FARM__ROLE__ROLE_ADMIN;
    assert_int_equal(members_count(&members, FARM__ROLE__ROLE_ADMIN, false, 0), 0);
    assert_int_equal(members_count(&members, FARM__ROLE__ROLE_ADMIN, true, 0), 1);
    assert_int_equal(members_count(&members, FARM__ROLE__ROLE_ADMIN, true, 100), 0);
    token->used = true;
    assert_int_equal(members_count(&members, FARM__ROLE__ROLE_ADMIN, true, 0), 0);
    struct member *admin = add(1, FARM__ROLE__ROLE_ADMIN, "root");
    assert_int_equal(members_count(&members, FARM__ROLE__ROLE_ADMIN, false, 0), 1);
    admin->revoked = 1;
    assert_int_equal(members_count(&members, FARM__ROLE__ROLE_ADMIN, false, 0), 0);
}

#define MEMBERS_TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, open_members, close_members)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBERS_TEST(unknown_revoked_and_expired_keys_have_no_role),
        MEMBERS_TEST(names_are_made_unique_and_plain),
        MEMBERS_TEST(a_key_is_found_by_name_or_unique_prefix),
        MEMBERS_TEST(administrators_are_counted_with_and_without_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
