#include <stdlib.h>
#include <string.h>

#include "coordinator/registry.h"
#include "tests/test.h"

enum { SUSPECT_MS = 6000 };

static struct registry registry;
static const uint8_t key[32] = {9}, one[INSTANCE_ID] = {1}, two[INSTANCE_ID] = {2};

static int open_registry(void **state)
{
    registry_init(&registry, SUSPECT_MS);
    return 0;
}

static int close_registry(void **state)
{
    registry_clear(&registry);
    return 0;
}

static struct session *greet(uint8_t peer, const char *host, int64_t now)
{
    uint8_t whole[PEER_ID] = {0, peer};
    return registry_greet(&registry, whole, key, host, "farm-worker", now);
}

static void assert_state(const struct node *node, int64_t now, const char *expected)
{
    char *state = node_state(node, now);
    assert_string_equal(state, expected);
    free(state);
}

static void a_second_instance_of_a_device_is_refused_while_the_first_lives(void **state)
{
    struct error error = {0};
    Farm__Device device = FARM__DEVICE__INIT;
    struct node *node = registry_node(&registry, key, 0, "iris");
    assert_true(registry_free_for(node, one, 0, &error));
    registry_attach(node, greet(1, "iris.lan", 0), one, &device, 0);
    assert_false(registry_free_for(node, two, 100, &error));
    assert_int_equal(error.kind, ERROR_BUSY);
    assert_non_null(strstr(error.text, "in use by iris.lan"));
    assert_true(registry_free_for(node, one, 100, &error));
    assert_true(registry_free_for(node, two, SUSPECT_MS, &error));
}

static void devices_of_one_key_are_nodes_of_their_own(void **state)
{
    struct node *first = registry_node(&registry, key, 0, "iris");
    struct node *second = registry_node(&registry, key, 1, "iris");
    assert_ptr_not_equal(first, second);
    assert_string_equal(first->name, "iris");
    assert_string_equal(second->name, "iris:1");
    assert_ptr_equal(registry_node(&registry, key, 1, "iris"), second);
    assert_ptr_equal(registry_node_numbered(&registry, second->number), second);
}

static void the_same_instance_may_still_hold_what_it_was_given(void **state)
{
    Farm__Device device = FARM__DEVICE__INIT;
    struct node *node = registry_node(&registry, key, 0, "iris");
    assert_true(registry_attach(node, greet(1, "a", 0), one, &device, 0));
    assert_true(registry_attach(node, greet(2, "a", 5), one, &device, 5));
    assert_false(registry_attach(node, greet(3, "a", 9), two, &device, 9));
    uint8_t peer[PEER_ID] = {0, 1};
    assert_null(registry_session(&registry, peer)->node);
}

static void a_node_that_is_silent_or_unfit_gets_no_work(void **state)
{
    Farm__Device device = FARM__DEVICE__INIT;
    struct node *node = registry_node(&registry, key, 0, "iris");
    assert_state(node, 0, "offline");
    struct session *session = greet(1, "a", 0);
    registry_attach(node, session, one, &device, 0);
    assert_state(node, 0, "ok");
    assert_true(node_works(node, SUSPECT_MS - 1));
    assert_false(node_works(node, SUSPECT_MS));
    assert_state(node, SUSPECT_MS, "suspect");

    uint8_t why[] = "golden picture differs";
    device.unfit = (ProtobufCBinaryData){sizeof why - 1, why};
    registry_attach(node, session, one, &device, SUSPECT_MS);
    assert_false(node_works(node, SUSPECT_MS));
    assert_state(node, SUSPECT_MS, "unfit: golden picture differs");

    registry_part(&registry, &session);
    assert_state(node, SUSPECT_MS, "offline");
    assert_null(session);
}

static void images_per_minute_count_only_time_with_work(void **state)
{
    struct node *node = registry_node(&registry, key, 0, "iris");
    for (int64_t second = 1; second <= 600; second++) {
        node->leased = second % 2 ? 1 : 0; /* busy half the time */
        node_account(node, second * 1000);
        if (second % 4 == 0)
            node_credit_image(node, second * 1000);
    }
    /* One image in two busy seconds. */
    assert_true(node_images_per_minute(node) > 28 && node_images_per_minute(node) < 32);
    assert_int_equal(node->images, 150);
}

static void three_faults_in_a_row_that_others_make_good_are_too_many(void **state)
{
    struct node *node = registry_node(&registry, key, 0, "iris");
    assert_false(node_blame(node, 0));
    assert_false(node_blame(node, 0));
    node_credit_image(node, 0);
    assert_false(node_blame(node, 0)); /* before that image */
    assert_false(node_blame(node, 1));
    assert_false(node_blame(node, 1));
    assert_true(node_blame(node, 1));
    node_set_order(node, NODE_BLOCKED, "it fails");
    assert_state(node, 0, "blocked: it fails");
}

static void a_renamed_worker_gives_all_its_devices_the_name(void **state)
{
    struct node *first = registry_node(&registry, key, 0, "iris");
    struct node *second = registry_node(&registry, key, 1, "iris");
    registry_rename(&registry, key, "oak");
    assert_string_equal(first->name, "oak");
    assert_string_equal(second->name, "oak:1");
}

static void what_is_on_its_way_to_a_node_is_of_the_credit_it_names(void **state)
{
    struct error error = {0};
    Farm__Device device = FARM__DEVICE__INIT;
    struct node *node = registry_node(&registry, key, 0, "iris");
    registry_attach(node, greet(1, "iris.lan", 0), one, &device, 0);
    assert_true(node_offers(node, 2, 0, &error));
    node_assigned(node, 2);
    assert_int_equal(node->offer.credit, 0);
    /* It asked before these two came: they are what it asked for. */
    assert_true(node_offers(node, 2, 0, &error));
    assert_int_equal(node->offer.credit, 0);
    assert_true(node_offers(node, 1, 1, &error));
    assert_int_equal(node->offer.credit, 0);
    assert_true(node_offers(node, 2, 2, &error));
    assert_int_equal(node->offer.credit, 2);
    assert_false(node_offers(node, 2, 3, &error));
    assert_non_null(strstr(error.text, "received 3 attempts, but 2 were assigned"));
    /* A new connection counts anew. */
    registry_attach(node, greet(2, "iris.lan", 0), one, &device, 0);
    assert_true(node_offers(node, 2, 0, &error));
    assert_int_equal(node->offer.credit, 2);
}

#define REGISTRY_TEST(name)                                                            \
    cmocka_unit_test_setup_teardown(name, open_registry, close_registry)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REGISTRY_TEST(a_second_instance_of_a_device_is_refused_while_the_first_lives),
        REGISTRY_TEST(devices_of_one_key_are_nodes_of_their_own),
        REGISTRY_TEST(the_same_instance_may_still_hold_what_it_was_given),
        REGISTRY_TEST(a_node_that_is_silent_or_unfit_gets_no_work),
        REGISTRY_TEST(images_per_minute_count_only_time_with_work),
        REGISTRY_TEST(three_faults_in_a_row_that_others_make_good_are_too_many),
        REGISTRY_TEST(a_renamed_worker_gives_all_its_devices_the_name),
        REGISTRY_TEST(what_is_on_its_way_to_a_node_is_of_the_credit_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
