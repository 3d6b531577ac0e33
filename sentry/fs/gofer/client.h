/*
 * The Sentry's end of the conversation with the gofer (host/gofer_protocol.h). One request at a
 * time. A gofer that breaks the protocol or goes away is never asked again: everything is -EIO.
 */
#ifndef SENTRY_FS_GOFER_CLIENT_H
#define SENTRY_FS_GOFER_CLIENT_H

#include "host/gofer_protocol.h"

struct gofer_client;

/* Takes over `socket`. */
int gofer_client_create(int socket, struct gofer_client **ret);
void gofer_client_destroy(struct gofer_client *client);
/*
 * One round trip. 0 when a valid reply came (reply->head.error may still be set; its target is
 * terminated). ret_fds, room for GOFER_WALK_MAX, gets the descriptors that come along, as many as
 * gofer_reply_passed() says; NULL: they are closed. -ENFILE: the Sentry can have no more.
 */
int gofer_ask(struct gofer_client *client, const struct gofer_request *req,
              struct gofer_reply *ret_reply, int *ret_fds);

#endif
