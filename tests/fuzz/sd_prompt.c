/* A prompt of any bytes: an error, or states and runs whose text is no longer than it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sd/prompt.h"

enum { STEPS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_runs(const char *text, enum prompt_syntax syntax)
{
    struct emphasis emphasis;
    struct error error;
    size_t total = 0;
    if (!emphasis_read(&emphasis, text, syntax, &error))
        return;
    for (size_t i = 0; i < emphasis.count; i++)
        total += strlen(emphasis.run[i].text);
    if (total > strlen(text))
        abort();
    emphasis_clear(&emphasis);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct prompt prompt;
    struct error error;
    char *text = calloc(1, size + 1);
    memcpy(text, data, size);
    for (int syntax = PROMPT_A1111; syntax <= PROMPT_PLAIN; syntax++) {
        read_runs(text, (enum prompt_syntax)syntax);
        if (!prompt_read(&prompt, text, (enum prompt_syntax)syntax, true, 0, STEPS,
                         &error))
            continue;
        for (size_t p = 0; p < prompt.count; p++) {
            const struct prompt_schedule *schedule = &prompt.part[p].schedule;
            if (!schedule->count || schedule->state[schedule->count - 1].end != STEPS)
                abort();
            for (size_t s = 0; s < schedule->count; s++)
                if (strlen(schedule->state[s].text) > size)
                    abort();
        }
        prompt_clear(&prompt);
    }
    free(text);
    return 0;
}
