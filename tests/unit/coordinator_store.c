#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/embedded.h"
#include "base/path.h"
#include "coordinator/queue.h"
#include "coordinator/store.h"
#include "tests/folder.h"

extern const struct embedded_file coordinator_sql[];

static char *path;
static struct store *store;

static int open_store(void **state)
{
    if (make_folder(state))
        return -1;
    path = path_format("%s/farm.db", folder);
    store = store_open(path, false, NULL);
    return store ? 0 : -1;
}

static int close_store(void **state)
{
    store_close(&store);
    free(path);
    return remove_folder(state);
}

static void reopen(void)
{
    struct error error = {0};
    store_close(&store);
    store = store_open(path, false, &error);
    assert_string_equal(error.text, "");
}

static void apply(struct change *change)
{
    struct error error = {0};
    assert_true(store_apply(store, &change, 1, &error));
    change_destroy(&change);
}

static void add_job(struct change *change, int64_t number)
{
    struct key_row key = {.public_key = {1}, .role = 1, .name = "me", .created = 5};
    struct job_row job = {.number = number,
                          .id = {(uint8_t)number},
                          .submitter = {1},
                          .content = {7},
                          .specification = (const uint8_t *)"abc",
                          .specification_size = 3,
                          .tasks = 10,
                          .created = 6};
    change_key(change, &key);
    change_job(change, &job);
}

struct seen {
    int rows;
    struct job_row job;
    struct attempt_row attempt[4];
    struct task_row task[4];
    struct result_row result;
    int results;
};

static void see_job(void *context, const struct job_row *row)
{
    struct seen *seen = context;
    seen->rows++;
    seen->job = *row;
    assert_int_equal(row->specification_size, 3);
    assert_memory_equal(row->specification, "abc", 3);
}

static void see_attempt(void *context, const struct attempt_row *row)
{
    struct seen *seen = context;
    seen->attempt[seen->rows++] = *row;
}

static void see_task(void *context, const struct task_row *row,
                     const struct result_row *result)
{
    struct seen *seen = context;
    seen->task[seen->rows++] = *row;
    if (result)
        seen->result = *result;
    seen->results += result != NULL;
}

static void epochs_grow_even_when_the_clock_goes_back(void **state)
{
    uint64_t epoch = 0;
    assert_true(store_begin(store, 1000, &epoch, NULL));
    assert_int_equal(epoch, 1000);
    assert_true(store_begin(store, 10, &epoch, NULL));
    assert_int_equal(epoch, 1001);
    reopen();
    assert_true(store_begin(store, 2000, &epoch, NULL));
    assert_int_equal(epoch, 2000);
}

static void a_job_is_there_after_a_reopen(void **state)
{
    struct change *change = change_new();
    add_job(change, 1);
    change_job_cursor(change, 1, 4);
    apply(change);
    reopen();
    struct seen seen = {0};
    assert_true(store_jobs(store, see_job, &seen, NULL));
    assert_int_equal(seen.rows, 1);
    assert_int_equal(seen.job.cursor, 4);
    assert_int_equal(seen.job.tasks, 10);
    assert_int_equal(seen.job.content[0], 7);
    struct buffer specification = {0};
    assert_true(store_specification(store, 1, &specification, NULL));
    assert_string_equal(buffer_text(&specification), "abc");
    buffer_clear(&specification);
}

static void a_change_is_applied_whole_or_not_at_all(void **state)
{
    struct error error = {0};
    struct change *change = change_new();
    add_job(change, 1);
    change_task(change, &(struct task_row){.job = 99, .state = 3, .reason = ""});
    assert_false(store_apply(store, &change, 1, &error));
    assert_non_null(strstr(error.text, "FOREIGN KEY"));
    change_destroy(&change);
    struct seen seen = {0};
    assert_true(store_jobs(store, see_job, &seen, NULL));
    assert_int_equal(seen.rows, 0);
}

static void open_attempts_and_faults_of_open_jobs_are_loaded(void **state)
{
    struct change *change = change_new();
    add_job(change, 1);
    for (uint64_t counter = 1; counter <= 3; counter++) {
        struct attempt_row attempt = {.epoch = 9,
                                      .counter = counter,
                                      .job = 1,
                                      .index = counter,
                                      .worker = {1},
                                      .node = "iris"};
        change_attempt(change, &attempt);
    }
    change_attempt_ended(change, 9, 1, "lost", false);
    change_attempt_ended(change, 9, 2, "device error", true);
    apply(change);
    struct seen seen = {0};
    assert_true(store_attempts(store, see_attempt, &seen, NULL));
    assert_int_equal(seen.rows, 2);
    assert_int_equal(seen.attempt[0].counter, 2);
    assert_true(seen.attempt[0].fault);
    assert_int_equal(seen.attempt[1].counter, 3);

    change = change_new();
    struct job_row ended = {.number = 1, .state = QUEUE_DROPPED, .canceled = 10};
    change_job_ended(change, &ended);
    apply(change);
    seen = (struct seen){0};
    assert_true(store_attempts(store, see_attempt, &seen, NULL));
    assert_int_equal(seen.rows, 0);
    assert_true(store_history(store, 1, 1, see_attempt, &seen, NULL));
    assert_int_equal(seen.rows, 1);
}

static struct result_row result_numbered(int64_t number, bool latents)
{
    return (struct result_row){.number = number,
                               .key = {5},
                               .png = {1},
                               .latents = {2},
                               .has_latents = latents,
                               .pixels = {3},
                               .node = "iris",
                               .provenance = latents ? "signed" : ""};
}

static void a_result_answers_only_what_asks_no_more_than_it_holds(void **state)
{
    struct change *change = change_new();
    uint8_t png[32] = {1}, latents[32] = {2}, key[32] = {5}, other[32] = {6};
    struct result_row result = result_numbered(1, false), found;
    struct error error = {0};
    change_blob(change, png, 100);
    assert_true(change->blobs);
    change_blob(change, latents, 200);
    change_result(change, &result);
    apply(change);
    assert_true(store_result(store, key, false, &found, NULL));
    assert_false(found.has_latents);
    assert_string_equal(found.node, "iris");
    assert_string_equal(found.provenance, "");
    result_row_clear(&found);
    assert_false(store_result(store, key, true, &found, &error));
    assert_int_equal(error.kind, ERROR_NOT_FOUND);
    assert_false(store_result(store, other, false, &found, NULL));

    change = change_new();
    result = result_numbered(2, true);
    change_result(change, &result);
    result = result_numbered(3, true);
    result.superseded = true;
    change_result(change, &result);
    apply(change);
    assert_true(store_result(store, key, true, &found, NULL));
    assert_int_equal(found.number, 2);
    assert_int_equal(found.latents[0], 2);
    assert_string_equal(found.provenance, "signed");
    result_row_clear(&found);
    int64_t last;
    assert_true(store_last_result(store, &last, NULL));
    assert_int_equal(last, 3);
}

static void tasks_come_in_pages_with_their_results(void **state)
{
    struct change *change = change_new();
    uint8_t png[32] = {1};
    struct result_row result = result_numbered(1, false);
    add_job(change, 1);
    change_blob(change, png, 100);
    change_result(change, &result);
    change_task(change, &(struct task_row){1, 7, QUEUE_FAILED, 0, "no memory"});
    change_task(change, &(struct task_row){1, 3, QUEUE_DONE, 1, ""});
    change_task(change, &(struct task_row){1, 5, QUEUE_FAILED, 0, "first"});
    change_task(change, &(struct task_row){1, 5, QUEUE_DONE, 1, ""});
    apply(change);
    struct seen seen = {0};
    assert_true(store_tasks(store, 1, 4, 10, see_task, &seen, NULL));
    assert_int_equal(seen.rows, 2);
    assert_int_equal(seen.results, 1);
    assert_int_equal(seen.result.png[0], 1);
    assert_int_equal(seen.task[0].index, 5);
    assert_int_equal(seen.task[0].state, QUEUE_DONE);
    assert_int_equal(seen.task[1].index, 7);
    seen = (struct seen){0};
    assert_true(store_tasks(store, 1, 0, 1, see_task, &seen, NULL));
    assert_int_equal(seen.rows, 1);
    assert_int_equal(seen.task[0].index, 3);
}

static void see_state(void *context, uint64_t index, int state)
{
    int *states = context;
    states[index] = state;
}

static void the_states_of_tasks_come_without_their_results(void **state)
{
    int states[10] = {0};
    struct change *change = change_new();
    add_job(change, 1);
    change_task(change, &(struct task_row){1, 7, QUEUE_FAILED, 0, "no memory"});
    change_task(change, &(struct task_row){1, 2, QUEUE_FAILED, 0, "no memory"});
    apply(change);
    assert_true(store_task_states(store, 1, see_state, states, NULL));
    assert_int_equal(states[7], QUEUE_FAILED);
    assert_int_equal(states[2], QUEUE_FAILED);
    assert_int_equal(states[3], 0);
}

struct tunings {
    size_t count;
    int64_t first_at;
    char first[64];
};

static void see_tuning(void *context, const struct tuning_row *row)
{
    struct tunings *seen = context;
    if (!seen->count++) {
        seen->first_at = row->at;
        snprintf(seen->first, sizeof seen->first, "%s %s by %s", row->shape,
                 row->variant, row->node);
    }
}

static struct tunings tunings_of(const char *kind, const uint8_t identity[16])
{
    struct tunings seen = {0};
    assert_true(store_tunings(store, kind, identity, see_tuning, &seen, NULL));
    return seen;
}

static void the_newest_tunings_are_kept_by_kind_and_identity(void **state)
{
    struct tuning_row row = {"kind", {7}, "a shape", "large", 1.5, 100, "iris"};
    const uint8_t other[16] = {8};
    struct change *change = change_new();
    change_tuning(change, &row);
    row.variant = "small";
    row.at = 200;
    change_tuning(change, &row);
    row.shape = "another shape";
    row.at = 150;
    change_tuning(change, &row);
    apply(change);
    reopen();
    struct tunings seen = tunings_of("kind", row.identity);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.first, "a shape small by iris");
    assert_int_equal(tunings_of("kind", other).count, 0);
    assert_int_equal(tunings_of("other kind", row.identity).count, 0);
    change = change_new();
    change_tuning_old(change, 1);
    apply(change);
    assert_int_equal(tunings_of(NULL, NULL).count, 1);
    assert_int_equal(tunings_of(NULL, NULL).first_at, 200);
}

static void see_checkpoint(void *context, const struct checkpoint_row *row)
{
    struct checkpoint_row *seen = context;
    assert_int_equal(seen->size, 0);
    assert_string_equal(row->kind, "a kind");
    *seen = *row;
}

static void the_newest_checkpoint_of_a_task_is_there_after_a_reopen(void **state)
{
    struct checkpoint_row row = {.key = {1}, .job = 1, .blob = {2}, .kind = "a kind"};
    struct checkpoint_row seen = {.size = 0}, none = {.size = 0};
    struct change *change = change_new();
    add_job(change, 1);
    for (row.step = 5; row.step <= 10; row.step += 5) {
        row.size = row.counter = row.step + 1;
        row.epoch = row.step + 2;
        change_checkpoint(change, &row);
    }
    apply(change);
    reopen();
    assert_true(store_checkpoints(store, see_checkpoint, &seen, NULL));
    assert_int_equal(seen.step, 10);
    assert_int_equal(seen.size, 11);
    assert_int_equal(seen.counter, 11);
    assert_int_equal(seen.epoch, 12);
    assert_int_equal(seen.job, 1);
    assert_memory_equal(seen.key, row.key, 32);
    assert_memory_equal(seen.blob, row.blob, 32);
    change = change_new();
    change_checkpoint_gone(change, row.key);
    apply(change);
    assert_true(store_checkpoints(store, see_checkpoint, &none, NULL));
    assert_int_equal(none.size, 0);
}

/* A database as version `version` of the schema left it. */
static void go_back(int version)
{
    sqlite3 *database = NULL;
    store_close(&store);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    for (int v = 0; v < version; v++)
        assert_int_equal(
            sqlite3_exec(database, coordinator_sql[v].text, NULL, NULL, NULL),
            SQLITE_OK);
    char *sql = path_format("PRAGMA user_version = %d", version);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    free(sql);
    sqlite3_close(database);
}

static void every_older_schema_is_brought_forward(void **state)
{
    size_t versions = 0;
    while (coordinator_sql[versions].name)
        versions++;
    for (int version = 1; version <= (int)versions; version++) {
        struct result_row result = result_numbered(1, true), found;
        struct change *change = change_new();
        go_back(version);
        reopen();
        change_blob(change, result.png, 100);
        change_blob(change, result.latents, 100);
        change_result(change, &result);
        apply(change);
        assert_true(store_result(store, result.key, true, &found, NULL));
        result_row_clear(&found);
    }
}

static void the_actor_makes_durable_what_queued_and_reports_the_last(void **state)
{
    struct error error = {0};
    int handle = open(folder, O_RDONLY | O_DIRECTORY);
    struct store_actor *actor = store_actor_new(path, handle, &error);
    assert_non_null(actor);
    uint64_t number = 0, durable = 0;
    for (int64_t j = 1; j <= 50; j++) {
        struct change *change = change_new();
        uint8_t blob[32] = {(uint8_t)j};
        add_job(change, j);
        change_blob(change, blob, 1);
        number = store_actor_commit(actor, &change);
    }
    assert_int_equal(number, 50);
    assert_true(store_actor_durable(actor, true, &durable, &error));
    assert_int_equal(durable, 50);
    struct seen seen = {0};
    assert_true(store_jobs(store, see_job, &seen, NULL));
    assert_int_equal(seen.rows, 50);
    store_actor_destroy(&actor);
    close(handle);
}

static void the_actor_reports_a_commit_that_failed_and_commits_no_more(void **state)
{
    struct error error = {0};
    struct store_actor *actor = store_actor_new(path, -1, &error);
    struct change *wrong = change_new(), *right = change_new();
    change_task(wrong, &(struct task_row){.job = 99, .state = 3, .reason = ""});
    add_job(right, 1);
    uint64_t durable = 0;
    store_actor_commit(actor, &wrong);
    assert_false(store_actor_durable(actor, true, &durable, &error));
    assert_non_null(strstr(error.text, "FOREIGN KEY"));
    store_actor_commit(actor, &right);
    store_actor_destroy(&actor);
    struct seen seen = {0};
    assert_true(store_jobs(store, see_job, &seen, NULL));
    assert_int_equal(seen.rows, 0);
}

static void a_database_of_a_newer_schema_is_refused(void **state)
{
    struct error error = {0};
    char *command = path_format("sqlite3 '%s' 'PRAGMA user_version = 99'", path);
    store_close(&store);
    assert_int_equal(system(command), 0);
    free(command);
    assert_null(store_open(path, false, &error));
    assert_int_equal(error.kind, ERROR_INPUT);
    assert_non_null(strstr(error.text, "newer clfarm (schema 99"));
}

static void damage_is_found_after_a_crash_and_on_demand(void **state)
{
    struct error error = {0};
    uint64_t epoch;
    struct change *change = change_new();
    for (int64_t j = 1; j <= 200; j++)
        add_job(change, j);
    apply(change);
    assert_true(store_begin(store, 1, &epoch, NULL));
    store_close(&store);
    int file = open(path, O_RDWR);
    char junk[4096];
    memset(junk, 0x5a, sizeof junk);
    off_t size = lseek(file, 0, SEEK_END);
    for (off_t at = 8 * 4096; at < size; at += 4096)
        assert_int_equal(pwrite(file, junk, sizeof junk, at), sizeof junk);
    close(file);
    assert_null(store_open(path, false, &error));
    assert_non_null(strstr(error.text, "damaged"));
    assert_null(store_open(path, true, &error));
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(epochs_grow_even_when_the_clock_goes_back),
        STORE_TEST(a_job_is_there_after_a_reopen),
        STORE_TEST(a_change_is_applied_whole_or_not_at_all),
        STORE_TEST(open_attempts_and_faults_of_open_jobs_are_loaded),
        STORE_TEST(a_result_answers_only_what_asks_no_more_than_it_holds),
        STORE_TEST(tasks_come_in_pages_with_their_results),
        STORE_TEST(the_states_of_tasks_come_without_their_results),
        STORE_TEST(every_older_schema_is_brought_forward),
        STORE_TEST(the_newest_tunings_are_kept_by_kind_and_identity),
        STORE_TEST(the_newest_checkpoint_of_a_task_is_there_after_a_reopen),
        STORE_TEST(the_actor_makes_durable_what_queued_and_reports_the_last),
        STORE_TEST(the_actor_reports_a_commit_that_failed_and_commits_no_more),
        STORE_TEST(a_database_of_a_newer_schema_is_refused),
        STORE_TEST(damage_is_found_after_a_crash_and_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
