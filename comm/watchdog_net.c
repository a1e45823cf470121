// SPDX-License-Identifier: MIT
// Datagrams between the watchdogs of a job. Addresses and a random key, which every datagram bears,
// are exchanged by MPI at start. A rank is spoken to at all its addresses until one has answered.
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "comm/log.h"
#include "comm/memory.h"
#include "comm/watchdog_private.h"

#define ADDRESSES 6

// Of a rank, as it says itself.
struct card {
    struct watch_name name;
    struct in_addr at[ADDRESSES];
    int32_t n; // -1: it has no socket
    in_port_t port;
};

struct peer {
    struct sockaddr_in at; // that it has spoken from; port 0: not heard of yet
    uint64_t heard;        // ns
};

struct watch_net {
    int fd, rank, size;
    uint64_t key[2];
    struct card *cards;       // (size)
    struct peer *peers;       // (size)
    struct watch_name *names; // (size)
};

// Where others may reach this host, loopback excluded.
static void card_addresses(struct card *card)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return;
    for (struct ifaddrs *one = all; one && card->n < ADDRESSES; one = one->ifa_next)
        if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET && (one->ifa_flags & IFF_UP) &&
            !(one->ifa_flags & IFF_LOOPBACK))
            card->at[card->n++] = ((struct sockaddr_in *)(void *)one->ifa_addr)->sin_addr;
    freeifaddrs(all);
}

// Loopback answers, at least.
static bool is_reachable(int fd, in_port_t port)
{
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = port};
    self.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sendto(fd, "", 1, MSG_DONTWAIT, (struct sockaddr *)&self, sizeof self) == 1;
}

static int socket_open(const struct group *group, struct card *card)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t n = sizeof any;
    card->n = -1;
    card->name.pid = (int32_t)getpid();
    card->name.born = watch_born(card->name.pid);
    snprintf(card->name.host, sizeof card->name.host, "%s", group->host);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&any, sizeof any) != 0 ||
        getsockname(fd, (struct sockaddr *)&any, &n) != 0 || !is_reachable(fd, any.sin_port)) {
        close(fd);
        return -1;
    }
    int bytes = 4 << 20; // as much of it as the system allows
    if (group->rank < 2)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    card->port = any.sin_port;
    card->n = 0;
    card_addresses(card);
    return fd;
}

static enum status net_alloc(struct watch_net **out, size_t size)
{
    struct watch_net *net = NULL;
    TRY(memory_alloc(&net, 1, sizeof *net, "watchdog"));
    *out = net;
    net->fd = -1;
    TRY(memory_alloc(&net->cards, size, sizeof *net->cards, "watchdog"));
    TRY(memory_alloc(&net->peers, size, sizeof *net->peers, "watchdog"));
    return memory_alloc(&net->names, size, sizeof *net->names, "watchdog");
}

enum status watch_net_open(struct watch_net **out, struct group *group)
{
    struct card card = {0};
    struct watch_net *net = NULL;
    *out = NULL;
    enum status status = group_agree(group, net_alloc(&net, (size_t)group->size));
    if (status != STATUS_OK) {
        watch_net_close(net);
        return status;
    }
    net->rank = group->rank;
    net->size = group->size;
    net->fd = socket_open(group, &card);
    if (getrandom(net->key, sizeof net->key, GRND_NONBLOCK) != (ssize_t)sizeof net->key)
        net->key[0] = events_now() ^ (uint64_t)card.name.pid << 32;
    group_broadcast(group, net->key, sizeof net->key, 0);
    group_allgather(group, &card, sizeof card, net->cards);
    *out = net;
    for (int rank = 0; rank < group->size; rank++) {
        net->names[rank] = net->cards[rank].name;
        if (net->cards[rank].n >= 0 || !*out)
            continue;
        log_warn("rank %d (%s) has no network, not even loopback: hangs are not watched for", rank,
                 net->names[rank].host);
        *out = NULL;
    }
    if (!*out)
        watch_net_close(net);
    return STATUS_OK;
}

void watch_net_close(struct watch_net *net)
{
    if (!net)
        return;
    if (net->fd >= 0)
        close(net->fd);
    free(net->cards);
    free(net->peers);
    free(net->names);
    free(net);
}

int watch_net_fd(const struct watch_net *net)
{
    return net->fd;
}

const struct watch_name *watch_net_names(const struct watch_net *net)
{
    return net->names;
}

static void send_to(const struct watch_net *net, const struct watch_packet *packet, size_t n,
                    const struct sockaddr_in *at)
{
    // What does not arrive is said again.
    (void)!sendto(net->fd, packet, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)at,
                  sizeof *at);
}

#define ANSWER_NS 3000000000u // an address that has not answered for so long is not the only one

void watch_net_send(struct watch_net *net, int rank, struct watch_packet *packet)
{
    const struct card *card = &net->cards[rank], *own = &net->cards[net->rank];
    const struct peer *peer = &net->peers[rank];
    size_t n = offsetof(struct watch_packet, message);
    bool has_report = packet->type == WATCH_BEAT || packet->type == WATCH_ACK;
    n += has_report                   ? sizeof packet->report
         : packet->type == WATCH_FIRE ? strlen(packet->message) + 1
                                      : 0;
    memcpy(packet->key, net->key, sizeof packet->key);
    packet->from = net->rank;
    packet->to = rank;
    if (peer->at.sin_port && (rank > 1 || events_now() - peer->heard < ANSWER_NS)) {
        send_to(net, packet, n, &peer->at);
        return;
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = card->port};
    if (strcmp(card->name.host, own->name.host) == 0) {
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        send_to(net, packet, n, &at);
    }
    for (int i = 0; i < card->n; i++) {
        at.sin_addr = card->at[i];
        send_to(net, packet, n, &at);
    }
}

bool watch_net_receive(struct watch_net *net, struct watch_packet *packet)
{
    for (;;) {
        struct sockaddr_in from;
        socklen_t n_from = sizeof from;
        memset(packet, 0, sizeof *packet);
        ssize_t n = recvfrom(net->fd, packet, sizeof *packet, 0, (struct sockaddr *)&from, &n_from);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            continue; // an earlier send met a closed port
        if (n < 0)
            return false;
        if ((size_t)n < offsetof(struct watch_packet, message) || packet->to != net->rank ||
            memcmp(packet->key, net->key, sizeof net->key) != 0 || packet->from < 0 ||
            packet->from >= net->size)
            continue; // not of this job
        packet->message[WATCH_MESSAGE - 1] = '\0';
        net->peers[packet->from].at = from;
        net->peers[packet->from].heard = events_now();
        return true;
    }
}
