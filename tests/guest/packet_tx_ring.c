/*
 * PACKET_TX_RING: frames that lie in mapped memory leave with one send(2), in all three versions;
 * those that are not as they must be; and both rings in one mapping.
 */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sys/mman.h>

#include "inet.h"

#define LO     1
#define TYPE   0x88b5 /* for experiments */
#define BLOCK  4096
#define FRAME  2048
#define FRAMES 4

static int receiver;

static int packet_socket(int type, int version)
{
    struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = LO};
    int fd = socket(AF_PACKET, type, 0);

    CHECK(fd >= 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
    CHECK_EQ(set_option(fd, SOL_PACKET, PACKET_VERSION, version), 0);
    return fd;
}

static int set_ring(int fd, int version, int which)
{
    struct tpacket_req3 req = {.tp_block_size = BLOCK,
                               .tp_block_nr = FRAMES * FRAME / BLOCK,
                               .tp_frame_size = FRAME,
                               .tp_frame_nr = FRAMES};

    return setsockopt(fd, SOL_PACKET, which, &req,
                      version == TPACKET_V3 ? sizeof(req) : sizeof(struct tpacket_req));
}

static uint8_t *map_rings(int fd, size_t size)
{
    uint8_t *ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(ring != MAP_FAILED);
    return ring;
}

static uint32_t status_of(int version, uint8_t *frame)
{
    switch (version) {
    case TPACKET_V1:
        return (uint32_t)((struct tpacket_hdr *)(void *)frame)->tp_status;
    case TPACKET_V2:
        return ((struct tpacket2_hdr *)(void *)frame)->tp_status;
    default:
        return ((struct tpacket3_hdr *)(void *)frame)->tp_status;
    }
}

static uint8_t *bytes_of(int version, uint8_t *frame)
{
    return frame + (version == TPACKET_V1   ? TPACKET_ALIGN(sizeof(struct tpacket_hdr))
                    : version == TPACKET_V2 ? TPACKET_ALIGN(sizeof(struct tpacket2_hdr))
                                            : TPACKET_ALIGN(sizeof(struct tpacket3_hdr)));
}

/* Ready to be sent, with so many bytes. */
static void ready(int version, uint8_t *frame, uint32_t size)
{
    switch (version) {
    case TPACKET_V1:
        ((struct tpacket_hdr *)(void *)frame)->tp_len = size;
        ((struct tpacket_hdr *)(void *)frame)->tp_status = TP_STATUS_SEND_REQUEST;
        break;
    case TPACKET_V2:
        ((struct tpacket2_hdr *)(void *)frame)->tp_len = size;
        ((struct tpacket2_hdr *)(void *)frame)->tp_status = TP_STATUS_SEND_REQUEST;
        break;
    default:
        ((struct tpacket3_hdr *)(void *)frame)->tp_len = size;
        ((struct tpacket3_hdr *)(void *)frame)->tp_next_offset = 0;
        ((struct tpacket3_hdr *)(void *)frame)->tp_status = TP_STATUS_SEND_REQUEST;
    }
}

/* A whole frame of which the last byte is `mark`; how many bytes. */
static uint32_t make_frame(uint8_t *at, uint8_t mark)
{
    memset(at, 0, ETH_HLEN);
    at[12] = TYPE >> 8;
    at[13] = TYPE & 0xff;
    memset(at + ETH_HLEN, '.', 50);
    at[ETH_HLEN + 49] = mark;
    return ETH_HLEN + 50;
}

/* The marks of the frames that have come. */
static const char *received(void)
{
    static char marks[16];
    uint8_t frame[256];
    size_t n = 0;
    ssize_t size;

    while (n < sizeof(marks) - 1 &&
           (size = recv(receiver, frame, sizeof(frame), MSG_DONTWAIT)) > 0) {
        CHECK_EQ(size, ETH_HLEN + 50);
        marks[n++] = (char)frame[size - 1];
    }
    marks[n] = 0;
    return marks;
}

static void test_version(int version)
{
    int fd = packet_socket(SOCK_RAW, version);
    uint8_t *ring;

    CHECK_EQ(set_ring(fd, version, PACKET_TX_RING), 0);
    CHECK_ERRNO(set_ring(fd, version, PACKET_TX_RING), EBUSY);
    CHECK_ERRNO(set_option(fd, SOL_PACKET, PACKET_VERSION, version), EBUSY);
    ring = map_rings(fd, (size_t)FRAMES * FRAME);
    CHECK_EQ(send(fd, NULL, 0, 0), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            uint8_t *frame = ring + (round * 3 + i) % FRAMES * FRAME;

            CHECK_EQ(status_of(version, frame), TP_STATUS_AVAILABLE);
            ready(version, frame, make_frame(bytes_of(version, frame), (uint8_t)('a' + i)));
        }
        CHECK_EQ(send(fd, NULL, 0, 0), 3 * (ETH_HLEN + 50));
        for (int i = 0; i < FRAMES; i++)
            CHECK_EQ(status_of(version, ring + i * FRAME), TP_STATUS_AVAILABLE);
        CHECK(strcmp(received(), "abc") == 0);
    }
    /* The next is the third: too long; then sent after all, and the one behind it. */
    for (int i = 2; i < 4; i++)
        ready(version, ring + i * FRAME,
              make_frame(bytes_of(version, ring + i * FRAME), (uint8_t)('0' + i)));
    ready(version, ring + 2 * FRAME, 1U << 20);
    CHECK_ERRNO(send(fd, NULL, 0, 0), EMSGSIZE);
    CHECK_EQ(status_of(version, ring + 2 * FRAME), TP_STATUS_WRONG_FORMAT);
    CHECK_EQ(status_of(version, ring + 3 * FRAME), TP_STATUS_SEND_REQUEST);
    CHECK_EQ(send(fd, NULL, 0, 0), 0);
    ready(version, ring + 2 * FRAME, ETH_HLEN + 50);
    CHECK_EQ(send(fd, NULL, 0, 0), 2 * (ETH_HLEN + 50));
    CHECK(strcmp(received(), "23") == 0);
    munmap(ring, (size_t)FRAMES * FRAME);
    close(fd);
}

/* PACKET_LOSS: what is wrong is passed over. And PACKET_TX_HAS_OFF: bytes lie elsewhere. */
static void test_options(void)
{
    int fd = packet_socket(SOCK_RAW, TPACKET_V2);
    struct tpacket2_hdr *h;
    uint8_t *ring;

    CHECK_EQ(set_option(fd, SOL_PACKET, PACKET_LOSS, 1), 0);
    CHECK_EQ(set_option(fd, SOL_PACKET, PACKET_TX_HAS_OFF, 1), 0);
    CHECK_EQ(option(fd, SOL_PACKET, PACKET_TX_HAS_OFF), 1);
    CHECK_EQ(set_ring(fd, TPACKET_V2, PACKET_TX_RING), 0);
    ring = map_rings(fd, (size_t)FRAMES * FRAME);
    for (int i = 0; i < 3; i++) {
        h = (void *)(ring + i * FRAME);
        h->tp_mac = (uint16_t)(i == 1 ? 8 : 512); /* inside the header */
        make_frame(ring + i * FRAME + 512, (uint8_t)('x' + i));
        ready(TPACKET_V2, ring + i * FRAME, ETH_HLEN + 50);
    }
    CHECK_EQ(send(fd, NULL, 0, 0), 2 * (ETH_HLEN + 50));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(status_of(TPACKET_V2, ring + i * FRAME), TP_STATUS_AVAILABLE);
    CHECK(strcmp(received(), "xz") == 0);
    munmap(ring, (size_t)FRAMES * FRAME);
    close(fd);
}

static void test_addressed(void)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_ifindex = LO,
                             .sll_protocol = htons(TYPE),
                             .sll_halen = ETH_ALEN};
    int fd = packet_socket(SOCK_DGRAM, TPACKET_V2);
    uint8_t *ring;

    CHECK_EQ(set_ring(fd, TPACKET_V2, PACKET_TX_RING), 0);
    ring = map_rings(fd, (size_t)FRAMES * FRAME);
    memset(bytes_of(TPACKET_V2, ring), 'd', 50);
    ready(TPACKET_V2, ring, 50);
    CHECK_EQ(sendto(fd, NULL, 0, 0, (struct sockaddr *)&to, sizeof(to)), 50);
    CHECK(strcmp(received(), "d") == 0);
    munmap(ring, (size_t)FRAMES * FRAME);
    close(fd);
}

/* The ring to receive lies before the other, whichever was asked for first. */
static void test_both(bool sends_first)
{
    int fd = packet_socket(SOCK_RAW, TPACKET_V2);
    struct sockaddr_ll ll = {
        .sll_family = AF_PACKET, .sll_ifindex = LO, .sll_protocol = htons(TYPE)};
    uint8_t *ring, *out;

    CHECK_EQ(set_ring(fd, TPACKET_V2, sends_first ? PACKET_TX_RING : PACKET_RX_RING), 0);
    CHECK_EQ(set_ring(fd, TPACKET_V2, sends_first ? PACKET_RX_RING : PACKET_TX_RING), 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
    ring = map_rings(fd, (size_t)2 * FRAMES * FRAME);
    out = ring + FRAMES * FRAME;
    ready(TPACKET_V2, out, make_frame(bytes_of(TPACKET_V2, out), 'q'));
    CHECK_EQ(send(fd, NULL, 0, 0), ETH_HLEN + 50);
    CHECK(strcmp(received(), "q") == 0);
    CHECK_EQ(status_of(TPACKET_V2, ring) & TP_STATUS_USER, TP_STATUS_USER);
    CHECK_EQ(ring[((struct tpacket2_hdr *)(void *)ring)->tp_mac + ETH_HLEN + 49], 'q');
    munmap(ring, (size_t)2 * FRAMES * FRAME);
    close(fd);
}

static void test_bad(void)
{
    struct tpacket_req3 req = {.tp_block_size = BLOCK,
                               .tp_block_nr = 1,
                               .tp_frame_size = FRAME,
                               .tp_frame_nr = 2,
                               .tp_retire_blk_tov = 1};
    int fd = packet_socket(SOCK_RAW, TPACKET_V3);
    uint8_t *ring;

    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &req, sizeof(req)), EINVAL);
    CHECK_EQ(set_ring(fd, TPACKET_V3, PACKET_TX_RING), 0);
    ring = map_rings(fd, (size_t)FRAMES * FRAME);
    ready(TPACKET_V3, ring, make_frame(bytes_of(TPACKET_V3, ring), 'n'));
    ((struct tpacket3_hdr *)(void *)ring)->tp_next_offset = FRAME;
    CHECK_ERRNO(send(fd, NULL, 0, 0), EINVAL);
    CHECK_EQ(status_of(TPACKET_V3, ring), TP_STATUS_WRONG_FORMAT);
    CHECK(strcmp(received(), "") == 0);
    munmap(ring, (size_t)FRAMES * FRAME);
    memset(&req, 0, sizeof(req));
    CHECK_EQ(setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &req, sizeof(req)), 0);
    CHECK(mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
    close(fd);
}

int main(void)
{
    struct sockaddr_ll ll = {
        .sll_family = AF_PACKET, .sll_ifindex = LO, .sll_protocol = htons(TYPE)};
    if (!enter_own_network())
        return CHECK_SKIPPED;
    receiver = socket(AF_PACKET, SOCK_RAW, htons(TYPE));
    CHECK_EQ(bind(receiver, (struct sockaddr *)&ll, sizeof(ll)), 0);
    for (int version = TPACKET_V1; version <= TPACKET_V3; version++)
        test_version(version);
    test_options();
    test_addressed();
    test_both(false);
    test_both(true);
    test_bad();
    return check_done();
}
