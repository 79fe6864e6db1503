/* farm-worker: renders for a farm on every OpenCL device of this machine. */
#include <czmq.h>
#include <sodium.h>

#include "base/log.h"
#include "worker/device.h"
#include "worker/devices.h"
#include "worker/host.h"
#include "worker/member.h"
#include "worker/memory.h"
#include "worker/prefetch.h"

#ifdef __SANITIZE_ADDRESS__
/* OpenCL's compiler puts its own signal stack under the thread that calls it; at the
 * thread's end ASan would take that for its own and fail to unmap it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "use_sigaltstack=0";
}
#endif

static int fail(const struct error *error)
{
    fprintf(stderr, "farm-worker: %s\n", error->text);
    switch (error->kind) {
    case ERROR_INPUT:
    case ERROR_NOT_FOUND:
        return 2;
    case ERROR_UNREACHABLE:
        return 3;
    case ERROR_DENIED:
        return 4;
    default:
        return 1;
    }
}

static int join(const struct worker_settings *settings, const char *token)
{
    struct member member;
    struct error error = {0};
    bool ok = member_join(&member, settings->state, token, &error);
    member_wipe(&member);
    if (!ok)
        return fail(&error);
    printf("joined farm %s at %s; now start farm-worker\n", member.farm.name,
           member.farm.address);
    return 0;
}

static int work(const struct worker_settings *settings, char *const *arguments)
{
    struct member member;
    struct error error = {0};
    bool ok = member_load(&member, settings->state, &error);
    member_wipe(&member); /* children load it themselves */
    return ok ? host_run(settings, arguments) : fail(&error);
}

static int child(const struct worker_settings *settings, const char *index,
                 const char *instance_text)
{
    static char program[40];
    struct member member;
    struct error error = {0};
    uint8_t instance[DEVICE_INSTANCE];
    size_t size = 0;
    snprintf(program, sizeof program, "farm-worker %.10s", index);
    log_open(program, (enum log_level)settings->log,
             (enum log_format)settings->log_format);
    if (sodium_hex2bin(instance, sizeof instance, instance_text, strlen(instance_text),
                       NULL, &size, NULL) != 0 ||
        size != sizeof instance)
        return 2;
    if (!member_load(&member, settings->state, &error))
        return fail(&error);
    int status = device_run(strtoul(index, NULL, 10), instance, settings, &member);
    member_wipe(&member);
    return status;
}

static int fetch(const struct worker_settings *settings, const char *model, bool stay)
{
    struct member member;
    struct error error = {0};
    uint8_t id[BLOB_ID];
    bool ok =
        blob_parse(model, id, &error) && member_load(&member, settings->state, &error);
    if (!ok)
        return fail(&error);
    ok = prefetch_run(settings, &member, id, stay, &error);
    member_wipe(&member);
    return ok ? 0 : fail(&error);
}

static bool take_flag(int *argc, char **argv, const char *flag)
{
    for (int i = 1; i < *argc; i++)
        if (strcmp(argv[i], flag) == 0) {
            memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof *argv);
            --*argc;
            return true;
        }
    return false;
}

/* The word behind the flag; NULL where it is not there. */
static const char *take_value(int *argc, char **argv, const char *flag)
{
    for (int i = 1; i + 1 < *argc; i++)
        if (strcmp(argv[i], flag) == 0) {
            const char *value = argv[i + 1];
            memmove(&argv[i], &argv[i + 2], (size_t)(*argc - i - 1) * sizeof *argv);
            *argc -= 2;
            return value;
        }
    return NULL;
}

int main(int argc, char **argv)
{
    struct worker_settings settings;
    struct error error = {0};
    zsys_handler_set(NULL); /* signals are the host's */
    if (sodium_init() < 0)
        return 1;
    bool json = take_flag(&argc, argv, "--json");
    const char *safety = take_value(&argc, argv, "--safety-checker");
    char **arguments = calloc((size_t)argc + 1, sizeof *arguments);
    if (!arguments)
        return 1;
    memcpy(arguments, argv, (size_t)argc * sizeof *argv);

    int status = 2;
    enum config_result result =
        config_load(&worker_program, &settings, &argc, argv, &error);
    if (result == CONFIG_READY) {
        log_open("farm-worker", (enum log_level)settings.log,
                 (enum log_format)settings.log_format);
        if (argc == 1)
            status = work(&settings, arguments);
        else if (argc == 3 && strcmp(argv[1], "join") == 0)
            status = join(&settings, argv[2]);
        else if (argc == 2 && strcmp(argv[1], "devices") == 0)
            status = devices_show(json);
        else if (argc >= 3 && strcmp(argv[1], "plan") == 0)
            status = memory_show(argv + 2, (size_t)argc - 2, safety, json);
        else if ((argc == 3 || (argc == 4 && strcmp(argv[3], "stay") == 0)) &&
                 strcmp(argv[1], "fetch") == 0)
            status = fetch(&settings, argv[2], argc == 4);
        else if (argc == 4 && strcmp(argv[1], "child") == 0)
            status = child(&settings, argv[2], argv[3]);
        else
            fprintf(stderr,
                    "farm-worker: \"%s\" is no command, or lacks a word or has one too "
                    "many: join TOKEN, devices, fetch MODEL [stay], plan PATH [SIZE] "
                    "[f32|f16] [IMAGES] [--safety-checker FILE]\n",
                    argv[1]);
        config_clear(&worker_program, &settings);
    } else if (result == CONFIG_SHOWN) {
        status = 0;
    } else {
        status = fail(&error);
    }
    free(arguments);
    return status;
}
