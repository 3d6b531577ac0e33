/* One question to the share of gofer_make.h. */
#ifndef TESTS_UNIT_SHARE_MAKE_H
#define TESTS_UNIT_SHARE_MAKE_H

#include "host/message.h"
#include "host/share_protocol.h"
#include "tests/unit/gofer_make.h"

static struct share_reply reply;

/* Sends as it is; the reply's error, and the donated descriptor or -1 in ret_fd; NULL: none is
 * expected. */
static inline int ask(struct share_request_head head, const char *name, const char *data,
                      int *ret_fd)
{
    struct iovec iov[3] = {
        {&head, sizeof(head)}, {(void *)name, strlen(name)}, {(void *)data, strlen(data)}};
    int passed = -1;
    ssize_t n;

    head.name_size = (uint32_t)strlen(name);
    head.data_size = (uint32_t)strlen(data);
    cr_assert_eq(host_send_message(to_server, iov, 3, -1), 0);
    n = host_receive_message(to_server, &reply, sizeof(reply), &passed);
    cr_assert_gt(n, 0, "the share is gone");
    cr_assert(share_reply_valid(&reply, (size_t)n));
    if (ret_fd)
        *ret_fd = passed;
    else
        cr_assert_eq(passed, -1);
    return reply.head.error;
}

#endif
