#include "tests/bench/farm_peers.h"

#include <czmq.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/path.h"
#include "proto/files/blob.h"
#include "proto/keys.h"

enum { OUTSTANDING = 64, MEASURE_MS = 2000, GROUP = 32 };

/* Sends every message back, until its pipe says to end. */
static void echo_actor(zsock_t *pipe, void *argument)
{
    zsock_t *router = argument;
    zpoller_t *poller = zpoller_new(pipe, router, NULL);
    zsock_signal(pipe, 0);
    while (zpoller_wait(poller, -1) == router) {
        zmsg_t *message = zmsg_recv(router);
        zmsg_send(&message, router);
    }
    zpoller_destroy(&poller);
    zsock_destroy(&router);
}

double farm_peer_router(size_t size)
{
    struct keypair server, client;
    keypair_make(&server, NULL);
    keypair_make(&client, NULL);
    zsock_t *router = zsock_new(ZMQ_ROUTER), *dealer = zsock_new(ZMQ_DEALER);
    zsock_set_curve_server(router, 1);
    zsock_set_curve_secretkey_bin(router, server.secret_key);
    zsock_set_curve_serverkey_bin(dealer, server.public_key);
    zsock_set_curve_publickey_bin(dealer, client.public_key);
    zsock_set_curve_secretkey_bin(dealer, client.secret_key);
    int port = zsock_bind(router, "tcp://127.0.0.1:*");
    zsock_connect(dealer, "tcp://127.0.0.1:%d", port);
    zactor_t *echo = zactor_new(echo_actor, router);

    uint8_t *bytes = calloc(1, size);
    for (int i = 0; i < OUTSTANDING; i++) {
        zframe_t *frame = zframe_new(bytes, size);
        zframe_send(&frame, dealer, 0);
    }
    size_t trips = 0;
    int64_t start = clock_us();
    while (clock_us() - start < MEASURE_MS * 1000) {
        zframe_t *frame = zframe_recv(dealer);
        zframe_send(&frame, dealer, 0);
        trips++;
    }
    double seconds = (double)(clock_us() - start) / 1e6;
    zsock_set_linger(dealer, 0);
    zsock_destroy(&dealer);
    zactor_destroy(&echo);
    free(bytes);
    return (double)trips / seconds;
}

double farm_peer_sqlite(const char *folder)
{
    char *path = path_format("%s/peer.db", folder);
    sqlite3 *database = NULL;
    sqlite3_open(path, &database);
    sqlite3_exec(database,
                 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                 "CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)",
                 NULL, NULL, NULL);
    size_t commits = 0;
    int64_t start = clock_us();
    while (clock_us() - start < MEASURE_MS * 1000) {
        sqlite3_exec(database, "INSERT INTO t(b) VALUES (randomblob(200))", NULL, NULL,
                     NULL);
        commits++;
    }
    double seconds = (double)(clock_us() - start) / 1e6;
    sqlite3_close(database);
    free(path);
    return (double)commits / seconds;
}

double farm_peer_files(const char *folder, size_t size)
{
    char *path = path_format("%s/peer", folder);
    struct error error = {0};
    struct blob_store *store = blob_store_open(path, &error);
    uint8_t *bytes = calloc(1, size), id[BLOB_ID];
    size_t files = 0;
    int64_t start = clock_us();
    while (store && clock_us() - start < MEASURE_MS * 1000) {
        for (int i = 0; i < GROUP; i++, files++) {
            randombytes_buf(bytes, size);
            blob_put(store, bytes, size, false, id, NULL);
        }
        blob_store_sync(store, NULL);
    }
    double seconds = (double)(clock_us() - start) / 1e6;
    blob_store_close(&store);
    free(bytes);
    free(path);
    return (double)files / seconds;
}
