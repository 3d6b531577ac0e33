/*
 * What a program's file gives to who runs it: set-user-ID and set-group-ID bits, file capabilities
 * (execve(2), capabilities(7)). The result is an identity that execve(2) puts in place when nothing
 * can fail any more.
 */
#ifndef SENTRY_KERNEL_PRIVILEGE_H
#define SENTRY_KERNEL_PRIVILEGE_H

#include "sentry/kernel/cred.h"

struct file;
struct ns_proxy;

struct exec_identity {
    const struct cred *cred;     /* owned reference; NULL before */
    struct ns_proxy *namespaces; /* likewise: it enters the time namespace of its children */
    bool secure;                 /* AT_SECURE: it can more than who called it */
    bool stronger;               /* or is somebody else than before */
    bool undumpable;             /* others may not look into it */
    uint32_t persona_clear;      /* what it does not inherit of personality(2) */
};

/*
 * Of `task`, when it runs `exe` (the ELF image, not a script that named it). -EPERM: the file asks
 * for capabilities that the bounding set forbids and cannot do without; -ENOMEM.
 */
int privilege_of_exec(struct task *task, struct file *exe, struct exec_identity *ret);
void exec_identity_drop(struct exec_identity *identity);

#endif
