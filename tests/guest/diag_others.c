/*
 * sock_diag(7) of packet and netlink sockets, what `ss -0` and `ss -A netlink` show: each socket
 * with what it has, and what cannot be asked.
 */
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/sock_diag.h>
#include <net/ethernet.h>
#include <stddef.h>
#include <sys/stat.h>

#include "inet.h"

#ifndef SOCK_DESTROY
#define SOCK_DESTROY 21
#endif
#define LO 1

static uint8_t answers[65536];
static size_t answers_size;

/* 0: the answers lie there; or the error. */
static int ask(uint16_t type, uint16_t flags, const void *req, size_t size)
{
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG), err = -1;
    struct {
        struct nlmsghdr h;
        uint8_t req[64];
    } out = {.h = {.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + size),
                   .nlmsg_type = type,
                   .nlmsg_flags = NLM_F_REQUEST | flags,
                   .nlmsg_seq = 1}};

    memcpy(out.req, req, size);
    CHECK_EQ(send(fd, &out, out.h.nlmsg_len, 0), out.h.nlmsg_len);
    answers_size = 0;
    while (err < 0) {
        ssize_t n = recv(fd, answers + answers_size, sizeof(answers) - answers_size, 0);
        struct nlmsghdr *h = (void *)(answers + answers_size);

        CHECK(n > 0);
        for (size_t left = (size_t)(n > 0 ? n : 0); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            if (h->nlmsg_type == NLMSG_ERROR)
                err = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
            else if (h->nlmsg_type == NLMSG_DONE)
                err = -*(int *)NLMSG_DATA(h);
            else
                CHECK_EQ(h->nlmsg_type, SOCK_DIAG_BY_FAMILY);
        }
        answers_size += (size_t)(n > 0 ? n : 0);
    }
    close(fd);
    return err;
}

static uint32_t inode_of(int fd)
{
    struct stat st;

    CHECK_EQ(fstat(fd, &st), 0);
    return (uint32_t)st.st_ino;
}

/* The answer of `size` bytes of fixed part whose inode is at `at`; NULL. */
static struct nlmsghdr *find(uint32_t ino, size_t at)
{
    struct nlmsghdr *h = (void *)answers;

    for (size_t left = answers_size; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        uint32_t there;

        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
            continue;
        memcpy(&there, (uint8_t *)NLMSG_DATA(h) + at, sizeof(there));
        if (there == ino)
            return h;
    }
    return NULL;
}

/* An attribute's data, of so many bytes; NULL. */
static void *attribute(struct nlmsghdr *h, size_t fixed, uint16_t type, size_t size)
{
    for (size_t at = NLMSG_LENGTH(fixed); at + sizeof(struct nlattr) <= h->nlmsg_len;) {
        struct nlattr *a = (void *)((uint8_t *)h + at);

        if (a->nla_type == type)
            return a->nla_len == NLA_HDRLEN + size ? (uint8_t *)a + NLA_HDRLEN : NULL;
        at += NLA_ALIGN(a->nla_len);
    }
    return NULL;
}

static void test_packet(void)
{
    struct packet_diag_req req = {.sdiag_family = AF_PACKET,
                                  .pdiag_show = PACKET_SHOW_INFO | PACKET_SHOW_MCLIST |
                                                PACKET_SHOW_RING_CFG | PACKET_SHOW_FANOUT |
                                                PACKET_SHOW_MEMINFO};
    struct sockaddr_ll ll = {
        .sll_family = AF_PACKET, .sll_ifindex = LO, .sll_protocol = htons(ETH_P_IP)};
    struct packet_mreq promiscuous = {.mr_ifindex = LO, .mr_type = PACKET_MR_PROMISC};
    struct tpacket_req ring = {4096, 2, 2048, 4};
    int a = socket(AF_PACKET, SOCK_RAW, 0), b = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ARP));
    size_t fixed = sizeof(struct packet_diag_msg), at = offsetof(struct packet_diag_msg, pdiag_ino);
    struct packet_diag_info *info;
    struct packet_diag_mclist *list;
    struct packet_diag_ring *r;
    struct packet_diag_msg *msg;
    struct nlmsghdr *h;

    CHECK_EQ(bind(a, (struct sockaddr *)&ll, sizeof(ll)), 0);
    CHECK_EQ(set_option(a, SOL_PACKET, PACKET_AUXDATA, 1), 0);
    CHECK_EQ(set_option(a, SOL_PACKET, PACKET_VERSION, TPACKET_V2), 0);
    CHECK_EQ(setsockopt(a, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)),
             0);
    CHECK_EQ(setsockopt(a, SOL_PACKET, PACKET_TX_RING, &ring, sizeof(ring)), 0);
    CHECK_EQ(set_option(a, SOL_PACKET, PACKET_FANOUT, 7 | PACKET_FANOUT_LB << 16), 0);
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), 0);
    h = find(inode_of(a), at);
    CHECK(h != NULL);
    if (!h)
        return;
    msg = NLMSG_DATA(h);
    CHECK_EQ(msg->pdiag_family, AF_PACKET);
    CHECK_EQ(msg->pdiag_type, SOCK_RAW);
    CHECK_EQ(msg->pdiag_num, ETH_P_IP);
    info = attribute(h, fixed, PACKET_DIAG_INFO, sizeof(*info));
    CHECK(info && info->pdi_index == LO && info->pdi_version == TPACKET_V2 &&
          info->pdi_flags == (PDI_RUNNING | PDI_AUXDATA));
    list = attribute(h, fixed, PACKET_DIAG_MCLIST, sizeof(*list));
    CHECK(list && list->pdmc_index == LO && list->pdmc_type == PACKET_MR_PROMISC &&
          list->pdmc_count == 1);
    r = attribute(h, fixed, PACKET_DIAG_TX_RING, sizeof(*r));
    CHECK(r && r->pdr_block_size == 4096 && r->pdr_frame_nr == 4);
    CHECK(!attribute(h, fixed, PACKET_DIAG_RX_RING, sizeof(*r)));
    CHECK(attribute(h, fixed, PACKET_DIAG_FANOUT, 4) &&
          *(uint32_t *)attribute(h, fixed, PACKET_DIAG_FANOUT, 4) == (7 | PACKET_FANOUT_LB << 16));
    CHECK(attribute(h, fixed, PACKET_DIAG_UID, 4) != NULL);
    h = find(inode_of(b), at);
    CHECK(h && ((struct packet_diag_msg *)NLMSG_DATA(h))->pdiag_type == SOCK_DGRAM);
    req.pdiag_show = 0;
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), 0);
    h = find(inode_of(b), at);
    CHECK(h && h->nlmsg_len == NLMSG_LENGTH(fixed));
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_ACK, &req, sizeof(req)), EOPNOTSUPP);
    CHECK_EQ(ask(SOCK_DESTROY, NLM_F_ACK, &req, sizeof(req)), EOPNOTSUPP);
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, 8), EINVAL);
    req.sdiag_protocol = 1;
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), EINVAL);
    close(a);
    close(b);
}

static void test_netlink(void)
{
    struct netlink_diag_req req = {.sdiag_family = AF_NETLINK,
                                   .sdiag_protocol = NDIAG_PROTO_ALL,
                                   .ndiag_show =
                                       NDIAG_SHOW_MEMINFO | NDIAG_SHOW_GROUPS | NDIAG_SHOW_FLAGS};
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_pid = 4711, .nl_groups = 0x11};
    int fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
    size_t fixed = sizeof(struct netlink_diag_msg),
           at = offsetof(struct netlink_diag_msg, ndiag_ino);
    struct netlink_diag_msg *msg;
    struct nlmsghdr *h;
    uint32_t *flags;
    uint64_t *groups;

    CHECK_EQ(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_EQ(set_option(fd, SOL_NETLINK, NETLINK_PKTINFO, 1), 0);
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), 0);
    h = find(inode_of(fd), at);
    CHECK(h != NULL);
    if (!h)
        return;
    msg = NLMSG_DATA(h);
    CHECK_EQ(msg->ndiag_type, SOCK_DGRAM);
    CHECK_EQ(msg->ndiag_protocol, NETLINK_ROUTE);
    CHECK_EQ(msg->ndiag_portid, 4711);
    flags = attribute(h, fixed, NETLINK_DIAG_FLAGS, sizeof(*flags));
    CHECK(flags && *flags == NDIAG_FLAG_PKTINFO);
    groups = attribute(h, fixed, NETLINK_DIAG_GROUPS, sizeof(*groups));
    CHECK(groups && (*groups & 0xff) == 0x11);
    req.sdiag_protocol = NETLINK_SOCK_DIAG;
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), 0);
    CHECK(find(inode_of(fd), at) == NULL);
    req.sdiag_protocol = 40;
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, sizeof(req)), ENOENT);
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_ACK, &req, sizeof(req)), EOPNOTSUPP);
    CHECK_EQ(ask(SOCK_DESTROY, NLM_F_ACK, &req, sizeof(req)), EOPNOTSUPP);
    CHECK_EQ(ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &req, 8), EINVAL);
    close(fd);
}

int main(void)
{
    if (!enter_own_network())
        return CHECK_SKIPPED;
    test_packet();
    test_netlink();
    return check_done();
}
