/*
 * sock_diag(7) of the internet families, as ss(8) asks; and what lo counts. In a network namespace
 * of the test's own, so that nobody else's sockets are seen.
 */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stddef.h>
#include <sys/stat.h>

#include "inet.h"

#define ALL_STATES 0xfff
#define SEEN_MAX   16

struct seen {
    int count, error, sizes; /* sizes: attributes' types, a bit each */
    struct inet_diag_msg msg[SEEN_MAX];
};

static int diag;

/* Asks, and collects the answers. */
static struct seen ask(int family, int protocol, uint32_t states, int flags, uint8_t ext,
                       const struct inet_diag_sockid *id, const void *program, size_t size)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 req;
        struct nlattr attr;
        uint8_t program[128];
    } q = {.head = {.nlmsg_type = SOCK_DIAG_BY_FAMILY,
                    .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)},
           .req = {(uint8_t)family, (uint8_t)protocol, ext, 0, states, {0}},
           .attr = {(uint16_t)(NLA_HDRLEN + size), INET_DIAG_REQ_BYTECODE}};
    static uint8_t buf[32768] __attribute__((aligned(8)));
    struct seen seen = {0};
    bool done = false;

    if (id)
        q.req.id = *id;
    if (size)
        memcpy(q.program, program, size);
    q.head.nlmsg_len = (uint32_t)(offsetof(__typeof__(q), attr) + (size ? NLA_HDRLEN + size : 0));
    CHECK_EQ(send(diag, &q, q.head.nlmsg_len, 0), q.head.nlmsg_len);
    while (!done) {
        ssize_t n = recv(diag, buf, sizeof(buf), 0);

        CHECK(n > 0);
        for (struct nlmsghdr *h = (void *)buf; n > 0 && NLMSG_OK(h, (size_t)n);
             h = NLMSG_NEXT(h, n)) {
            done = h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR ||
                   !(flags & NLM_F_DUMP);
            if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE)
                seen.error = *(int *)NLMSG_DATA(h);
            if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || seen.count == SEEN_MAX)
                continue;
            memcpy(&seen.msg[seen.count++], NLMSG_DATA(h), sizeof(struct inet_diag_msg));
            for (size_t at = NLMSG_LENGTH(sizeof(struct inet_diag_msg)); at < h->nlmsg_len;) {
                struct nlattr *a = (void *)((uint8_t *)h + at);

                seen.sizes |= 1 << a->nla_type;
                at += NLA_ALIGN(a->nla_len);
            }
        }
    }
    return seen;
}

static struct seen dump(int family, int protocol, uint32_t states)
{
    return ask(family, protocol, states, NLM_F_DUMP, 0, NULL, NULL, 0);
}

static struct seen filtered(const void *program, size_t size)
{
    return ask(AF_INET, IPPROTO_TCP, ALL_STATES, NLM_F_DUMP, 0, NULL, program, size);
}

/* A dump comes in datagrams that fit the buffer of a reader who takes a page at a time. */
static void test_parts(void)
{
    enum { SOCKETS = 120 };
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 req;
    } q = {.head = {.nlmsg_len = sizeof(q),
                    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
           .req = {AF_INET, IPPROTO_TCP, 0, 0, ALL_STATES, {0}}};
    static uint8_t buf[4096] __attribute__((aligned(8)));
    int fds[SOCKETS], fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG), count = 0, parts = 0;
    bool done = false;

    for (int i = 0; i < SOCKETS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK_EQ(listen(fds[i], 1), 0);
    }
    CHECK_EQ(send(fd, &q, sizeof(q), 0), sizeof(q));
    for (; !done; parts++) {
        ssize_t n = recv(fd, buf, sizeof(buf), MSG_TRUNC);

        if (!CHECK(n > 0 && n <= (ssize_t)sizeof(buf)))
            break;
        for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
            done = h->nlmsg_type == NLMSG_DONE;
            count += h->nlmsg_type == SOCK_DIAG_BY_FAMILY;
        }
    }
    CHECK_EQ(count, SOCKETS);
    CHECK(parts > 2);
    for (int i = 0; i < SOCKETS; i++)
        close(fds[i]);
    close(fd);
}

static uint64_t inode_of(int fd)
{
    struct stat st;

    CHECK_EQ(fstat(fd, &st), 0);
    return st.st_ino;
}

static void test_tcp(void)
{
    int l = listener(7), c = tcp(0), a, port = port_of(l);
    struct inet_diag_sockid id;
    struct seen s;

    CHECK_EQ(connect_to(c, INADDR_LOOPBACK, port), 0);
    a = accept(l, NULL, NULL);
    CHECK_EQ(send(c, "12345", 5, 0), 5);
    events_with(a, POLLIN);
    s = dump(AF_INET, IPPROTO_TCP, 1 << TCP_LISTEN);
    CHECK_EQ(s.count, 1);
    CHECK_EQ(s.msg[0].idiag_state, TCP_LISTEN);
    CHECK_EQ(ntohs(s.msg[0].id.idiag_sport), port);
    CHECK_EQ(s.msg[0].id.idiag_src[0], htonl(INADDR_LOOPBACK));
    CHECK_EQ(s.msg[0].id.idiag_dport, 0);
    CHECK_EQ(s.msg[0].idiag_wqueue, 7);
    CHECK_EQ(s.msg[0].idiag_inode, inode_of(l));
    CHECK_EQ(s.msg[0].idiag_uid, getuid());
    CHECK_EQ(dump(AF_INET, IPPROTO_TCP, ALL_STATES).count, 3);
    CHECK_EQ(dump(AF_INET6, IPPROTO_TCP, ALL_STATES).count, 0);
    CHECK_EQ(dump(AF_INET, IPPROTO_UDP, ALL_STATES).count, 0);
    s = dump(AF_INET, IPPROTO_TCP, 1 << TCP_ESTABLISHED);
    CHECK_EQ(s.count, 2);
    CHECK_EQ(s.msg[0].idiag_rqueue + s.msg[1].idiag_rqueue, 5);
    /* By its names: one alone. */
    id = s.msg[0].id;
    id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    s = ask(AF_INET, IPPROTO_TCP, ALL_STATES, 0,
            1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1) | 1 << (INET_DIAG_CONG - 1),
            &id, NULL, 0);
    CHECK_EQ(s.count, 1);
    CHECK_EQ(s.msg[0].id.idiag_sport, id.idiag_sport);
    CHECK_EQ(s.sizes & (1 << INET_DIAG_INFO | 1 << INET_DIAG_SKMEMINFO | 1 << INET_DIAG_CONG |
                        1 << INET_DIAG_SHUTDOWN | 1 << INET_DIAG_MEMINFO),
             1 << INET_DIAG_INFO | 1 << INET_DIAG_SKMEMINFO | 1 << INET_DIAG_CONG |
                 1 << INET_DIAG_SHUTDOWN);
    id.idiag_cookie[0] = 1;
    CHECK_EQ(ask(AF_INET, IPPROTO_TCP, ALL_STATES, 0, 0, &id, NULL, 0).error, -ENOENT);
    id.idiag_sport = id.idiag_dport = htons(1);
    CHECK_EQ(ask(AF_INET, IPPROTO_TCP, ALL_STATES, 0, 0, &id, NULL, 0).error, -ENOENT);
    /* By port. */
    memset(&id, 0, sizeof(id));
    id.idiag_sport = htons((uint16_t)port);
    CHECK_EQ(ask(AF_INET, IPPROTO_TCP, ALL_STATES, NLM_F_DUMP, 0, &id, NULL, 0).count, 2);
    close(a);
    close(c);
    close(l);
}

static void test_filter(void)
{
    int l = listener(7), c = tcp(0), a, port = port_of(l);
    struct inet_diag_bc_op equal[2] = {{INET_DIAG_BC_S_EQ, 8, 12}, {0, 0, (uint16_t)port}};
    struct inet_diag_bc_op above[2] = {{INET_DIAG_BC_D_GE, 8, 12}, {0, 0, 1}};
    struct inet_diag_bc_op chosen[1] = {{INET_DIAG_BC_AUTO, 4, 8}};
    struct {
        struct inet_diag_bc_op op;
        struct inet_diag_hostcond cond;
        uint32_t addr;
    } host = {{INET_DIAG_BC_D_COND, 16, 20}, {AF_INET, 8, -1}, htonl(0x7f111111)};
    struct {
        struct inet_diag_bc_op first[2], second[2];
    } either = {{{INET_DIAG_BC_S_EQ, 8, 12}, {0, 0, (uint16_t)port}},
                {{INET_DIAG_BC_JMP, 4, 12}, {0, 0, 0}}};

    CHECK_EQ(connect_to(c, INADDR_LOOPBACK, port), 0);
    a = accept(l, NULL, NULL);
    CHECK_EQ(filtered(equal, sizeof(equal)).count, 2);
    CHECK_EQ(filtered(above, sizeof(above)).count, 2);
    CHECK_EQ(filtered(chosen, sizeof(chosen)).count, 3);
    CHECK_EQ(filtered(&host, sizeof(host)).count, 2);
    host.cond.prefix_len = 32;
    CHECK_EQ(filtered(&host, sizeof(host)).count, 0);
    host.cond.port = port;
    host.cond.prefix_len = 0;
    CHECK_EQ(filtered(&host, sizeof(host)).count, 1);
    /* None that leads out of itself, backwards, or between its steps. */
    CHECK_EQ(filtered(&either, sizeof(either)).error, -EINVAL);
    host.cond.prefix_len = 33;
    CHECK_EQ(filtered(&host, sizeof(host)).error, -EINVAL);
    host.cond.family = 77;
    CHECK_EQ(filtered(&host, sizeof(host)).error, -EINVAL);
    equal[0].no = 16;
    CHECK_EQ(filtered(equal, sizeof(equal)).error, -EINVAL);
    equal[0].no = 2;
    CHECK_EQ(filtered(equal, sizeof(equal)).error, -EINVAL);
    equal[0].no = 12;
    equal[0].yes = 4;
    CHECK_EQ(filtered(equal, sizeof(equal)).error, -EINVAL);
    equal[0].yes = 0;
    CHECK_EQ(filtered(equal, sizeof(equal)).error, -EINVAL);
    equal[0].yes = 8;
    CHECK_EQ(filtered(equal, 4).error, -EINVAL);
    equal[0].code = 99;
    CHECK_EQ(filtered(equal, sizeof(equal)).error, -EINVAL);
    close(a);
    close(c);
    close(l);
}

static void test_udp(void)
{
    int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct seen s;

    CHECK_EQ(bind_to(u, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(bind(v, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(set_option(v, IPPROTO_IPV6, IPV6_TCLASS, 4), 0);
    s = dump(AF_INET, IPPROTO_UDP, ALL_STATES);
    CHECK_EQ(s.count, 1);
    CHECK_EQ(s.msg[0].idiag_state, TCP_CLOSE);
    CHECK_EQ(ntohs(s.msg[0].id.idiag_sport), port_of(u));
    s = ask(AF_INET6, IPPROTO_UDP, ALL_STATES, NLM_F_DUMP, 1 << (INET_DIAG_TCLASS - 1), NULL, NULL,
            0);
    CHECK_EQ(s.count, 1);
    CHECK(memcmp(s.msg[0].id.idiag_src, &name.sin6_addr, 16) == 0);
    CHECK_EQ(s.sizes & (1 << INET_DIAG_TCLASS | 1 << INET_DIAG_SKV6ONLY),
             1 << INET_DIAG_TCLASS | 1 << INET_DIAG_SKV6ONLY);
    CHECK_EQ(dump(AF_INET, 77, ALL_STATES).error, -ENOENT);
    close(u);
    close(v);
}

/* ---- what lo counts ---------------------------------------------------------------------------
 */

static void read_counters(uint64_t ret[4])
{
    FILE *f = fopen("/proc/thread-self/net/dev", "re");
    char line[512];

    CHECK(f != NULL);
    while (f && fgets(line, sizeof(line), f)) {
        char *lo = strstr(line, "lo:");

        if (lo)
            CHECK_EQ(sscanf(lo + 3, "%lu %lu %*u %*u %*u %*u %*u %*u %lu %lu", &ret[0], &ret[1],
                            &ret[2], &ret[3]),
                     4);
    }
    if (f)
        fclose(f);
}

/* A number of /proc/net/snmp: the line of names tells which one it is. */
static uint64_t snmp(const char *line, const char *name)
{
    FILE *f = fopen("/proc/thread-self/net/snmp", "re");
    char names[2048], numbers[2048], *a, *b, *s, *t;
    uint64_t found = UINT64_MAX;

    while (f && fgets(names, sizeof(names), f) && fgets(numbers, sizeof(numbers), f)) {
        if (strncmp(names, line, strlen(line)) != 0)
            continue;
        a = strtok_r(names, " \n", &s);
        b = strtok_r(numbers, " \n", &t);
        while (a && b) {
            if (strcmp(a, name) == 0)
                found = strtoull(b, NULL, 10);
            a = strtok_r(NULL, " \n", &s);
            b = strtok_r(NULL, " \n", &t);
        }
    }
    if (f)
        fclose(f);
    return found;
}

static void test_snmp(void)
{
    int to = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0), c[2];
    uint64_t packets = snmp("Ip:", "InReceives"), segments = snmp("Tcp:", "OutSegs");
    uint64_t in = snmp("Udp:", "InDatagrams"), lost = snmp("Icmp:", "InDestUnreachs");
    char byte;

    CHECK_EQ(bind_to(to, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(connect_to(from, INADDR_LOOPBACK, port_of(to)), 0);
    CHECK_EQ(send(from, "x", 1, 0), 1);
    CHECK_EQ(snmp("Udp:", "InDatagrams"), in);
    CHECK_EQ(recv(to, &byte, 1, 0), 1);
    CHECK_EQ(snmp("Udp:", "InDatagrams"), in + 1);
    CHECK_EQ(snmp("Ip:", "InReceives"), packets + 1);
    close(to);
    CHECK_EQ(send(from, "x", 1, 0), 1);
    CHECK_EQ(snmp("Ip:", "OutRequests"), packets + 3); /* and what ICMP says */
    CHECK_EQ(snmp("Icmp:", "InDestUnreachs"), lost + 1);
    close(from);
    connection(c);
    close_both(c);
    CHECK(snmp("Tcp:", "OutSegs") >= segments + 6);
}

static void test_counters(void)
{
    int to = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0), c[2];
    uint64_t before[4], after[4];
    char buf[100];

    CHECK_EQ(bind_to(to, INADDR_LOOPBACK, 0), 0);
    CHECK_EQ(connect_to(from, INADDR_LOOPBACK, port_of(to)), 0);
    read_counters(before);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(send(from, "ten bytes.", 10, 0), 10);
        CHECK_EQ(recv(to, buf, sizeof(buf), 0), 10);
    }
    read_counters(after);
    CHECK_EQ(after[0] - before[0], 3 * 38); /* headers of IP and UDP with it */
    CHECK_EQ(after[1] - before[1], 3);
    CHECK_EQ(after[2] - before[2], 3 * 38);
    CHECK_EQ(after[3] - before[3], 3);
    connection(c);
    CHECK_EQ(send(c[0], buf, sizeof(buf), 0), sizeof(buf));
    CHECK_EQ(recv(c[1], buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
    close_both(c);
    read_counters(before);
    CHECK(before[1] - after[1] >= 6); /* the handshake, the bytes, the end */
    CHECK(before[0] - after[0] >= 6 * 40 + sizeof(buf));
    CHECK_EQ(before[0], before[2]);
    close(to);
    close(from);
}

int main(void)
{
    if (!enter_own_network())
        return CHECK_SKIPPED;
    diag = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    CHECK(diag >= 0);
    test_parts();
    test_tcp();
    test_filter();
    test_udp();
    test_counters();
    test_snmp();
    close(diag);
    return check_done();
}
