/*
 * KEYCTL_SESSION_TO_PARENT: a program that has opened a session leaves it to the shell that started
 * it. An identity is changed by its own thread alone, so the parent finds the keyring waiting
 * before it next enters the guest.
 */
#include <errno.h>
#include <linux/keyctl.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/keys/key_internal.h"
#include "sentry/kernel/process.h"

/* keyctl_session_to_parent(): the same ids throughout, nothing set-id, the keyrings the user's own.
 */
static bool may_pass_on(const struct cred *mine, const struct cred *theirs)
{
    if (theirs->uid != mine->euid || theirs->euid != mine->euid || theirs->suid != mine->euid ||
        theirs->gid != mine->egid || theirs->egid != mine->egid || theirs->sgid != mine->egid)
        return false;
    return (!theirs->session_keyring || theirs->session_keyring->uid == mine->euid) &&
           mine->session_keyring->uid == mine->euid;
}

/* kernel->lock and the parent's lock are held. */
static long leave_to(struct task *task, struct process *parent)
{
    struct task *heir;

    if (parent->thread_count != 1)
        return -EPERM;
    heir = list_first(&parent->threads, struct task, process_node);
    if (task->cred->session_keyring == heir->cred->session_keyring)
        return 0;
    if (!may_pass_on(task->cred, heir->cred))
        return -EPERM;
    key_lock();
    key_unref_locked(heir->session_left);
    heir->session_left = key_ref_locked(task->cred->session_keyring);
    key_unlock();
    __atomic_fetch_or(&heir->work, TASK_WORK_KEYS, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&heir->in_guest, __ATOMIC_SEQ_CST) && heir->ctx)
        heir->ctx->ops->ctx_interrupt(heir->ctx);
    return 0;
}

long key_session_to_parent(struct task *task)
{
    struct kernel *kernel = task->kernel;
    struct process *parent;
    long result = key_prepare(task, KEY_SPEC_SESSION_KEYRING, 0);
    struct key_ref ref;

    if (result < 0)
        return result;
    key_lock();
    result = key_lookup_locked(task, KEY_SPEC_SESSION_KEYRING, 0, KEY_LINK, &ref);
    key_unlock();
    if (result < 0)
        return result;
    lock_acquire(&kernel->lock);
    parent = task->process->parent;
    result = -EPERM;
    if (parent) {
        lock_acquire(&parent->lock);
        result = leave_to(task, parent);
        lock_release(&parent->lock);
    }
    lock_release(&kernel->lock);
    return result;
}

static struct key *take(struct task *task)
{
    struct key *keyring;

    lock_acquire(&task->process->lock);
    keyring = task->session_left;
    task->session_left = NULL;
    lock_release(&task->process->lock);
    return keyring;
}

void key_take_session(struct task *task)
{
    struct key *keyring;

    __atomic_fetch_and(&task->work, ~(uint32_t)TASK_WORK_KEYS, __ATOMIC_SEQ_CST);
    keyring = take(task);
    if (keyring)
        key_set_session(task, keyring); /* without memory it keeps the one it has */
}

void key_forget_session(struct task *task)
{
    struct key *keyring = task->session_left;

    if (!keyring)
        return;
    key_lock();
    key_unref_locked(keyring);
    key_unlock();
    task->session_left = NULL;
}
