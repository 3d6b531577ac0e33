/* IP_MSFILTER and MCAST_MSFILTER: from whom a member of a group hears, the whole list at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/inet/internal.h"

#define SIZE_V4  offsetof(struct ip_msfilter, imsf_slist)
#define SIZE_ANY offsetof(struct group_filter, gf_slist)

/* The fixed part of either structure. */
struct filter {
    struct in6_addr group;
    uint32_t mode, count;
    size_t fixed, each; /* bytes: before the sources, and of each */
    int interface;
};

static int read_v4(const struct inet_socket *s, const void *value, size_t size, struct filter *ret)
{
    struct ip_msfilter f;

    if (size < SIZE_V4)
        return -EINVAL;
    memcpy(&f, value, SIZE_V4);
    *ret = (struct filter){.group = addr_v4(ntohl(f.imsf_multiaddr.s_addr)),
                           .mode = f.imsf_fmode,
                           .count = f.imsf_numsrc,
                           .fixed = SIZE_V4,
                           .each = sizeof(struct in_addr)};
    if (!addr_is_multicast(&ret->group))
        return -EINVAL;
    return group_interface(s, &ret->group, 0, ntohl(f.imsf_interface.s_addr), &ret->interface);
}

static int read_any(const struct inet_socket *s, int level, const void *value, size_t size,
                    struct filter *ret)
{
    struct group_filter f;

    if (size < SIZE_ANY)
        return -EINVAL;
    memcpy(&f, value, SIZE_ANY);
    *ret = (struct filter){.mode = f.gf_fmode,
                           .count = f.gf_numsrc,
                           .fixed = SIZE_ANY,
                           .each = sizeof(struct sockaddr_storage)};
    if (!group_read_address(level, &f.gf_group, &ret->group) || !addr_is_multicast(&ret->group))
        return -EINVAL;
    return group_interface(s, &ret->group, (int)f.gf_interface, 0, &ret->interface);
}

static int read_filter(const struct inet_socket *s, int level, int name, const void *value,
                       size_t size, struct filter *ret)
{
    return name == IP_MSFILTER && level == IPPROTO_IP ? read_v4(s, value, size, ret)
                                                      : read_any(s, level, value, size, ret);
}

static bool read_source(int level, const struct filter *f, const uint8_t *at, struct in6_addr *ret)
{
    struct sockaddr_storage ss;
    struct in_addr v4;

    if (f->each == sizeof(v4)) {
        memcpy(&v4, at, sizeof(v4));
        *ret = addr_v4(ntohl(v4.s_addr));
        return true;
    }
    memcpy(&ss, at, sizeof(ss));
    return group_read_address(level, &ss, ret);
}

int group_filter_set(struct inet_socket *s, int level, int name, const void *value, size_t size)
{
    uint32_t max = level == IPPROTO_IP ? GROUP_SOURCES_MAX_V4 : GROUP_SOURCES_MAX_V6;
    struct in6_addr *sources;
    struct filter f;
    int err = read_filter(s, level, name, value, size, &f);

    if (err < 0)
        return err;
    if (f.count > max)
        return -ENOBUFS;
    if (f.fixed + f.count * f.each > size)
        return -EINVAL;
    if (f.mode != MCAST_INCLUDE && f.mode != MCAST_EXCLUDE)
        return -EINVAL;
    sources = calloc(MAX(f.count, 1U), sizeof(*sources));
    if (!sources)
        return -ENOBUFS;
    for (uint32_t i = 0; i < f.count; i++)
        if (!read_source(level, &f, (const uint8_t *)value + f.fixed + i * f.each, &sources[i])) {
            free(sources);
            return -EADDRNOTAVAIL;
        }
    return groups_set_filter(s, &f.group, f.interface, (int)f.mode, sources, f.count);
}

static void write_source(int level, const struct filter *f, const struct in6_addr *a, uint8_t *at)
{
    struct sockaddr_storage ss = {0};
    void *any = &ss;

    if (level == IPPROTO_IP) {
        struct sockaddr_in *in = any;

        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(addr_get_v4(a));
        if (f->each == sizeof(in->sin_addr))
            any = &in->sin_addr;
    } else {
        struct sockaddr_in6 *in6 = any;

        in6->sin6_family = AF_INET6;
        in6->sin6_addr = *a;
    }
    memcpy(at, any, f->each);
}

int groups_getsockopt(struct inet_socket *s, int level, int name, void *value, size_t *size)
{
    struct in6_addr sources[GROUP_SOURCES_MAX];
    uint32_t asked, count = 0;
    uint8_t *bytes = value;
    struct filter f;
    int mode, err;

    if (name != MCAST_MSFILTER && !(level == IPPROTO_IP && name == IP_MSFILTER))
        return -ENOPROTOOPT;
    err = read_filter(s, level, name, value, *size, &f);
    if (!err && f.count > (*size - f.fixed) / f.each)
        err = -EINVAL;
    if (!err)
        err = groups_get_filter(s, &f.group, f.interface, &mode, sources, &count);
    if (err < 0)
        return err;
    asked = MIN(f.count, count);
    for (uint32_t i = 0; i < asked; i++)
        write_source(level, &f, &sources[i], bytes + f.fixed + i * f.each);
    memcpy(bytes + f.fixed - 2 * sizeof(uint32_t), &mode, sizeof(mode));
    memcpy(bytes + f.fixed - sizeof(uint32_t), &count, sizeof(count));
    *size = f.fixed + asked * f.each;
    return 0;
}
