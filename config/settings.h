/* What can be set, program by program. The rows, with help and ranges, are in settings.c:
 * `PROGRAM --help` prints them.
 */
#ifndef FARM_SETTINGS_H
#define FARM_SETTINGS_H

#include "config/config.h"

struct coordinator_settings {
    char *state;       /* folder: database, keys, blobs */
    char *bind;        /* "tcp://0.0.0.0", without port */
    int64_t port;      /* control; 0: chosen by the kernel */
    int64_t bulk_port; /* 0: chosen by the kernel */
    char *advertise;   /* addresses for tokens, by commas; "": every interface's own */
    char *farm;        /* the farm's name; "": the host's */
    int64_t heartbeat_ms, suspect_ms, lease_ms;
    int64_t reserve_mib;            /* free space below which new work is refused */
    int64_t exit_when_idle_s;       /* 0: never */
    int64_t rate;                   /* messages a second of one key */
    int64_t jobs_a_key;             /* open at a time */
    int64_t worker_mib, submit_mib; /* of files nothing names, of one key; 0: any */
    char *backup;                   /* folder of --backup and --restore */
    int64_t grace_h;                /* before a file nothing names is removed */
    int64_t scrub_days;             /* in which every file is read once; 0: never */
    char *deny;                     /* file of rules, coordinator/deny.h; "": none */
    char *safety_checker;           /* name or id of a file of that kind; "": none */
    int64_t memory_mib;             /* above which the doors are opened anew; 0: any */
    unsigned log;                   /* enum log_level */
    unsigned log_format;            /* enum log_format */
};
extern const struct config_program coordinator_program;

enum worker_decode { WORKER_DECODES, WORKER_HANDS_ON };

struct worker_settings {
    char *state;       /* folder: key, farm, spools */
    char *cache;       /* folder: model files, compiled kernels */
    int64_t cache_gib; /* most the model files may take */
    char *devices;     /* "all", or indices by commas: "0,2" */
    int64_t batch;     /* most images rendered at once */
    unsigned decode;   /* enum worker_decode */
    char *depot;     /* a coordinator's blob folder on this machine, to link from; "" */
    char *peer_bind; /* where other workers are served; "auto", "none" */
    char *peer_address; /* what they reach this machine by; "": as it is seen */
    int64_t peer_port;  /* 0: the kernel's choice */
    int64_t watchdog_factor, watchdog_least_s, watchdog_first_s;
    int64_t drain_s; /* how long SIGTERM lets running images finish */
    bool tune;       /* variants of kernels are measured while there is nothing to do */
    bool profile;    /* every kernel is timed; a table when a device's process ends */
    char *trace;     /* file for all launches, its device's number added; "": none */
    unsigned log;    /* enum log_level */
    unsigned log_format;
};
extern const struct config_program worker_program;

struct client_settings {
    char *farm;      /* which joined farm; "": the only one */
    char *wildcards; /* folder of NAME.txt, for __NAME__ in prompts */
    char *loras;     /* folder of NAME.safetensors, for <lora:NAME> */
};
extern const struct config_program client_program;

#endif
