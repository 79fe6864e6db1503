#include <signal.h>

#include "client/command.h"

static volatile sig_atomic_t count;

static void on_interrupt(int number)
{
    (void)number;
    count = count + 1;
}

void interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: wake up */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int interrupt_count(void)
{
    return count;
}

void interrupt_forget(void)
{
    count = 0;
}
