/* System V shared memory: shmget(2), shmop(2), shmctl(2). */
#ifndef SENTRY_KERNEL_SHM_H
#define SENTRY_KERNEL_SHM_H

#include <sys/shm.h>

#include "base/compiler.h"
#include "sentry/kernel/ipc/ipc.h"

#define SHM_MAX_SIZE  (UINT64_MAX - (1UL << 24)) /* /proc/sys/kernel/shmmax, bytes */
#define SHM_MAX_PAGES (UINT64_MAX - (1UL << 24)) /* shmall */
#define SHM_MAX_COUNT 4096                       /* shmmni */

int shm_get(struct task *task, int32_t key, uint64_t size, int flags);
int shm_attach(struct task *task, int id, uaddr_t addr, int flags, uaddr_t *ret_addr);
int shm_detach(struct task *task, uaddr_t addr);

/* The segment's number; `ret_resident` (may be NULL): bytes. -EINVAL, -EACCES. */
int shm_stat(struct task *task, int id, enum ipc_stat_by by, struct shmid_ds *ret,
             uint64_t *ret_resident);
int shm_set(struct task *task, int id, const struct shmid_ds *ds);
int shm_remove(struct task *task, int id);
int shm_lock(struct task *task, int id, bool lock);
/* Both give the highest slot in use. */
int shm_get_limits(struct task *task, struct shminfo *ret);
int shm_get_usage(struct task *task, struct shm_info *ret);

/* At the end of a namespace: what is attached stays until it is detached. */
void shm_destroy_all(struct ipc_ns *ns);

#endif
