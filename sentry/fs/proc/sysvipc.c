/* /proc/sysvipc: the System V objects of the caller's namespace, as their ipc/ files print them. */
#include "sentry/fs/proc/internal.h"
#include "sentry/kernel/ipc/ipc.h"
#include "sentry/kernel/ipc/msg.h"
#include "sentry/kernel/ipc/sem.h"
#include "sentry/kernel/ipc/shm.h"

static ssize_t shm_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = task_current();
    struct shminfo limits;
    int max = shm_get_limits(task, &limits);

    proc_printf(&text,
                "       key      shmid perms                  size  cpid  lpid nattch   uid   "
                "gid  cuid  cgid      atime      dtime      ctime                   rss"
                "                  swap\n");
    for (int slot = 0; slot <= max; slot++) {
        uint64_t resident;
        struct shmid_ds ds;
        int id = shm_stat(task, slot, IPC_BY_SLOT_ANY, &ds, &resident);

        if (id < 0)
            continue;
        proc_printf(&text,
                    "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10ld %10ld %10ld %21lu "
                    "%21lu\n",
                    ds.shm_perm.__key, id, ds.shm_perm.mode, ds.shm_segsz, ds.shm_cpid, ds.shm_lpid,
                    ds.shm_nattch, ds.shm_perm.uid, ds.shm_perm.gid, ds.shm_perm.cuid,
                    ds.shm_perm.cgid, ds.shm_atime, ds.shm_dtime, ds.shm_ctime, resident, 0UL);
    }
    return (ssize_t)text.length;
}

static ssize_t sem_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = task_current();
    struct seminfo info;
    int max = sem_get_info(task, true, &info);

    proc_printf(&text, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime "
                       "     ctime\n");
    for (int slot = 0; slot <= max; slot++) {
        struct semid_ds ds;
        int id = sem_stat(task, slot, IPC_BY_SLOT_ANY, &ds);

        if (id < 0)
            continue;
        proc_printf(&text, "%10d %10d  %4o %10lu %5u %5u %5u %5u %10ld %10ld\n", ds.sem_perm.__key,
                    id, ds.sem_perm.mode, ds.sem_nsems, ds.sem_perm.uid, ds.sem_perm.gid,
                    ds.sem_perm.cuid, ds.sem_perm.cgid, ds.sem_otime, ds.sem_ctime);
    }
    return (ssize_t)text.length;
}

static ssize_t msg_text(uint64_t key, char *buf, size_t size)
{
    struct proc_text text = {buf, size, 0};
    struct task *task = task_current();
    struct msginfo info;
    int max = msg_get_info(task, true, &info);

    proc_printf(&text,
                "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  "
                "cuid  cgid      stime      rtime      ctime\n");
    for (int slot = 0; slot <= max; slot++) {
        struct msqid_ds ds;
        int id = msg_stat(task, slot, IPC_BY_SLOT_ANY, &ds);

        if (id < 0)
            continue;
        proc_printf(&text,
                    "%10d %10d  %4o  %10lu %10lu %5u %5u %5u %5u %5u %5u %10ld %10ld %10ld\n",
                    ds.msg_perm.__key, id, ds.msg_perm.mode, ds.__msg_cbytes, ds.msg_qnum,
                    ds.msg_lspid, ds.msg_lrpid, ds.msg_perm.uid, ds.msg_perm.gid, ds.msg_perm.cuid,
                    ds.msg_perm.cgid, ds.msg_stime, ds.msg_rtime, ds.msg_ctime);
    }
    return (ssize_t)text.length;
}

const struct tree_node proc_sysvipc_nodes[3] = {
    TREE_TEXT("msg", msg_text),
    TREE_TEXT("sem", sem_text),
    TREE_TEXT("shm", shm_text),
};
