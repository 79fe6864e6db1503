#include <arpa/inet.h>
#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/limits.h"
#include "tests/test.h"

static void a_key_may_burst_and_then_gets_its_rate(void **state)
{
    struct member member = {0};
    int64_t now = 1000000;
    int taken = 0;
    while (limits_allow(&member, 100, now))
        taken++;
    assert_int_equal(taken, 500);
    for (int tenth = 0; tenth < 50; tenth++) {
        now += 100;
        while (limits_allow(&member, 100, now))
            taken++;
    }
    assert_in_range(taken, 995, 1000);
    now += 3600 * 1000; /* an hour of silence gives no more than one burst */
    for (taken = 0; limits_allow(&member, 100, now);)
        taken++;
    assert_int_equal(taken, 500);
}

static void work_that_was_asked_for_counts_as_messages(void **state)
{
    struct member member = {0};
    int taken = 0;
    assert_true(limits_allow(&member, 100, 1000));
    limits_charge(&member, 100, 0.5); /* of 500 */
    while (limits_allow(&member, 100, 1000))
        taken++;
    assert_int_equal(taken, 249);
}

static void a_rate_of_zero_is_none(void **state)
{
    struct member member = {0};
    for (int i = 0; i < 100000; i++)
        assert_true(limits_allow(&member, 0, 5));
}

static void attempts_are_told_once_a_minute_with_their_number(void **state)
{
    struct member member = {0};
    assert_int_equal(limits_offence(&member, 1000), 1);
    for (int i = 0; i < 50; i++)
        assert_int_equal(limits_offence(&member, 2000), 0);
    assert_int_equal(limits_offence(&member, 61000), 51);
    assert_int_equal(limits_offence(&member, 61001), 0);
}

/* How many descriptors are open, those of the test's parents among them. */
static size_t count_open(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static int socket_to(const struct sockaddr_in *to)
{
    int file = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(file, (const struct sockaddr *)to, sizeof *to), 0);
    zclock_sleep(50); /* until it was accepted */
    return file;
}

static void a_door_is_shut_while_descriptors_are_few_and_opened_again(void **state)
{
    struct rlimit most, small = {4 * count_open(), 0};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &most), 0);
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    assert_true(zsock_bind(socket, "tcp://127.0.0.1:!") > 0);
    struct limits_door door;
    limits_door_init(&door, socket);
    limits_mind(&door, socket, 1000);
    assert_false(door.shut);
    int taken[1024], count = 0;
    small.rlim_max = most.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    while (count < 1024 && (taken[count] = dup(0)) >= 0)
        count++;
    close(taken[--count]); /* one for looking */
    limits_mind(&door, socket, 2000);
    assert_true(door.shut);
    limits_mind(&door, socket, 2001);
    assert_true(door.shut);
    while (count)
        close(taken[--count]);
    for (int64_t now = 3000; door.shut && now < 6000000; now += 1000) {
        limits_mind(&door, socket, now);
        zclock_sleep(10); /* the old listener is closed by another thread */
    }
    assert_false(door.shut);
    setrlimit(RLIMIT_NOFILE, &most);
    limits_door_clear(&door);
    zsock_destroy(&socket);
}

static void who_knocks_and_goes_is_counted(void **state)
{
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    int port = zsock_bind(socket, "tcp://127.0.0.1:!");
    struct limits_door door;
    limits_door_init(&door, socket);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int stranger = socket_to(&to);
    limits_mind(&door, socket, 1000);
    assert_int_equal(door.told, 0);
    close(stranger);
    for (int64_t now = 2000; !door.told && now < 12000000; now += 1000) {
        limits_mind(&door, socket, now);
        zclock_sleep(5);
    }
    assert_true(door.told > 0);
    limits_door_clear(&door);
    zsock_destroy(&socket);
}

static void memory_in_use_is_seen(void **state)
{
    assert_true(limits_memory() > 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_may_burst_and_then_gets_its_rate),
        cmocka_unit_test(work_that_was_asked_for_counts_as_messages),
        cmocka_unit_test(a_rate_of_zero_is_none),
        cmocka_unit_test(attempts_are_told_once_a_minute_with_their_number),
        cmocka_unit_test(a_door_is_shut_while_descriptors_are_few_and_opened_again),
        cmocka_unit_test(who_knocks_and_goes_is_counted),
        cmocka_unit_test(memory_in_use_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
