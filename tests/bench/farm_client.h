/* The farm a bench measures: the real coordinator on loopback, and its administrator, who
 * brings a model and a job. What fails ends the program with a sentence. */
#ifndef FARM_FARM_CLIENT_H
#define FARM_FARM_CLIENT_H

#include <sys/types.h>

#include "base/error.h"
#include "proto/farm.h"
#include "proto/files/blob.h"
#include "proto/wire.h"

enum {
    FARM_CLIENT_WORKERS = 8,   /* keys of workers that join */
    FARM_CLIENT_DEVICES = 250, /* of each; the farm takes few more */
};

struct farm_client {
    const char *coordinator; /* its program */
    char *state;             /* its state folder */
    pid_t process;
    struct farm farm;
    uint32_t bulk_port;
    struct keypair admin_key, worker_key[FARM_CLIENT_WORKERS];
    zsock_t *admin;
    uint64_t request;
    uint8_t model[BLOB_ID];
};

#define ENVELOPE(name, case, field, value)                                             \
    Farm__Envelope name = FARM__ENVELOPE__INIT;                                        \
    name.body_case = FARM__ENVELOPE__BODY_##case;                                      \
    name.field = value

/* Says what failed, ends the coordinator, removes its state and ends the process. */
_Noreturn void farm_client_die(const char *what, const struct error *error);

/* Starts the coordinator, waits until it listens, learns its address and key. */
void farm_client_start(struct farm_client *self);

/* Joins as administrator, greets, and joins the workers' keys. */
void farm_client_join(struct farm_client *self);

/* Connects a socket of the caller's over CURVE. */
void farm_client_open(struct farm_client *self, zsock_t *socket,
                      const struct keypair *key, const char *address);

/* A CURVE DEALER; the caller's. */
zsock_t *farm_client_connect(struct farm_client *self, const struct keypair *key,
                             const char *address);

/* Where blobs go, known once greeted; heap. */
char *farm_client_bulk_address(struct farm_client *self);

void farm_client_send(zsock_t *socket, Farm__Envelope *envelope, const void *payload,
                      size_t size);

/* Sends, waits, and gives the answer to the request; anything but `expected` ends it. */
struct message farm_client_ask(struct farm_client *self, zsock_t *socket,
                               Farm__Envelope *envelope, const void *payload,
                               size_t size, Farm__Envelope__BodyCase expected);

/* Hello and Welcome; `device` is NULL for who renders nothing. */
void farm_client_greet(struct farm_client *self, zsock_t *socket, Farm__Device *device);

/* Stores a blob under its id, which is returned. */
void farm_client_offer(struct farm_client *self, const struct keypair *key,
                       const void *data, size_t size, uint8_t id[BLOB_ID]);

/* A model of one small file: nobody renders it. */
void farm_client_add_model(struct farm_client *self);

/* A histogram of the coordinator's, as `farmctl metrics` prints it: the time that `part` of
 * its values do not exceed, by interpolation in a bucket, in milliseconds. */
double farm_client_quantile(struct farm_client *self, const char *name, double part);

/* One prompt with so many seeds, of that model. Returns the job's id. */
void farm_client_submit(struct farm_client *self, size_t tasks, uint8_t id[16]);

#endif
