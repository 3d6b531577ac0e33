/* Files on namespaces: what opening /proc/PID/ns/NAME gives. They keep their namespace. */
#ifndef SENTRY_KERNEL_NSFILE_H
#define SENTRY_KERNEL_NSFILE_H

#include "sentry/kernel/ns/ns.h"

struct file;

/* An open file on a namespace, of which it takes a reference. -ENOMEM. */
int ns_file_create(struct ns *ns, struct file **ret);
/* Borrowed from the file; NULL: it is no such file. */
struct ns *ns_of_file(struct file *file);

#endif
