#include "coordinator/addresses.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESS = sizeof((struct token *)0)->address[0] };

static bool add(struct token *token, size_t *count, const char *host, int port)
{
    if (*count == TOKEN_ADDRESSES)
        return false;
    int size =
        snprintf(token->address[*count], ADDRESS,
                 strchr(host, ':') ? "tcp://[%s]:%d" : "tcp://%s:%d", host, port);
    return size > 0 && size < ADDRESS && ++*count;
}

static bool list_advertised(const char *advertise, int port, struct token *token,
                            size_t *count, struct error *error)
{
    char text[2048];
    char *rest = text, *item;
    snprintf(text, sizeof text, "%s", advertise);
    while ((item = strsep(&rest, ", "))) {
        if (!*item)
            continue;
        char *host = strncmp(item, "tcp://", 6) == 0 ? item + 6 : item;
        char *colon = strrchr(host, ':');
        int own_port = port;
        if (colon) {
            *colon = 0;
            own_port = atoi(colon + 1);
        }
        if (!*host || own_port < 1 || own_port > 65535 ||
            !add(token, count, host, own_port))
            return error_set_kind(
                error, ERROR_INPUT,
                "advertise: \"%.80s\" is no address, or one too many; "
                "host or host:port is expected",
                host);
    }
    return true;
}

static bool list_interfaces(int port, struct token *token, size_t *count,
                            struct error *error)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return error_set(error, "the machine's addresses are not known: %s",
                         strerror(errno));
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        char text[INET_ADDRSTRLEN];
        if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET ||
            one->ifa_flags & IFF_LOOPBACK || !(one->ifa_flags & IFF_UP))
            continue;
        struct sockaddr_in address;
        memcpy(&address, one->ifa_addr, sizeof address);
        if (inet_ntop(AF_INET, &address.sin_addr, text, sizeof text))
            add(token, count, text, port);
    }
    freeifaddrs(all);
    return true;
}

bool addresses_list(const char *bind, const char *advertise, int port,
                    struct token *token, struct error *error)
{
    size_t count = 0;
    const char *host = strncmp(bind, "tcp://", 6) == 0 ? bind + 6 : bind;
    bool everywhere = strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 ||
                      strcmp(host, "[::]") == 0;
    if (!list_advertised(advertise, port, token, &count, error))
        return false;
    if (!count && !everywhere)
        add(token, &count, host, port);
    if (!count && !list_interfaces(port, token, &count, error))
        return false;
    if (!count)
        add(token, &count, "127.0.0.1", port);
    return true;
}
