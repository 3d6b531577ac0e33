/* Multicast groups on the loopback interface, filters of sources, and a loopback that is down. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "inet.h"

#define GROUP 0xefff0102u /* 239.255.1.2 */

static int receiver(bool any_port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    static int port;

    CHECK_EQ(set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQ(bind_to(fd, INADDR_ANY, any_port ? 0 : port), 0);
    port = port_of(fd);
    return fd;
}

static int sender(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct in_addr lo = {htonl(INADDR_LOOPBACK)};

    CHECK_EQ(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo)), 0);
    return fd;
}

/* Does what is sent to the group come? */
static bool hears(int from, int to)
{
    struct sockaddr_in name = v4(GROUP, port_of(to));
    struct pollfd p = {to, POLLIN, 0};
    char byte;

    CHECK_EQ(sendto(from, "x", 1, 0, (struct sockaddr *)&name, sizeof(name)), 1);
    if (poll(&p, 1, 30) == 0)
        return false;
    CHECK_EQ(recv(to, &byte, 1, 0), 1);
    return true;
}

static struct group_req any_request(int interface)
{
    struct group_req req = {.gr_interface = (uint32_t)interface};
    struct sockaddr_in group = v4(GROUP, 0);

    memcpy(&req.gr_group, &group, sizeof(group));
    return req;
}

static struct group_source_req source_request(uint32_t source)
{
    struct group_source_req req = {.gsr_interface = 1};
    struct sockaddr_in group = v4(GROUP, 0), from = v4(source, 0);

    memcpy(&req.gsr_group, &group, sizeof(group));
    memcpy(&req.gsr_source, &from, sizeof(from));
    return req;
}

static int set(int fd, int name, const void *value, size_t size)
{
    return setsockopt(fd, IPPROTO_IP, name, value, (socklen_t)size);
}

static void test_join(void)
{
    struct group_req req = any_request(1), none = any_request(77);
    int fd = receiver(true), from = sender(), other, stream = tcp(0);

    CHECK_ERRNO(set(fd, MCAST_LEAVE_GROUP, &req, sizeof(req)), EADDRNOTAVAIL);
    CHECK_EQ(hears(from, fd), false);
    CHECK_EQ(set(fd, MCAST_JOIN_GROUP, &req, sizeof(req)), 0);
    CHECK_ERRNO(set(fd, MCAST_JOIN_GROUP, &req, sizeof(req)), EADDRINUSE);
    CHECK_ERRNO(set(fd, MCAST_JOIN_GROUP, &none, sizeof(none)), ENODEV);
    CHECK_ERRNO(set(fd, MCAST_JOIN_GROUP, &req, sizeof(req) - 1), EINVAL);
    CHECK_EQ(hears(from, fd), true);
    /* Who has joined nothing hears what others on the machine do, unless told not to. */
    other = receiver(false);
    CHECK_EQ(hears(from, other), true);
    CHECK_EQ(set_option(other, IPPROTO_IP, IP_MULTICAST_ALL, 0), 0);
    CHECK_EQ(hears(from, other), false);
    /* On lo, what goes out comes back: the option is about other devices. */
    while (recv(fd, &req, sizeof(req), MSG_DONTWAIT) > 0)
        continue;
    req = any_request(1);
    CHECK_EQ(set_option(from, IPPROTO_IP, IP_MULTICAST_LOOP, 0), 0);
    note("without IP_MULTICAST_LOOP: %d", hears(from, fd));
    CHECK_EQ(set(fd, MCAST_LEAVE_GROUP, &req, sizeof(req)), 0);
    CHECK_EQ(hears(from, fd), false);
    /* A stream may be in a group, and what it accepts is in none. */
    CHECK_EQ(set(stream, MCAST_JOIN_GROUP, &req, sizeof(req)), 0);
    CHECK_ERRNO(set(stream, IP_ADD_MEMBERSHIP, &req, sizeof(req)), EPROTO);
    close(fd);
    close(other);
    close(from);
    close(stream);
}

static void test_accepted(void)
{
    struct group_req req = any_request(1);
    int l = listener(1), fd[2] = {tcp(0)};

    CHECK_EQ(set(l, MCAST_JOIN_GROUP, &req, sizeof(req)), 0);
    CHECK_EQ(connect_to(fd[0], INADDR_LOOPBACK, port_of(l)), 0);
    fd[1] = accept(l, NULL, NULL);
    CHECK_ERRNO(set(fd[1], MCAST_LEAVE_GROUP, &req, sizeof(req)), EADDRNOTAVAIL);
    CHECK_EQ(set(l, MCAST_LEAVE_GROUP, &req, sizeof(req)), 0);
    close_both(fd);
    close(l);
}

static void test_sources(void)
{
    struct group_source_req lo = source_request(INADDR_LOOPBACK), far = source_request(0x0a000001);
    struct group_req req = any_request(1);
    int fd = receiver(true), from = sender();

    CHECK_ERRNO(set(fd, MCAST_BLOCK_SOURCE, &lo, sizeof(lo)), EINVAL);
    CHECK_EQ(set(fd, MCAST_JOIN_SOURCE_GROUP, &far, sizeof(far)), 0);
    CHECK_EQ(hears(from, fd), false);
    CHECK_EQ(set(fd, MCAST_JOIN_SOURCE_GROUP, &lo, sizeof(lo)), 0);
    CHECK_EQ(hears(from, fd), true);
    CHECK_ERRNO(set(fd, MCAST_JOIN_SOURCE_GROUP, &lo, sizeof(lo)), EADDRNOTAVAIL);
    CHECK_ERRNO(set(fd, MCAST_BLOCK_SOURCE, &lo, sizeof(lo)), EINVAL); /* the other kind of list */
    CHECK_EQ(set(fd, MCAST_LEAVE_SOURCE_GROUP, &lo, sizeof(lo)), 0);
    CHECK_ERRNO(set(fd, MCAST_LEAVE_SOURCE_GROUP, &lo, sizeof(lo)), EADDRNOTAVAIL);
    CHECK_EQ(set(fd, MCAST_LEAVE_SOURCE_GROUP, &far, sizeof(far)), 0);
    CHECK_ERRNO(set(fd, MCAST_LEAVE_GROUP, &req, sizeof(req)), EADDRNOTAVAIL);
    CHECK_EQ(set(fd, MCAST_JOIN_GROUP, &req, sizeof(req)), 0);
    CHECK_EQ(set(fd, MCAST_BLOCK_SOURCE, &lo, sizeof(lo)), 0);
    CHECK_EQ(hears(from, fd), false);
    CHECK_EQ(set(fd, MCAST_UNBLOCK_SOURCE, &lo, sizeof(lo)), 0);
    CHECK_EQ(hears(from, fd), true);
    close(fd);
    close(from);
}

/* With as many sources as `count` says. */
static socklen_t filter_of(struct ip_msfilter *f, uint32_t mode, uint32_t count)
{
    memset(f, 0, IP_MSFILTER_SIZE(20));
    f->imsf_multiaddr.s_addr = htonl(GROUP);
    f->imsf_interface.s_addr = htonl(INADDR_LOOPBACK);
    f->imsf_fmode = mode;
    f->imsf_numsrc = count;
    for (uint32_t i = 0; i < count; i++)
        (&f->imsf_slist[0])[i].s_addr = htonl(INADDR_LOOPBACK + i);
    return (socklen_t)IP_MSFILTER_SIZE(count);
}

static void test_filters(void)
{
    struct ip_msfilter *f = malloc(IP_MSFILTER_SIZE(20));
    struct group_req req = any_request(1);
    int fd = receiver(true), from = sender();
    socklen_t size = filter_of(f, MCAST_INCLUDE, 2);

    CHECK_ERRNO(set(fd, IP_MSFILTER, f, size), EINVAL); /* no member */
    CHECK_EQ(set(fd, MCAST_JOIN_GROUP, &req, sizeof(req)), 0);
    CHECK_EQ(set(fd, IP_MSFILTER, f, size), 0);
    CHECK_EQ(hears(from, fd), true);
    size = filter_of(f, MCAST_EXCLUDE, 3);
    CHECK_EQ(set(fd, IP_MSFILTER, f, size), 0);
    CHECK_EQ(hears(from, fd), false);
    CHECK_ERRNO(set(fd, IP_MSFILTER, f, size - 1), EINVAL);
    CHECK_ERRNO(set(fd, IP_MSFILTER, f, 15), EINVAL);
    size = filter_of(f, 7, 3);
    CHECK_ERRNO(set(fd, IP_MSFILTER, f, size), EINVAL);
    size = filter_of(f, MCAST_EXCLUDE, 11);
    CHECK_ERRNO(set(fd, IP_MSFILTER, f, size), ENOBUFS);
    size = filter_of(f, 0, 2); /* ask for two of the three */
    CHECK_EQ(getsockopt(fd, IPPROTO_IP, IP_MSFILTER, f, &size), 0);
    CHECK_EQ(f->imsf_fmode, MCAST_EXCLUDE);
    CHECK_EQ(f->imsf_numsrc, 3);
    CHECK_EQ(size, IP_MSFILTER_SIZE(2));
    CHECK_EQ(ntohl(f->imsf_slist[0].s_addr), INADDR_LOOPBACK);
    size = filter_of(f, MCAST_INCLUDE, 0);
    CHECK_EQ(set(fd, IP_MSFILTER, f, size), 0); /* from nobody: it leaves */
    CHECK_ERRNO(set(fd, MCAST_LEAVE_GROUP, &req, sizeof(req)), EADDRNOTAVAIL);
    close(fd);
    close(from);
    free(f);
}

static void test_v6(void)
{
    struct group_req req = {.gr_interface = 1};
    struct sockaddr_in6 group = {.sin6_family = AF_INET6, .sin6_port = 0};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);

    inet_pton(AF_INET6, "ff01::1234", &group.sin6_addr);
    memcpy(&req.gr_group, &group, sizeof(group));
    group.sin6_addr = in6addr_any;
    CHECK_EQ(bind(fd, (struct sockaddr *)&group, sizeof(group)), 0);
    CHECK_EQ(setsockopt(fd, IPPROTO_IPV6, MCAST_JOIN_GROUP, &req, sizeof(req)), 0);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IPV6, MCAST_JOIN_GROUP, &req, sizeof(req)), EADDRINUSE);
    CHECK_EQ(setsockopt(fd, IPPROTO_IPV6, MCAST_LEAVE_GROUP, &req, sizeof(req)), 0);
    req.gr_group.ss_family = AF_INET;
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IPV6, MCAST_JOIN_GROUP, &req, sizeof(req)), EADDRNOTAVAIL);
    close(fd);
}

/* ---- a namespace whose lo is down -------------------------------------------------------------
 */

static int flags_of_lo(int fd)
{
    struct ifreq r = {.ifr_name = "lo"};

    CHECK_EQ(ioctl(fd, SIOCGIFFLAGS, &r), 0);
    return r.ifr_flags;
}

static int raise_lo(int fd, bool up)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = up ? IFF_UP : 0};

    return ioctl(fd, SIOCSIFFLAGS, &r);
}

static int bind_to_v6(void)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0), result;

    result = bind(fd, (struct sockaddr *)&name, sizeof(name));
    close(fd);
    return result;
}

static void in_namespace(void)
{
    int fd = tcp(0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq r = {.ifr_name = "lo", .ifr_mtu = 1500};
    struct ifconf conf = {.ifc_len = sizeof(r), .ifc_req = &r};

    CHECK_EQ(flags_of_lo(fd), IFF_LOOPBACK);
    CHECK_EQ(ioctl(fd, SIOCGIFCONF, &conf), 0);
    CHECK_EQ(conf.ifc_len, 0);
    CHECK_ERRNO(ioctl(fd, SIOCGIFADDR, &r), EADDRNOTAVAIL);
    CHECK_ERRNO(bind_to_v6(), EADDRNOTAVAIL);
    CHECK_ERRNO(connect_to(fd, INADDR_LOOPBACK, 5), ENETUNREACH);
    CHECK_ERRNO(connect_to(udp, INADDR_LOOPBACK, 5), ENETUNREACH);
    CHECK_ERRNO(bind_to(udp, INADDR_ANY, 0), EINVAL); /* it got a port before it looked for a way */
    CHECK_EQ(bind_to(fd, INADDR_ANY, 80), 0); /* the namespace is ours: so are its low ports */
    CHECK_EQ(raise_lo(fd, true), 0);
    CHECK_EQ(flags_of_lo(fd), IFF_LOOPBACK | IFF_UP | IFF_RUNNING);
    CHECK_EQ(connect_to(udp, INADDR_LOOPBACK, 5), 0);
    conf.ifc_len = sizeof(r);
    CHECK_EQ(ioctl(fd, SIOCGIFCONF, &conf), 0);
    CHECK_EQ(conf.ifc_len, sizeof(r));
    r = (struct ifreq){.ifr_name = "lo", .ifr_mtu = 1500};
    CHECK_EQ(ioctl(fd, SIOCSIFMTU, &r), 0);
    r.ifr_mtu = 0;
    CHECK_EQ(ioctl(fd, SIOCGIFMTU, &r), 0);
    CHECK_EQ(r.ifr_mtu, 1500);
    CHECK_EQ(option(udp, IPPROTO_IP, IP_MTU), 1500);
    CHECK_EQ(raise_lo(fd, false), 0);
    CHECK_EQ(flags_of_lo(fd), IFF_LOOPBACK);
    CHECK_ERRNO(bind_to_v6(), EADDRNOTAVAIL);
    CHECK_EQ(bind_to(tcp(0), INADDR_LOOPBACK, 0), 0);
    conf.ifc_len = sizeof(r);
    CHECK_EQ(ioctl(fd, SIOCGIFCONF, &conf), 0);
    CHECK_EQ(conf.ifc_len, sizeof(r)); /* its address stays */
}

static void test_down(void)
{
    int before = tcp(0), status;
    pid_t pid;

    pid = fork();
    if (pid == 0) {
        CHECK_EQ(unshare(CLONE_NEWUSER | CLONE_NEWNET), 0);
        in_namespace();
        CHECK_ERRNO(raise_lo(before, false), EPERM); /* another's */
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(flags_of_lo(before), IFF_LOOPBACK | IFF_UP | IFF_RUNNING);
    close(before);
}

int main(void)
{
    test_join();
    test_accepted();
    test_sources();
    test_filters();
    test_v6();
    test_down();
    return check_done();
}
