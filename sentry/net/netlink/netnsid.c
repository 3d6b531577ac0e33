/*
 * RTM_GETNSID: by which numbers a network namespace knows others (rtnetlink(7), ip-netns(8)). None
 * knows any: numbers are given out by RTM_NEWNSID, which there is not, and for devices that reach
 * from one into the other. So each that is asked for is not assigned.
 */
#include <errno.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "sentry/net/caller.h"
#include "sentry/net/netlink/internal.h"
#include "sentry/net/nlattr.h"

/* rtnl_net_getid(): of which other one? */
static int find_peer(const struct nlmsghdr *question)
{
    static const struct {
        uint16_t type;
        enum net_reference by;
    } kinds[] = {{NETNSA_PID, NET_BY_PID}, {NETNSA_FD, NET_BY_FD}};
    uint32_t number;
    const void *at;
    size_t size;

    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        at = nlattr_find(question, sizeof(struct rtgenmsg), kinds[i].type, &size);
        if (!at)
            continue;
        if (size < sizeof(number))
            return -ERANGE;
        memcpy(&number, at, sizeof(number));
        return net_check_reference(number, kinds[i].by);
    }
    at = nlattr_find(question, sizeof(struct rtgenmsg), NETNSA_NSID, &size);
    return at ? -ENOENT : -EINVAL;
}

int netnsid_answer(struct netlink_reply *r)
{
    int err = find_peer(r->question);
    struct rtgenmsg *head;

    if (err < 0)
        return err;
    head = reply_begin(r, RTM_NEWNSID, sizeof(*head));
    if (!head)
        return r->error;
    reply_attribute_u32(r, NETNSA_NSID, (uint32_t)NETNSA_NSID_NOT_ASSIGNED);
    return r->error;
}
