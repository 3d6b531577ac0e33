/* Inside seccomp_notify.c and seccomp_listener.c: what lies between who asks and who answers. */
#ifndef SENTRY_KERNEL_SECCOMP_INTERNAL_H
#define SENTRY_KERNEL_SECCOMP_INTERNAL_H

#include "sentry/kernel/seccomp/seccomp.h"
#include "sentry/wait/wait.h"

enum question_state { ASKED, RECEIVED, ANSWERED };

struct question {
    struct list node;
    uint64_t id;
    struct task *task; /* who asks */
    enum question_state state;
    struct seccomp_data data;
    struct seccomp_notif_resp answer;
};

struct seccomp_notify {
    refcount_t refs; /* the filter's, and the file's */
    struct lock lock;
    struct list questions __guarded_by(lock);
    uint64_t last_id __guarded_by(lock);
    bool listening __guarded_by(lock); /* the file is open */
    bool orphan __guarded_by(lock);    /* nobody has the filter any more */
    struct wait_queue queue;
};

/* seccomp_notify.c; notify->lock held. NULL: there is none. */
struct question *seccomp_question_locked(struct seccomp_notify *notify, uint64_t id);
struct question *seccomp_question_in_locked(struct seccomp_notify *notify,
                                            enum question_state state);
void seccomp_answer_locked(struct question *q, const struct seccomp_notif_resp *answer);

#endif
