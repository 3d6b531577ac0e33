/*
 * Packet sockets on a loopback of the test's own: who sees which frames, addresses, filters,
 * statistics, memberships, frames of our own, and rings of all three versions.
 */
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "inet.h"

#define LO         1
#define PORT       5151
#define UDP_HEADER (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))

static int packet_socket(int type, int protocol, int interface)
{
    struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = interface};
    int fd = socket(AF_PACKET, type, htons((uint16_t)protocol));

    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
    return fd;
}

static int udp_receiver(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    CHECK_EQ(bind_to(fd, INADDR_LOOPBACK, PORT), 0);
    return fd;
}

static void send_datagram(const char *text)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = v4(INADDR_LOOPBACK, PORT);

    CHECK_EQ(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof(to)), strlen(text));
    close(fd);
}

/* The bytes of a datagram in a frame. */
static bool has_datagram(const uint8_t *frame, size_t size, const char *text)
{
    struct iphdr ip;

    if (size != UDP_HEADER + strlen(text))
        return false;
    memcpy(&ip, frame + sizeof(struct ethhdr), sizeof(ip));
    return ip.protocol == IPPROTO_UDP && ntohs(ip.tot_len) == size - sizeof(struct ethhdr) &&
           memcmp(frame + UDP_HEADER, text, strlen(text)) == 0;
}

static void test_queue(int udp)
{
    int all = packet_socket(SOCK_RAW, ETH_P_ALL, LO), ip = packet_socket(SOCK_DGRAM, ETH_P_IP, LO);
    int other = packet_socket(SOCK_RAW, ETH_P_ARP, LO), none = packet_socket(SOCK_RAW, 0, LO);
    struct sockaddr_ll from;
    socklen_t size = sizeof(from);
    uint8_t frame[256];
    int bytes;

    CHECK_EQ(getsockname(all, (struct sockaddr *)&from, &size), 0);
    CHECK_EQ(size, offsetof(struct sockaddr_ll, sll_addr) + ETH_ALEN);
    CHECK_EQ(from.sll_ifindex, LO);
    CHECK_EQ(ntohs(from.sll_protocol), ETH_P_ALL);
    CHECK_EQ(from.sll_hatype, 772);
    CHECK_EQ(events_with(all, 0) & POLLIN, 0);
    send_datagram("one");
    CHECK_EQ(events_with(all, POLLIN) & POLLIN, POLLIN);
    CHECK_EQ(ioctl(all, FIONREAD, &bytes), 0);
    CHECK_EQ(bytes, UDP_HEADER + 3);
    for (int i = 0; i < 2; i++) { /* out, and in */
        size = sizeof(from);
        CHECK_EQ(recvfrom(all, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size),
                 UDP_HEADER + 3);
        CHECK(has_datagram(frame, UDP_HEADER + 3, "one"));
        CHECK_EQ(size, sizeof(from));
        CHECK_EQ(from.sll_family, AF_PACKET);
        CHECK_EQ(from.sll_pkttype, i ? PACKET_HOST : PACKET_OUTGOING);
        CHECK_EQ(ntohs(from.sll_protocol), ETH_P_IP);
        CHECK_EQ(from.sll_ifindex, LO);
        CHECK_EQ(from.sll_halen, ETH_ALEN);
    }
    CHECK_ERRNO(recv(all, frame, sizeof(frame), MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(recv(ip, frame, 10, MSG_PEEK | MSG_TRUNC), UDP_HEADER + 3 - ETH_HLEN);
    CHECK_EQ(recv(ip, frame, sizeof(frame), 0), UDP_HEADER + 3 - ETH_HLEN);
    CHECK_EQ(frame[0], 0x45);
    CHECK_ERRNO(recv(ip, frame, sizeof(frame), MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(recv(other, frame, sizeof(frame), MSG_DONTWAIT), EAGAIN);
    CHECK_ERRNO(recv(none, frame, sizeof(frame), MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(set_option(all, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1), 0);
    send_datagram("two");
    CHECK_EQ(recvfrom(all, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size),
             UDP_HEADER + 3);
    CHECK_EQ(from.sll_pkttype, PACKET_HOST);
    CHECK_ERRNO(recv(all, frame, sizeof(frame), MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(recv(udp, frame, sizeof(frame), 0), 3);
    CHECK_EQ(recv(udp, frame, sizeof(frame), 0), 3);
    close(all);
    close(ip);
    close(other);
    close(none);
}

/* The frames of a connection tell what it carried. */
static void test_segments(void)
{
    int fd = packet_socket(SOCK_RAW, ETH_P_IP, LO), c[2];
    int syns = 0, fins = 0, resets = 0, bytes = 0;
    uint8_t frame[2048];
    ssize_t n;

    connection(c);
    CHECK_EQ(send(c[0], "twelve bytes", 12, 0), 12);
    CHECK_EQ(recv(c[1], frame, 12, MSG_WAITALL), 12);
    CHECK_EQ(send(c[1], "back", 4, 0), 4);
    CHECK_EQ(recv(c[0], frame, 4, MSG_WAITALL), 4);
    close_both(c);
    while ((n = recv(fd, frame, sizeof(frame), fins < 2 ? 0 : MSG_DONTWAIT)) > 0) {
        const uint8_t *ip = frame + ETH_HLEN, *tcp_header = ip + 20;

        if (ip[9] != IPPROTO_TCP)
            continue;
        syns += (tcp_header[13] & 2) != 0;
        fins += tcp_header[13] & 1;
        resets += (tcp_header[13] & 4) != 0;
        bytes += (int)(n - ETH_HLEN - 20 - (tcp_header[12] >> 4) * 4);
    }
    CHECK_EQ(syns, 2);
    CHECK_EQ(fins, 2);
    CHECK_EQ(resets, 0);
    CHECK_EQ(bytes, 16);
    close(fd);
}

static void test_filter_and_statistics(int udp)
{
    struct sock_filter program[] = {
        /* Datagrams to PORT alone, and of those the first 60 bytes. */
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN + 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_HLEN + 20 + 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PORT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 60),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog filter = {ARRAY_COUNT(program), program};
    int fd = packet_socket(SOCK_RAW, ETH_P_IP, LO), c[2], one = 1;
    char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))], frame[256];
    struct iovec iov = {frame, sizeof(frame)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    struct tpacket_auxdata aux = {0};
    struct tpacket_stats stats;
    socklen_t size = sizeof(stats);

    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)), 0);
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)), 0);
    connection(c);
    close_both(c);
    send_datagram("a datagram that is cut");
    CHECK_EQ(recvmsg(fd, &msg, 0), 60);
    CHECK(CMSG_FIRSTHDR(&msg) != NULL);
    CHECK_EQ(CMSG_FIRSTHDR(&msg)->cmsg_level, SOL_PACKET);
    CHECK_EQ(CMSG_FIRSTHDR(&msg)->cmsg_type, PACKET_AUXDATA);
    memcpy(&aux, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(aux));
    CHECK_EQ(aux.tp_status & TP_STATUS_USER, TP_STATUS_USER);
    CHECK_EQ(aux.tp_len, UDP_HEADER + strlen("a datagram that is cut"));
    CHECK_EQ(aux.tp_snaplen, 60);
    CHECK_EQ(aux.tp_mac, 0);
    CHECK_EQ(aux.tp_net, ETH_HLEN);
    CHECK_ERRNO(recv(fd, frame, sizeof(frame), MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size), 0);
    CHECK_EQ(stats.tp_packets, 1);
    CHECK_EQ(stats.tp_drops, 0);
    /* What does not fit into the queue is counted. */
    CHECK_EQ(set_option(fd, SOL_SOCKET, SO_RCVBUF, 0), 0);
    for (int i = 0; i < 100; i++) {
        send_datagram("much");
        recv(udp, frame, sizeof(frame), 0);
    }
    CHECK_EQ(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size), 0);
    CHECK_EQ(stats.tp_packets, 100);
    CHECK(stats.tp_drops > 50 && stats.tp_drops < 100);
    CHECK_EQ(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size), 0);
    CHECK_EQ(stats.tp_packets, 0);
    recv(udp, frame, sizeof(frame), 0);
    close(fd);
}

static void test_memberships(void)
{
    int fd = packet_socket(SOCK_RAW, ETH_P_ALL, LO);
    struct packet_mreq mreq = {LO, PACKET_MR_PROMISC, 0, {0}};
    struct packet_mreq group = {LO, PACKET_MR_MULTICAST, ETH_ALEN, {1, 0, 0x5e, 0, 0, 1}};

    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)), 0);
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)), 0);
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &mreq, sizeof(mreq)), 0);
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &mreq, sizeof(mreq)), 0);
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &mreq, sizeof(mreq)), 0);
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, 8), EINVAL);
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof(group)), 0);
    group.mr_alen = 3;
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof(group)), EINVAL);
    mreq.mr_ifindex = 77;
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)), ENODEV);
    close(fd);
}

static uint16_t checksum(const void *data, size_t size, uint32_t sum)
{
    const uint16_t *words = data;

    for (size_t i = 0; i < size / 2; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

/* A datagram with all its headers by hand comes to a socket of UDP, if it is not a martian. */
static void test_send(int udp)
{
    struct {
        struct iphdr ip;
        struct udphdr udp;
        char text[4];
    } p4 = {.ip = {.version = 4, .ihl = 5, .ttl = 9, .protocol = IPPROTO_UDP}, .text = "hand"};
    struct {
        struct ip6_hdr ip;
        struct udphdr udp;
        char text[4];
    } p6 = {.ip = {.ip6_src = IN6ADDR_LOOPBACK_INIT, .ip6_dst = IN6ADDR_LOOPBACK_INIT},
            .text = "hand"};
    const uint16_t size = sizeof(p6.udp) + sizeof(p6.text);
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_ifindex = LO,
                             .sll_protocol = htons(ETH_P_IP),
                             .sll_halen = ETH_ALEN};
    struct sockaddr_in6 name = {
        .sin6_family = AF_INET6, .sin6_port = htons(PORT + 1), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_PACKET, SOCK_DGRAM, 0), raw = socket(AF_PACKET, SOCK_RAW, 0);
    int udp6 = socket(AF_INET6, SOCK_DGRAM, 0);
    uint8_t frame[ETH_HLEN + sizeof(p6)] = {[12] = 0x86, [13] = 0xdd}, *big = calloc(1, 70000);
    char buf[16];

    CHECK_EQ(bind(udp6, (struct sockaddr *)&name, sizeof(name)), 0);
    p6.ip.ip6_nxt = IPPROTO_UDP;
    p6.ip.ip6_hlim = 9;
    p6.ip.ip6_vfc = 0x60;
    p4.udp.source = p6.udp.source = htons(99);
    p4.udp.dest = htons(PORT);
    p6.udp.dest = htons(PORT + 1);
    p4.udp.len = p6.udp.len = p6.ip.ip6_plen = htons(size);
    p4.ip.saddr = p4.ip.daddr = htonl(INADDR_LOOPBACK);
    p4.ip.tot_len = htons(sizeof(p4));
    p4.ip.check = checksum(&p4.ip, sizeof(p4.ip), 0);
    p6.udp.check = checksum(&p6.udp, size, htons(size) + htons(IPPROTO_UDP) + htons(1) + htons(1));
    CHECK_EQ(sendto(fd, &p4, sizeof(p4), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(p4));
    to.sll_protocol = htons(ETH_P_IPV6);
    CHECK_EQ(sendto(fd, &p6, sizeof(p6), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(p6));
    CHECK_EQ(recv(udp6, buf, sizeof(buf), 0), 4);
    CHECK(memcmp(buf, "hand", 4) == 0);
    CHECK_ERRNO(recv(udp, buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
    memcpy(frame + ETH_HLEN, &p6, sizeof(p6));
    CHECK_EQ(sendto(raw, frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)),
             sizeof(frame));
    CHECK_EQ(recv(udp6, buf, sizeof(buf), 0), 4);
    CHECK_ERRNO(sendto(raw, frame, 4, 0, (struct sockaddr *)&to, sizeof(to)), EINVAL);
    CHECK_ERRNO(sendto(raw, big, 70000, 0, (struct sockaddr *)&to, sizeof(to)), EMSGSIZE);
    CHECK_ERRNO(sendto(raw, frame, sizeof(frame), 0, (struct sockaddr *)&to, 10), EINVAL);
    CHECK_ERRNO(send(raw, frame, sizeof(frame), 0), ENXIO);
    /* Nonsense is dropped. */
    p6.ip.ip6_plen = htons(6000);
    CHECK_EQ(sendto(fd, &p6, sizeof(p6), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(p6));
    p6.ip.ip6_plen = htons(size);
    p6.udp.len = htons(6000);
    CHECK_EQ(sendto(fd, &p6, sizeof(p6), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(p6));
    p6.udp.len = htons(size);
    p6.udp.check++;
    CHECK_EQ(sendto(fd, &p6, sizeof(p6), 0, (struct sockaddr *)&to, sizeof(to)), sizeof(p6));
    CHECK_EQ(sendto(fd, &p6, 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
    CHECK_ERRNO(recv(udp6, buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
    to.sll_ifindex = 77;
    CHECK_ERRNO(sendto(raw, frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)), ENXIO);
    CHECK_ERRNO(bind(raw, (struct sockaddr *)&to, sizeof(to)), ENODEV);
    CHECK_ERRNO(bind(raw, (struct sockaddr *)&to, 10), EINVAL);
    CHECK_ERRNO(listen(raw, 1), EOPNOTSUPP);
    CHECK_ERRNO(connect(raw, (struct sockaddr *)&to, sizeof(to)), EOPNOTSUPP);
    free(big);
    close(udp6);
    close(fd);
    close(raw);
}

/* ---- rings ------------------------------------------------------------------------------------
 */

static uint8_t *make_ring(int *ret_fd, int version, struct tpacket_req3 *req)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll ll = {
        .sll_family = AF_PACKET, .sll_ifindex = LO, .sll_protocol = htons(ETH_P_IP)};
    size_t size = (size_t)req->tp_block_size * req->tp_block_nr;
    uint8_t *ring;

    CHECK_EQ(set_option(fd, SOL_PACKET, PACKET_VERSION, version), 0);
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, req,
                        version == TPACKET_V3 ? sizeof(*req) : sizeof(struct tpacket_req)),
             0);
    ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(ring != MAP_FAILED);
    CHECK_EQ(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
    *ret_fd = fd;
    return ring;
}

static void test_ring(int udp, int version)
{
    struct tpacket_req3 req = {
        .tp_block_size = 4096, .tp_block_nr = 2, .tp_frame_size = 1024, .tp_frame_nr = 8};
    struct tpacket_stats stats;
    socklen_t size = sizeof(stats);
    uint8_t *ring, buf[16];
    int fd;

    ring = make_ring(&fd, version, &req);
    CHECK_EQ(events_with(fd, 0) & POLLIN, 0);
    for (int i = 0; i < 10; i++) { /* two more than there is room for */
        char text[2] = {(char)('a' + i), 0};

        send_datagram(text);
        CHECK_EQ(recv(udp, buf, sizeof(buf), 0), 1);
    }
    CHECK_EQ(events_with(fd, POLLIN) & POLLIN, POLLIN);
    for (unsigned i = 0; i < 8; i++) {
        char text[2] = {(char)('a' + (int)i), 0};
        uint8_t *frame = ring + i * 1024;
        struct tpacket2_hdr *v2 = (void *)frame;
        struct tpacket_hdr *v1 = (void *)frame;
        unsigned length = version == TPACKET_V1 ? v1->tp_snaplen : v2->tp_snaplen;
        unsigned mac = version == TPACKET_V1 ? v1->tp_mac : v2->tp_mac;
        unsigned network = version == TPACKET_V1 ? v1->tp_net : v2->tp_net;
        struct sockaddr_ll *ll =
            (void *)(frame + (version == TPACKET_V1 ? TPACKET_ALIGN(sizeof(*v1))
                                                    : TPACKET_ALIGN(sizeof(*v2))));

        CHECK_EQ(*(uint32_t *)(void *)frame & TP_STATUS_USER, TP_STATUS_USER);
        CHECK_EQ(mac, i ? mac : network - ETH_HLEN);
        CHECK_EQ(mac, version == TPACKET_V1 ? 66 : 66);
        CHECK(has_datagram(frame + mac, length, text));
        CHECK_EQ(ll->sll_pkttype, PACKET_HOST);
        __atomic_store_n((uint32_t *)(void *)frame, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    CHECK_EQ(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size), 0);
    CHECK_EQ(stats.tp_packets, 10);
    CHECK_EQ(stats.tp_drops, 2);
    send_datagram("z");
    CHECK_EQ(recv(udp, buf, sizeof(buf), 0), 1);
    CHECK_EQ(*(uint32_t *)(void *)ring & TP_STATUS_USER, TP_STATUS_USER);
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)), EBUSY);
    CHECK_ERRNO(set_option(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2), EBUSY);
    munmap(ring, 8192);
    memset(&req, 0, sizeof(req));
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)), 0);
    CHECK(mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK_EQ(set_option(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V3), 0);
    close(fd);
}

static void test_blocks(int udp)
{
    struct tpacket_req3 req = {.tp_block_size = 4096,
                               .tp_block_nr = 2,
                               .tp_frame_size = 2048,
                               .tp_frame_nr = 4,
                               .tp_retire_blk_tov = 20};
    struct tpacket_block_desc *block;
    struct tpacket3_hdr *h;
    uint8_t *ring, buf[16];
    struct pollfd p = {.events = POLLIN};
    int fd;

    ring = make_ring(&fd, TPACKET_V3, &req);
    block = (void *)ring;
    send_datagram("first");
    send_datagram("second");
    CHECK_EQ(recv(udp, buf, sizeof(buf), 0), 5);
    CHECK_EQ(recv(udp, buf, sizeof(buf), 0), 6);
    p.fd = fd;
    CHECK_EQ(poll(&p, 1, 10000), 1); /* when the block's time is over */
    CHECK_EQ(block->hdr.bh1.block_status & TP_STATUS_USER, TP_STATUS_USER);
    CHECK_EQ(block->hdr.bh1.block_status & TP_STATUS_BLK_TMO, TP_STATUS_BLK_TMO);
    if (block->hdr.bh1.num_pkts == 2) { /* on a slow machine they may lie in two blocks */
        h = (void *)(ring + block->hdr.bh1.offset_to_first_pkt);
        CHECK(has_datagram((uint8_t *)h + h->tp_mac, h->tp_snaplen, "first"));
        h = (void *)((uint8_t *)h + h->tp_next_offset);
        CHECK(has_datagram((uint8_t *)h + h->tp_mac, h->tp_snaplen, "second"));
        CHECK_EQ(h->tp_next_offset, 0);
    }
    CHECK_EQ(block->hdr.bh1.seq_num, 1);
    close(fd);
    CHECK_EQ(ring[0] | 1, ring[0] | 1); /* the memory stays */
    munmap(ring, 8192);
}

static void test_bad_rings(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0), length = sizeof(int), version;
    struct tpacket_req3 req;
    const struct tpacket_req3 bad[] = {
        {.tp_block_size = 4096, .tp_block_nr = 1, .tp_frame_size = 1024, .tp_frame_nr = 3},
        {.tp_block_size = 1000, .tp_block_nr = 1, .tp_frame_size = 1000, .tp_frame_nr = 1},
        {.tp_block_size = 4096, .tp_block_nr = 1, .tp_frame_size = 16, .tp_frame_nr = 256},
        {.tp_block_size = 4096, .tp_block_nr = 1, .tp_frame_size = 1000, .tp_frame_nr = 4},
        {.tp_block_size = 4096, .tp_block_nr = 1, .tp_frame_size = 0, .tp_frame_nr = 4},
        {.tp_block_size = 0x80000000, .tp_block_nr = 2, .tp_frame_size = 1024, .tp_frame_nr = 4},
        {.tp_block_size = 4096, .tp_block_nr = 0, .tp_frame_size = 1024, .tp_frame_nr = 4},
        {.tp_block_size = 4096,
         .tp_block_nr = 2,
         .tp_frame_size = 4096,
         .tp_frame_nr = 2,
         .tp_sizeof_priv = 3U << 30},
    };

    for (version = TPACKET_V1; version <= TPACKET_V3; version++) {
        CHECK_EQ(set_option(fd, SOL_PACKET, PACKET_VERSION, version), 0);
        for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
            if (bad[i].tp_sizeof_priv && version != TPACKET_V3)
                continue;
            req = bad[i];
            CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)), EINVAL);
        }
        CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, 8), EINVAL);
    }
    CHECK_ERRNO(set_option(fd, SOL_PACKET, PACKET_VERSION, 3), EINVAL);
    CHECK_ERRNO(set_option(fd, SOL_PACKET, PACKET_RESERVE, -1), EINVAL);
    for (version = TPACKET_V1; version <= TPACKET_V3 + 1; version++) {
        int value = version;
        int err = getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &value, (socklen_t *)&length);

        note("header of version %d: %d", version, err < 0 ? -errno : value);
    }
    CHECK_ERRNO(set_option(fd, SOL_PACKET, 4711, 1), ENOPROTOOPT);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
    close(fd);
}

/* ---- who may ----------------------------------------------------------------------------------
 */

static void test_rights(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        bool refused = setresuid(1000, 1000, 1000) == 0 &&
                       socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) < 0 && errno == EPERM;

        _exit(refused ? 0 : 1);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_ERRNO(socket(AF_PACKET, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
}

int main(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int udp;

    if (unshare(CLONE_NEWNET) < 0)
        return CHECK_SKIPPED;
    udp = packet_socket(SOCK_RAW, ETH_P_ALL, 0);
    CHECK_EQ(option(udp, SOL_SOCKET, SO_ERROR), 0);
    close(udp);
    CHECK_EQ(socket(AF_PACKET, SOCK_RAW, 0), udp);
    struct sockaddr_ll down = {.sll_family = AF_PACKET, .sll_ifindex = LO, .sll_protocol = 8};
    CHECK_EQ(bind(udp, (struct sockaddr *)&down, sizeof(down)), 0);
    CHECK_EQ(option(udp, SOL_SOCKET, SO_ERROR), ENETDOWN);
    CHECK_EQ(ioctl(udp, SIOCSIFFLAGS, &lo), 0);
    close(udp);
    udp = udp_receiver();
    test_queue(udp);
    test_segments();
    test_filter_and_statistics(udp);
    test_memberships();
    test_send(udp);
    test_ring(udp, TPACKET_V1);
    test_ring(udp, TPACKET_V2);
    test_blocks(udp);
    test_bad_rings();
    test_rights();
    return check_done();
}
