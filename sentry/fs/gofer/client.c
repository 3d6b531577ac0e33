#include "sentry/fs/gofer/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static void close_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        host_close(fds[i]);
}

static int round_trip(int socket, const struct gofer_request *req, struct gofer_reply *ret_reply,
                      int *ret_fds, int *ret_count)
{
    enum gofer_op op = (enum gofer_op)req->head.op;
    struct iovec iov[2] = {
        {(void *)&req->head, sizeof(req->head)},
        {(void *)req->path, req->head.path_size},
    };
    int count = 0, err;
    ssize_t n;

    err = host_send_message(socket, iov, ARRAY_COUNT(iov), -1);
    if (err < 0)
        return err;
    n = host_receive_passing(socket, ret_reply, sizeof(*ret_reply), GOFER_WALK_MAX, ret_fds,
                             &count);
    if (n <= 0)
        return n < 0 ? (int)n : -EPIPE;
    if (!gofer_reply_valid(ret_reply, (size_t)n, op) ||
        gofer_reply_passed(ret_reply, op, req->head.mode) != (uint32_t)count) {
        close_all(ret_fds, count);
        return -EPROTO;
    }
    *ret_count = count;
    return 0;
}

int gofer_ask(struct gofer_client *client, const struct gofer_request *req,
              struct gofer_reply *ret_reply, int *ret_fds)
{
    int fds[GOFER_WALK_MAX], count = 0, err;

    lock_acquire(&client->lock);
    if (client->socket < 0) {
        err = -EIO;
    } else {
        err = round_trip(client->socket, req, ret_reply, fds, &count);
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
    if (ret_fds)
        memcpy(ret_fds, fds, (size_t)count * sizeof(int));
    else
        close_all(fds, count);
    return 0;
}
