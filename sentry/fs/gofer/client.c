#include "sentry/fs/gofer/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/log.h"
#include "host/io.h"
#include "host/message.h"

struct gofer_client {
    struct lock lock;
    int socket __guarded_by(lock); /* -1 once the conversation has failed */
};

int gofer_client_create(int socket, struct gofer_client **ret)
{
    struct gofer_client *client = calloc(1, sizeof(*client));

    if (!client)
        return -ENOMEM;
    lock_init(&client->lock);
    client->socket = socket;
    *ret = client;
    return 0;
}

void gofer_client_destroy(struct gofer_client *client)
{
    if (client->socket >= 0)
        host_close(client->socket);
    lock_destroy(&client->lock);
    free(client);
}

static int round_trip(int socket, const struct gofer_request *req, struct gofer_reply *ret_reply,
                      int *ret_fd)
{
    struct iovec iov[2] = {
        {(void *)&req->head, sizeof(req->head)},
        {(void *)req->path, req->head.path_size},
    };
    ssize_t n;
    int err;

    err = host_send_message(socket, iov, ARRAY_COUNT(iov), -1);
    if (err < 0)
        return err;
    n = host_receive_message(socket, ret_reply, sizeof(*ret_reply), ret_fd);
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (!gofer_reply_valid(ret_reply, (size_t)n, (enum gofer_op)req->head.op) ||
        (req->head.op == GOFER_OPEN && ret_reply->head.error == 0) != (*ret_fd >= 0)) {
        if (*ret_fd >= 0)
            host_close(*ret_fd);
        return -EPROTO;
    }
    return 0;
}

int gofer_ask(struct gofer_client *client, const struct gofer_request *req,
              struct gofer_reply *ret_reply, int *ret_fd)
{
    int fd = -1, err;

    lock_acquire(&client->lock);
    if (client->socket < 0) {
        err = -EIO;
    } else {
        err = round_trip(client->socket, req, ret_reply, &fd);
        if (err == -EMFILE) {
            err = -ENFILE; /* the Sentry's own limit, not the guest's */
        } else if (err < 0) {
            log_error("gofer: conversation failed (%d): no more host files", -err);
            host_close(client->socket);
            client->socket = -1;
            err = -EIO;
        }
    }
    lock_release(&client->lock);
    if (err < 0)
        return err;
    if (ret_fd)
        *ret_fd = fd;
    else if (fd >= 0)
        host_close(fd);
    return 0;
}
