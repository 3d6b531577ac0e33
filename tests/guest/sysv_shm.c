/* System V shared memory: shmget, shmat, shmdt, shmctl, and what fork, exit and threads make of it.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "child.h"

#define PAGE 4096L

static int the_key;

static struct shmid_ds stat_of(int id)
{
    struct shmid_ds ds;

    memset(&ds, 0, sizeof(ds));
    CHECK_EQ(shmctl(id, IPC_STAT, &ds), 0);
    return ds;
}

static int attached(int id)
{
    return (int)stat_of(id).shm_nattch;
}

static void test_get(void)
{
    int id, other;

    CHECK_ERRNO(shmget(the_key, PAGE, 0600), ENOENT);
    CHECK_ERRNO(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
    CHECK_ERRNO(shmget(the_key, 0, IPC_CREAT | 0600), EINVAL);
    CHECK_ERRNO(shmget(IPC_PRIVATE, (size_t)-1, 0600), EINVAL);
    id = shmget(the_key, 5000, IPC_CREAT | IPC_EXCL | 0640);
    CHECK(id >= 0);
    CHECK_ERRNO(shmget(the_key, 5000, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    CHECK_EQ(shmget(the_key, 100, 0600), id);
    CHECK_EQ(shmget(the_key, 0, 0), id);
    CHECK_EQ(shmget(the_key, 5000, IPC_CREAT), id);
    CHECK_ERRNO(shmget(the_key, 5001, 0600), EINVAL);
    other = shmget(IPC_PRIVATE, PAGE, 0600);
    CHECK(other >= 0 && other != id);

    struct shmid_ds ds = stat_of(id);
    CHECK_EQ(ds.shm_segsz, 5000);
    CHECK_EQ(ds.shm_perm.__key, the_key);
    CHECK_EQ(ds.shm_perm.mode, 0640);
    CHECK_EQ(ds.shm_perm.uid, geteuid());
    CHECK_EQ(ds.shm_perm.cuid, geteuid());
    CHECK_EQ(ds.shm_perm.gid, getegid());
    CHECK_EQ(ds.shm_cpid, getpid());
    CHECK_EQ(ds.shm_lpid, 0);
    CHECK_EQ(ds.shm_atime, 0);
    CHECK_EQ(ds.shm_dtime, 0);
    CHECK(ds.shm_ctime > 0);

    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EINVAL);
    CHECK_ERRNO(shmctl(id, IPC_RMID, NULL), EINVAL);
    CHECK_ERRNO(shmget(the_key, 0, 0), ENOENT);
    CHECK_EQ(shmctl(other, IPC_RMID, NULL), 0);
}

static void test_attach(void)
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE, 0600);
    char *a, *b, *c, *area;

    CHECK_ERRNO(shmat(-1, NULL, 0), EINVAL);
    CHECK_ERRNO(shmat(id + 1, NULL, 0), EINVAL);
    a = shmat(id, NULL, 0);
    CHECK(a != (char *)-1);
    CHECK_EQ(a[0], 0);
    CHECK_EQ(stat_of(id).shm_lpid, getpid());
    CHECK(stat_of(id).shm_atime > 0);
    CHECK_EQ(stat_of(id).shm_dtime, 0);
    memset(a, 7, 3 * PAGE);
    b = shmat(id, NULL, SHM_RDONLY);
    CHECK_EQ(attached(id), 2);
    CHECK_EQ(b[2 * PAGE], 7);
    a[PAGE] = 9;
    CHECK_EQ(b[PAGE], 9);
    CHECK_ERRNO(mprotect(b, PAGE, PROT_READ | PROT_WRITE), EACCES);

    /* Places: occupied, rounded, replaced. */
    area = mmap(NULL, 8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_ERRNO(shmat(id, area + 2 * PAGE, 0), EINVAL);
    CHECK_ERRNO(shmat(id, area + 2 * PAGE + 1, SHM_REMAP), EINVAL);
    CHECK_ERRNO(shmat(id, NULL, SHM_REMAP), EINVAL);
    CHECK_ERRNO(shmat(id, (void *)1, SHM_REMAP | SHM_RND), EINVAL);
    c = shmat(id, area + 2 * PAGE, SHM_REMAP);
    CHECK(c == area + 2 * PAGE);
    CHECK_EQ(c[PAGE], 9);
    CHECK_EQ(area[0], 0);
    CHECK_EQ(area[5 * PAGE], 0);
    CHECK_EQ(shmdt(c), 0);
    c = shmat(id, area + 2 * PAGE + 77, SHM_RND);
    CHECK(c == area + 2 * PAGE);
    CHECK_EQ(attached(id), 3);

    CHECK_ERRNO(shmdt(c + 1), EINVAL);
    CHECK_ERRNO(shmdt(area), EINVAL);
    CHECK_ERRNO(shmdt(c + PAGE), EINVAL);
    /* Each piece counts; detaching takes what is left. */
    CHECK_EQ(mprotect(c + PAGE, PAGE, PROT_READ), 0);
    CHECK_EQ(attached(id), 5);
    CHECK_EQ(munmap(c + PAGE, PAGE), 0);
    CHECK_EQ(attached(id), 4);
    CHECK_EQ(shmdt(c), 0);
    CHECK_EQ(attached(id), 2);
    CHECK_ERRNO(shmdt(c), EINVAL);
    CHECK(stat_of(id).shm_dtime > 0);

    CHECK_EQ(munmap(b, 3 * PAGE), 0);
    CHECK_EQ(attached(id), 1);
    CHECK_EQ(shmdt(a), 0);
    CHECK_EQ(munmap(area, 8 * PAGE), 0);
    /* The bytes stay. */
    a = shmat(id, NULL, 0);
    CHECK_EQ(a[PAGE], 9);
    CHECK_EQ(shmdt(a), 0);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
}

static void test_exec_bit(void)
{
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov $42, %eax; ret */
    int id = shmget(IPC_PRIVATE, PAGE, 0700);
    unsigned char *p = shmat(id, NULL, SHM_EXEC);

    CHECK(p != (unsigned char *)-1);
    memcpy(p, code, sizeof(code));
    CHECK_EQ(((int (*)(void))(uintptr_t)p)(), 42);
    CHECK_EQ(shmdt(p), 0);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
}

static void test_remove_attached(void)
{
    int id = shmget(the_key, PAGE, IPC_CREAT | 0600), other;
    char *a = shmat(id, NULL, 0), *b;

    a[5] = 5;
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(stat_of(id).shm_perm.mode, 0600 | SHM_DEST);
    CHECK_EQ(stat_of(id).shm_perm.__key, IPC_PRIVATE);
    /* The key is free, the number still works. */
    other = shmget(the_key, PAGE, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(other >= 0 && other != id);
    b = shmat(id, NULL, 0);
    CHECK_EQ(b[5], 5);
    CHECK_EQ(shmdt(a), 0);
    CHECK_EQ(b[5], 5);
    CHECK_EQ(shmdt(b), 0);
    CHECK_ERRNO(shmat(id, NULL, 0), EINVAL);
    CHECK_EQ(shmctl(other, IPC_RMID, NULL), 0);
}

static void test_fork(void)
{
    int id = shmget(IPC_PRIVATE, PAGE, 0600);
    volatile int *p = shmat(id, NULL, 0);
    pid_t pid = fork();

    if (pid == 0) {
        p[0] = attached(id);
        p[1] = stat_of(id).shm_lpid == getppid() || stat_of(id).shm_lpid == getpid();
        /* Waits until the parent has written; a futex in shared memory. */
        while (__atomic_load_n(&p[2], __ATOMIC_ACQUIRE) == 0)
            syscall(SYS_futex, &p[2], FUTEX_WAIT, 0, NULL, NULL, 0);
        p[3] = p[2] + 1;
        _exit(0);
    }
    __atomic_store_n(&p[2], 41, __ATOMIC_RELEASE);
    syscall(SYS_futex, &p[2], FUTEX_WAKE, 1, NULL, NULL, 0);
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(p[0], 2);
    CHECK_EQ(p[1], 1);
    CHECK_EQ(p[3], 42);
    CHECK_EQ(attached(id), 1);
    CHECK_EQ(stat_of(id).shm_lpid, pid);

    /* Removed while only a child has it: it goes with the child. */
    pid = fork();
    if (pid == 0) {
        pause();
        _exit(1);
    }
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(shmdt((void *)p), 0);
    CHECK_EQ(attached(id), 1);
    kill(pid, SIGKILL);
    CHECK_EQ(status_of(pid), SIGKILL);
    struct shmid_ds ds;
    CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EINVAL);
}

static void test_control(void)
{
    int id = shmget(IPC_PRIVATE, PAGE, 0600), max, found = 0;
    struct shminfo limits;
    struct shm_info usage;
    struct shmid_ds ds = stat_of(id);

    ds.shm_perm.mode = 07777;
    CHECK_EQ(shmctl(id, IPC_SET, &ds), 0);
    CHECK_EQ(stat_of(id).shm_perm.mode, 0777);
    ds.shm_perm.uid = (uid_t)-1;
    CHECK_ERRNO(shmctl(id, IPC_SET, &ds), EINVAL);
    CHECK_ERRNO(shmctl(id, IPC_SET, (void *)8), EFAULT);
    CHECK_ERRNO(shmctl(id, IPC_STAT, (void *)8), EFAULT);
    CHECK_ERRNO(shmctl(id, 99, &ds), EINVAL);
    CHECK_ERRNO(shmctl(-1, IPC_STAT, &ds), EINVAL);

    max = shmctl(0, IPC_INFO, (struct shmid_ds *)&limits);
    CHECK(max >= 0);
    CHECK_EQ(limits.shmmin, 1);
    CHECK_EQ(limits.shmmni, 4096);
    CHECK(shmctl(0, SHM_INFO, (struct shmid_ds *)&usage) >= 0);
    CHECK(usage.used_ids >= 1);
    CHECK(usage.shm_tot >= 1);
    for (int slot = 0; slot <= max; slot++) {
        if (shmctl(slot, SHM_STAT, &ds) == id)
            found++;
        if (shmctl(slot, SHM_STAT_ANY, &ds) == id)
            found++;
    }
    CHECK_EQ(found, 2);

    CHECK_EQ(shmctl(id, SHM_LOCK, NULL), 0);
    CHECK_EQ(stat_of(id).shm_perm.mode, 0777 | SHM_LOCKED);
    CHECK_EQ(shmctl(id, SHM_UNLOCK, NULL), 0);
    CHECK_EQ(stat_of(id).shm_perm.mode, 0777);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
}

static void test_permissions(void)
{
    int id = shmget(the_key, PAGE, IPC_CREAT | 0640), status;
    pid_t pid;

    if (geteuid() != 0) {
        shmctl(id, IPC_RMID, NULL);
        return;
    }
    pid = fork();
    if (pid == 0) {
        struct shmid_ds ds;

        if (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0)
            _exit(9);
        CHECK_ERRNO(shmat(id, NULL, SHM_RDONLY), EACCES);
        CHECK_ERRNO(shmget(the_key, 0, 0400), EACCES);
        CHECK_EQ(shmget(the_key, 0, 0), id);
        CHECK_ERRNO(shmctl(id, IPC_STAT, &ds), EACCES);
        CHECK_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
        CHECK_ERRNO(shmctl(id, SHM_LOCK, NULL), EPERM);
        memset(&ds, 0, sizeof(ds));
        CHECK_ERRNO(shmctl(id, IPC_SET, &ds), EPERM);
        _exit(check_failures != 0);
    }
    status = status_of(pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
}

static void test_proc(void)
{
    int id = shmget(IPC_PRIVATE, 3 * PAGE, 0604), fd, key, got, size;
    char text[65536], *line, *p = shmat(id, NULL, 0), name[64] = "";
    unsigned mode;
    ssize_t n;

    fd = open("/proc/sysvipc/shm", O_RDONLY);
    CHECK(fd >= 0);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    CHECK(n > 0);
    text[n > 0 ? n : 0] = 0;
    got = -1;
    for (line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        if (sscanf(line, "%d %d %o %d", &key, &got, &mode, &size) == 4 && got == id)
            break;
    }
    CHECK_EQ(got, id);
    CHECK_EQ(mode, 0604);
    CHECK_EQ(size, 3 * PAGE);

    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(text, sizeof(text), maps)) {
        if (strtoul(text, NULL, 16) == (unsigned long)p)
            sscanf(text, "%*s %*s %*s %*s %*s %63s", name);
    }
    if (maps)
        fclose(maps);
    CHECK_EQ(strcmp(name, "/SYSV00000000"), 0);
    shmdt(p);
    CHECK_EQ(shmctl(id, IPC_RMID, NULL), 0);
}

int main(void)
{
    the_key = 0x51000000 | (getpid() & 0xffffff);
    test_get();
    test_attach();
    test_exec_bit();
    test_remove_attached();
    test_fork();
    test_control();
    test_permissions();
    test_proc();
    return check_done();
}
