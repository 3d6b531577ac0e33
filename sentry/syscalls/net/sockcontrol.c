/*
 * Control messages: cmsg(3), SCM_RIGHTS and SCM_CREDENTIALS of unix(7); net/core/scm.c. What the
 * program hands in is copied once and then walked; every length in it is a lie until checked.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ns/pidns.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/usercopy.h"
#include "sentry/net/rights.h"
#include "sentry/syscalls/file/files.h"
#include "sentry/syscalls/net/sockets.h"

#define SCM_PIDFD_  4 /* SCM_PIDFD: newer than some headers */
#define OVERFLOW_ID 65534

/* ---- in ---------------------------------------------------------------------------------------
 */

static int add_files(struct task *task, const uint8_t *data, size_t size,
                     struct socket_message *msg)
{
    size_t count = size / sizeof(int);

    if (count == 0)
        return 0;
    if (count > NET_RIGHTS_MAX)
        return -EINVAL;
    if (!msg->rights)
        msg->rights = net_rights_create(NET_RIGHTS_MAX);
    if (!msg->rights)
        return -ENOMEM;
    if (msg->rights->count + count > NET_RIGHTS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        struct file *file;
        int fd;

        memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
        file = fd < 0 ? NULL : fdtable_get(task->files, fd);
        if (!file)
            return -EBADF;
        msg->rights->files[msg->rights->count++] = file;
        if (file->ops->not_passed)
            return -EINVAL;
    }
    return 0;
}

/* Of the kernel's ids. */
static bool may_claim(const struct task *task, const struct ucred *claim)
{
    const struct cred *c = task->cred;
    bool uid = claim->uid == c->uid || claim->uid == c->euid || claim->uid == c->suid;
    bool gid = claim->gid == c->gid || claim->gid == c->egid || claim->gid == c->sgid;

    return (claim->pid == task->process->pid ||
            task_has_ns_cap(task, task->process->pid_ns->ns.owner, CAP_SYS_ADMIN)) &&
           (uid || task_has_own_cap(task, CAP_SETUID)) &&
           (gid || task_has_own_cap(task, CAP_SETGID));
}

static int claim_creds(struct task *task, const uint8_t *data, size_t size,
                       struct socket_message *msg)
{
    struct ucred claim;
    struct task *claimed;

    if (size != sizeof(claim))
        return -EINVAL;
    memcpy(&claim, data, sizeof(claim));
    claim.pid = task_global_pid(task, claim.pid);
    claim.uid = cred_kernel_uid(task->cred, claim.uid);
    claim.gid = cred_kernel_gid(task->cred, claim.gid);
    if (!may_claim(task, &claim))
        return -EPERM;
    claimed = task_find(task->kernel, claim.pid);
    if (!claimed)
        return -ESRCH;
    msg->creds = (struct net_creds){
        .known = true,
        .pid = claim.pid,
        .serial = claimed->process->serial,
        .uid = claim.uid,
        .gid = claim.gid,
    };
    task_unref(claimed);
    return claim.uid == UINT32_MAX || claim.gid == UINT32_MAX ? -EINVAL : 0;
}

static int one_control(struct task *task, const struct cmsghdr *head, const uint8_t *data,
                       struct socket_message *msg)
{
    size_t size = head->cmsg_len - CMSG_LEN(0);

    if (head->cmsg_level != SOL_SOCKET)
        return 0;
    switch (head->cmsg_type) {
    case SCM_RIGHTS:
        return add_files(task, data, size, msg);
    case SCM_CREDENTIALS:
        return claim_creds(task, data, size, msg);
    default:
        return -EINVAL;
    }
}

static int parse(struct task *task, const uint8_t *buf, size_t size, struct socket_message *msg)
{
    size_t at = 0;

    while (size - at >= sizeof(struct cmsghdr)) {
        struct cmsghdr head;
        size_t step;
        int err;

        memcpy(&head, buf + at, sizeof(head));
        if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > size - at)
            return -EINVAL;
        err = one_control(task, &head, buf + at + CMSG_LEN(0), msg);
        if (err < 0)
            return err;
        step = CMSG_ALIGN(head.cmsg_len);
        if (step >= size - at)
            break;
        at += step;
    }
    return 0;
}

int control_from_user(struct task *task, struct socket *s, uaddr_t addr, uint64_t size,
                      struct socket_message *msg, uint8_t **ret_buf)
{
    uint8_t *buf;
    int err = 0;

    *ret_buf = NULL;
    if (size == 0)
        return 0;
    if (size > SOCKET_OPTMEM_MAX)
        return -ENOBUFS;
    buf = malloc(size);
    if (!buf)
        return -ENOBUFS;
    if (copy_from_user(task->mm, buf, addr, size) < 0)
        err = -EFAULT;
    else if (s->ops->carries_rights)
        err = parse(task, buf, size, msg);
    if (err < 0) {
        free(buf);
        return err;
    }
    msg->control = buf;
    msg->control_size = size;
    *ret_buf = buf;
    return 0;
}

/* ---- out --------------------------------------------------------------------------------------
 */

/* The program's buffer while it is filled. */
struct control_out {
    struct task *task;
    uaddr_t at;
    uint64_t left;
    struct socket_message *msg;
};

static void advance(struct control_out *out, uint64_t size)
{
    size = MIN(size, out->left);
    out->at += size;
    out->left -= size;
}

/* put_cmsg(): what does not fit is cut, and MSG_CTRUNC says so. */
static void put(struct control_out *out, int level, int type, const void *data, size_t size)
{
    struct cmsghdr head = {.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};

    if (out->left < sizeof(head)) {
        out->msg->out_flags |= MSG_CTRUNC;
        return;
    }
    if (out->left < head.cmsg_len) {
        out->msg->out_flags |= MSG_CTRUNC;
        head.cmsg_len = out->left;
    }
    if (copy_struct_to_user(out->task->mm, out->at, &head) < 0 ||
        copy_to_user(out->task->mm, out->at + sizeof(head), data, head.cmsg_len - sizeof(head)) < 0)
        return;
    advance(out, CMSG_SPACE(size));
}

/* The number is written before the file can be used by others, so that none is left over. */
static bool give_file(struct control_out *out, struct file *file, uaddr_t at, bool cloexec)
{
    int fd = task_install(out->task, file_ref(file), 0, cloexec);

    if (fd < 0)
        return false;
    if (copy_struct_to_user(out->task->mm, at, &fd) == 0)
        return true;
    fdtable_close(out->task->files, fd);
    return false;
}

static void put_files(struct control_out *out, const struct net_rights *rights)
{
    bool cloexec = out->msg->flags & MSG_CMSG_CLOEXEC;
    uint64_t room = out->left <= CMSG_LEN(0) ? 0 : (out->left - CMSG_LEN(0)) / sizeof(int);
    struct cmsghdr head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    uint32_t i = 0;

    while (i < rights->count && i < room &&
           give_file(out, rights->files[i], out->at + CMSG_LEN(i * sizeof(int)), cloexec))
        i++;
    if (i < rights->count)
        out->msg->out_flags |= MSG_CTRUNC;
    if (i == 0)
        return;
    head.cmsg_len = CMSG_LEN(i * sizeof(int));
    if (copy_struct_to_user(out->task->mm, out->at, &head) == 0)
        advance(out, CMSG_SPACE(i * sizeof(int)));
}

static void put_creds(struct control_out *out, const struct net_creds *creds)
{
    struct ucred cred = {.uid = OVERFLOW_ID, .gid = OVERFLOW_ID};

    if (creds->known)
        cred = (struct ucred){
            .pid = task_shown_pid(out->task, creds->pid),
            .uid = cred_shown_uid(out->task->cred, creds->uid),
            .gid = cred_shown_gid(out->task->cred, creds->gid),
        };
    put(out, SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred));
}

static void put_pidfd(struct control_out *out, const struct net_creds *creds)
{
    struct task *task = out->task, *leader;
    struct file *file;
    int fd = -ESRCH;

    if (out->left < CMSG_LEN(sizeof(fd))) {
        out->msg->out_flags |= MSG_CTRUNC;
        return;
    }
    leader = creds->known ? task_find(task->kernel, creds->pid) : NULL;
    if (leader && leader->process->serial == creds->serial) {
        fd = pidfd_create(leader, 0, &file);
        if (fd == 0)
            fd = task_install(task, file, 0, true);
    }
    task_unref(leader);
    put(out, SOL_SOCKET, SCM_PIDFD_, &fd, sizeof(fd));
}

static void put_all(struct control_out *out, struct socket *s)
{
    struct socket_control *control = out->msg->control_out;

    for (uint32_t at = 0; control && at < control->size;) {
        struct cmsghdr head;

        memcpy(&head, control->bytes + at, sizeof(head));
        put(out, head.cmsg_level, head.cmsg_type, control->bytes + at + CMSG_LEN(0),
            head.cmsg_len - CMSG_LEN(0));
        at += (uint32_t)CMSG_ALIGN(head.cmsg_len);
    }
    if (s->opt.pass_cred)
        put_creds(out, &out->msg->creds);
    if (out->msg->rights)
        put_files(out, out->msg->rights);
    if (s->opt.pass_pidfd)
        put_pidfd(out, &out->msg->creds);
}

void control_to_user(struct task *task, struct socket *s, struct socket_message *msg,
                     struct guest_msghdr *hdr)
{
    struct control_out out = {task, hdr->control, hdr->control_size, msg};

    if (!hdr->control) {
        if (s->opt.pass_cred || s->opt.pass_pidfd || msg->rights ||
            (msg->control_out && msg->control_out->size > 0))
            msg->out_flags |= MSG_CTRUNC;
        return;
    }
    put_all(&out, s);
    hdr->control_size = out.at - hdr->control;
}
