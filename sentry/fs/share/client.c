/* The Sentry's end of the conversation with a share's gofer. One that breaks the protocol or goes
 * away is never asked again: everything is -EIO. */
#include <errno.h>

#include "base/log.h"
#include "host/io.h"
#include "host/message.h"
#include "sentry/fs/share/internal.h"

/* Is a descriptor what is asked for? */
static bool donates(const struct share_request_head *head)
{
    return head->op == SHARE_OPEN || head->op == SHARE_CONNECT;
}

static int exchange(struct share *fs, int *ret_fd) __must_hold(fs->lock)
{
    struct share_request *req = &fs->request;
    struct iovec iov = {req, sizeof(req->head) + req->head.name_size + req->head.data_size};
    ssize_t n;
    int err = host_send_message(fs->socket, &iov, 1, -1);

    if (err < 0)
        return err;
    n = host_receive_message(fs->socket, &fs->reply, sizeof(fs->reply), ret_fd);
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (share_reply_valid(&fs->reply, (size_t)n) &&
        (donates(&req->head) && fs->reply.head.error == 0) == (*ret_fd >= 0))
        return 0;
    if (*ret_fd >= 0)
        host_close(*ret_fd);
    return -EPROTO;
}

static void take(const struct share_reply *reply, int fd, struct share_answer *ret)
{
    ret->handle = reply->head.handle;
    ret->size = reply->head.size;
    ret->stat = reply->head.stat;
    ret->acls = reply->head.acls;
    ret->more = (struct share_more){
        .has_birth = reply->head.has_birth,
        .birth = {(time_t)reply->head.birth_sec, (long)MIN(reply->head.birth_nsec, 999999999U)},
        .attributes = reply->head.attributes,
        .attributes_known = reply->head.attributes_known,
    };
    ret->data_size = ret->data ? MIN(reply->head.data_size, ret->room) : 0;
    if (ret->data_size > 0)
        memcpy(ret->data, reply->data, ret->data_size);
    ret->fd = fd;
}

int share_ask(struct share *fs, const struct share_request_head *head, struct name name,
              const void *data, size_t data_size, struct share_answer *ret)
{
    int fd = -1, err = -EIO;

    if (name.size > SHARE_NAME_MAX)
        return -ENAMETOOLONG;
    if (data_size > SHARE_DATA_MAX)
        return -E2BIG;
    lock_acquire(&fs->lock);
    fs->request.head = *head;
    fs->request.head.name_size = (uint32_t)name.size;
    fs->request.head.data_size = (uint32_t)data_size;
    if (name.size > 0)
        memcpy(fs->request.bytes, name.text, name.size);
    if (data_size > 0)
        memcpy(fs->request.bytes + name.size, data, data_size);
    if (fs->socket >= 0) {
        err = exchange(fs, &fd);
        if (err == -EMFILE) {
            err = -ENFILE; /* the Sentry's own limit, not the guest's */
        } else if (err < 0) {
            log_error("share: conversation failed (%d): no more of its files", -err);
            host_close(fs->socket);
            fs->socket = -1;
            err = -EIO;
        } else {
            err = fs->reply.head.error;
            take(&fs->reply, fd, ret);
        }
    }
    lock_release(&fs->lock);
    return err;
}
