#include <string.h>

#include "base/path.h"
#include "coordinator/landing.h"
#include "tests/folder.h"

enum { MANY = 500 };

static void what_lands_is_told_once_in_its_order_and_after_a_sync(void **state)
{
    struct error error = {0};
    struct blob_store *blobs = blob_store_open(folder, &error);
    struct landing *landing = landing_new(blobs);
    struct landed landed;
    assert_false(landing_take(landing, &landed));
    uint64_t told = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        uint8_t peer[PEER_ID] = {(uint8_t)i}, id[BLOB_ID] = {1};
        landing_add(landing, peer, i, id);
        while (landing_take(landing, &landed))
            assert_int_equal(landed.request, told++);
    }
    while (told < MANY) {
        zmq_pollitem_t item = {zsock_resolve(landing_socket(landing)), 0, ZMQ_POLLIN,
                               0};
        assert_int_equal(zmq_poll(&item, 1, 10000), 1);
        while (landing_take(landing, &landed)) {
            assert_int_equal(landed.request, told);
            assert_int_equal(landed.peer[0], (uint8_t)told);
            told++;
        }
    }
    assert_false(landing_take(landing, &landed));
    landing_destroy(&landing);
    blob_store_close(&blobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_lands_is_told_once_in_its_order_and_after_a_sync, make_folder,
            remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
