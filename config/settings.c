#include "config/settings.h"

#define LOG_LEVELS  "debug|info|warn|error"
#define LOG_FORMATS "text|json"

/* name, type, field, default, least, most, choices, help */
#define ROW(owner, setting_name, kind, field, value, low, high, names, text)           \
    {                                                                                  \
        .name = setting_name, .type = kind, .offset = offsetof(struct owner, field),   \
        .fallback = value, .least = low, .most = high, .choices = names, .help = text  \
    }
#define TEXT(owner, name, field, value, help)                                          \
    ROW(owner, name, SETTING_TEXT, field, value, 0, 0, NULL, help)
#define PATH(owner, name, field, value, help)                                          \
    ROW(owner, name, SETTING_PATH, field, value, 0, 0, NULL, help)
#define FLAG(owner, name, field, value, help)                                          \
    ROW(owner, name, SETTING_FLAG, field, value, 0, 0, NULL, help)
#define COUNT(owner, name, field, value, low, high, help)                              \
    ROW(owner, name, SETTING_COUNT, field, value, low, high, NULL, help)
#define CHOICE(owner, name, field, value, names, help)                                 \
    ROW(owner, name, SETTING_CHOICE, field, value, 0, 0, names, help)

/* clang-format off */
#define C coordinator_settings
static const struct setting coordinator_rows[] = {
    PATH(C, "state", state, "@state/coordinator",
         "folder of the database, the keys and the results"),
    TEXT(C, "bind", bind, "tcp://0.0.0.0", "interface to listen on, without a port"),
    COUNT(C, "port", port, "7610", 0, 65535,
          "port for control messages; 0: chosen by the kernel"),
    COUNT(C, "bulk-port", bulk_port, "7611", 0, 65535,
          "port for files; 0: chosen by the kernel"),
    TEXT(C, "advertise", advertise, "",
         "addresses that tokens name, by commas; empty: every interface's own"),
    TEXT(C, "farm", farm, "", "the farm's name; empty: the host's"),
    COUNT(C, "heartbeat-ms", heartbeat_ms, "2000", 50, 60000,
          "how often workers report"),
    COUNT(C, "suspect-ms", suspect_ms, "6000", 100, 600000,
          "a worker silent for so long gets no new work"),
    COUNT(C, "lease-ms", lease_ms, "30000", 200, 3600000,
          "a worker silent for so long loses the tasks it holds"),
    COUNT(C, "reserve-mib", reserve_mib, "1024", 0, 1 << 30,
          "free MiB below which no new work is taken"),
    COUNT(C, "exit-when-idle-s", exit_when_idle_s, "0", 0, 1 << 30,
          "end after so many seconds without client and open job; 0: never"),
    COUNT(C, "rate", rate, "2000", 0, 1 << 30,
          "messages a second one key may send for long; 0: any"),
    COUNT(C, "jobs-a-key", jobs_a_key, "1000", 0, 1 << 30,
          "open jobs one key may have that is no administrator's; 0: any"),
    COUNT(C, "worker-mib", worker_mib, "4096", 0, 1 << 30,
          "MiB of files a worker may have sent that belong to no result; 0: any"),
    COUNT(C, "submit-mib", submit_mib, "131072", 0, 1 << 30,
          "MiB a submitter may have sent that belong to no complete model; 0: any"),
    PATH(C, "folder", backup, "", "the backup's, for --backup and --restore"),
    COUNT(C, "grace-h", grace_h, "24", 0, 1 << 20,
          "hours after which a file that nothing names is removed"),
    COUNT(C, "scrub-days", scrub_days, "30", 0, 1 << 20,
          "days in which every file is read and verified once; 0: never"),
    PATH(C, "deny", deny, "",
         "deny list: a file of lines ROLES NAME PATTERN no prompt may match; empty: none"),
    TEXT(C, "safety-checker", safety_checker, "",
         "file of the farm that judges all pictures but administrators'; empty: none"),
    COUNT(C, "memory-mib", memory_mib, "4096", 0, 1 << 30,
          "MiB of memory above which all connections are closed once; 0: any"),
    CHOICE(C, "log", log, "info", LOG_LEVELS, "least level of log lines on stderr"),
    CHOICE(C, "log-format", log_format, "text", LOG_FORMATS,
           "text, or json: one object a line"),
    {0},
};

#define W worker_settings
static const struct setting worker_rows[] = {
    PATH(W, "state", state, "@state/worker",
         "folder of the key and of results not yet acknowledged"),
    PATH(W, "cache", cache, "@cache/worker", "folder of model files and built kernels"),
    COUNT(W, "cache-gib", cache_gib, "50", 1, 1 << 20,
          "GiB the model files may take; least recently used ones go first"),
    TEXT(W, "devices", devices, "all",
         "OpenCL devices to use: all, or numbers by commas (0,2)"),
    COUNT(W, "batch", batch, "8", 1, 32, "most images rendered at once on a device"),
    CHOICE(W, "decode", decode, "self", "self|others",
           "who makes pixels of the last latents: others of this kind where there are any"),
    PATH(W, "depot", depot, "",
         "blob folder of a coordinator on this machine: models are linked, not copied"),
    TEXT(W, "peer-bind", peer_bind, "auto",
         "where other workers get pieces of models: tcp://10.0.0.7, none, or auto"),
    COUNT(W, "peer-port", peer_port, "0", 0, 65535,
          "port of that; 0: one the kernel chooses, for each device"),
    TEXT(W, "peer-address", peer_address, "",
         "tcp:// address others reach this machine by, where the farm sees another"),
    COUNT(W, "watchdog-factor", watchdog_factor, "8", 2, 1000,
          "a step may take so many times its predicted duration"),
    COUNT(W, "watchdog-least-s", watchdog_least_s, "15", 1, 86400,
          "seconds any step may take, however short it was predicted"),
    COUNT(W, "watchdog-first-s", watchdog_first_s, "600", 1, 86400,
          "seconds a step may take before any like it was measured"),
    COUNT(W, "drain-s", drain_s, "60", 0, 86400,
          "seconds SIGTERM gives the images under way"),
    FLAG(W, "tune", tune, "yes",
         "while there is no work, find the fastest of the kernels that compute the same"),
    FLAG(W, "profile", profile, "no",
         "time every kernel; each device prints a table when it ends"),
    PATH(W, "trace", trace, "",
         "file for every kernel's start and end, for ui.perfetto.dev; .DEVICE is added"),
    CHOICE(W, "log", log, "info", LOG_LEVELS, "least level of log lines on stderr"),
    CHOICE(W, "log-format", log_format, "text", LOG_FORMATS,
           "text, or json: one object a line"),
    {0},
};

static const struct setting client_rows[] = {
    TEXT(client_settings, "farm", farm, "",
         "name of the farm to speak to; empty: the only one joined"),
    PATH(client_settings, "wildcards", wildcards, "@config/wildcards",
         "folder of NAME.txt, whose lines __NAME__ in a prompt stands for"),
    PATH(client_settings, "loras", loras, "@config/loras",
         "folder of NAME.safetensors, for <lora:NAME:WEIGHT> in a prompt"),
    {0},
};
/* clang-format on */

const struct config_program coordinator_program = {
    .name = "farm-coordinator",
    .synopsis =
        "[OPTIONS] [--check | --check-config | --backup | --restore | --repair]",
    .purpose = "Takes jobs, gives their tasks to workers and keeps the results.",
    .environment = "CLFARM_COORDINATOR_",
    .settings = coordinator_rows,
};

const struct config_program worker_program = {
    .name = "farm-worker",
    .synopsis = "[OPTIONS] [join TOKEN | devices | fetch MODEL [stay] | plan PATH ...]",
    .purpose = "Renders for a farm on every OpenCL device of this machine.",
    .environment = "CLFARM_WORKER_",
    .settings = worker_rows,
};

const struct config_program client_program = {
    .name = "farmctl",
    .synopsis = "COMMAND [OPTIONS]",
    .purpose = "Speaks to a farm.",
    .environment = "CLFARM_",
    .settings = client_rows,
};
