/* splice(2) and tee(2) between open files, for whoever has looked them up another way. */
#ifndef SENTRY_SYSCALLS_SPLICE_H
#define SENTRY_SYSCALLS_SPLICE_H

#include "base/compiler.h"

struct file;
struct task;

struct splice_request {
    struct file *in, *out;     /* borrowed */
    int64_t *in_pos, *out_pos; /* NULL: the file's own; moved on */
    size_t size;
    unsigned flags; /* SPLICE_F_* */
    bool keep;      /* tee(2) */
};
/* Waits. Bytes, -errno as splice(2), or a restart code. */
ssize_t task_splice(struct task *task, const struct splice_request *request);

#endif
