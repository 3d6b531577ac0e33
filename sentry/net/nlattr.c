#include "sentry/net/nlattr.h"

#include <string.h>

const void *nlattr_find(const struct nlmsghdr *m, size_t fixed, uint16_t type, size_t *ret_size)
{
    const uint8_t *base = (const uint8_t *)m + NLMSG_HDRLEN;
    size_t size = m->nlmsg_len - NLMSG_HDRLEN, at = NLMSG_ALIGN(fixed);

    while (at + NLA_HDRLEN <= size) {
        struct nlattr a;

        memcpy(&a, base + at, sizeof(a));
        if (a.nla_len < NLA_HDRLEN || a.nla_len > size - at)
            return NULL;
        if ((a.nla_type & NLA_TYPE_MASK) == type) {
            *ret_size = a.nla_len - NLA_HDRLEN;
            return base + at + NLA_HDRLEN;
        }
        at += NLA_ALIGN(a.nla_len);
    }
    return NULL;
}

bool nlattr_put(struct nlmsghdr *m, size_t room, uint16_t type, const void *data, size_t size)
{
    const struct nlattr a = {(uint16_t)(NLA_HDRLEN + size), type};
    size_t at = NLMSG_ALIGN(m->nlmsg_len);

    if (NLMSG_ALIGN(at + NLA_HDRLEN + size) > room)
        return false;
    memcpy((uint8_t *)m + at, &a, sizeof(a));
    memcpy((uint8_t *)m + at + NLA_HDRLEN, data, size);
    m->nlmsg_len = (uint32_t)NLMSG_ALIGN(at + a.nla_len);
    return true;
}
