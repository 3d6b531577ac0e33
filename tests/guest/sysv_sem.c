/* System V semaphores: semget, semop, semtimedop, semctl; waiting in order, undoing, removal. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"
#include "child.h"

static int the_key;

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    struct seminfo *info;
};

static int op(int id, int number, int change, int flags)
{
    struct sembuf one = {(unsigned short)number, (short)change, (short)flags};

    return semop(id, &one, 1);
}

static int value(int id, int number)
{
    return semctl(id, number, GETVAL);
}

/* Until somebody waits there. */
static void wait_for_waiters(int id, int number, int cmd, int count)
{
    for (int i = 0; i < 5000 && semctl(id, number, cmd) < count; i++)
        usleep(1000);
    CHECK_EQ(semctl(id, number, cmd), count);
}

static void test_get(void)
{
    struct semid_ds ds;
    int id;

    CHECK_ERRNO(semget(the_key, 1, 0600), ENOENT);
    CHECK_ERRNO(semget(IPC_PRIVATE, 0, 0600), EINVAL);
    CHECK_ERRNO(semget(IPC_PRIVATE, -1, 0600), EINVAL);
    CHECK_ERRNO(semget(IPC_PRIVATE, 32001, 0600), EINVAL);
    id = semget(the_key, 3, IPC_CREAT | IPC_EXCL | 0620);
    CHECK(id >= 0);
    CHECK_ERRNO(semget(the_key, 3, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    CHECK_EQ(semget(the_key, 0, 0), id);
    CHECK_EQ(semget(the_key, 3, 0600), id);
    CHECK_ERRNO(semget(the_key, 4, 0600), EINVAL);
    CHECK_EQ(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}), 0);
    CHECK_EQ(ds.sem_nsems, 3);
    CHECK_EQ(ds.sem_otime, 0);
    CHECK(ds.sem_ctime > 0);
    CHECK_EQ(ds.sem_perm.mode, 0620);
    CHECK_EQ(ds.sem_perm.__key, the_key);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    CHECK_ERRNO(semctl(id, 0, IPC_RMID), EINVAL);
    CHECK_ERRNO(semctl(id, 0, GETVAL), EINVAL);
}

static void test_operations(void)
{
    int id = semget(IPC_PRIVATE, 3, 0600);
    struct sembuf many[600] = {{0, 1, 0}};
    struct sembuf ops[3] = {{0, 5, 0}, {1, 3, 0}, {2, -1, IPC_NOWAIT}};
    struct semid_ds ds;

    CHECK_ERRNO(op(-1, 0, 1, 0), EINVAL);
    CHECK_ERRNO(semop(id, many, 0), EINVAL);
    CHECK_ERRNO(semop(id, many, 501), E2BIG);
    CHECK_ERRNO(semop(id, (struct sembuf *)8, 1), EFAULT);
    CHECK_ERRNO(op(id, 3, 1, 0), EFBIG);
    CHECK_EQ(semctl(id, 0, GETPID), 0);
    CHECK_EQ(op(id, 0, 2, 0), 0);
    CHECK_EQ(value(id, 0), 2);
    CHECK_EQ(semctl(id, 0, GETPID), getpid());
    CHECK_EQ(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}), 0);
    CHECK(ds.sem_otime > 0);

    /* All or nothing. */
    CHECK_ERRNO(semop(id, ops, 3), EAGAIN);
    CHECK_EQ(value(id, 0), 2);
    CHECK_EQ(value(id, 1), 0);
    ops[2].sem_op = 0;
    CHECK_EQ(semop(id, ops, 3), 0);
    CHECK_EQ(value(id, 0), 7);
    CHECK_EQ(value(id, 1), 3);
    /* One after the other on the same semaphore. */
    struct sembuf chain[3] = {{2, 1, 0}, {2, -1, IPC_NOWAIT}, {2, 0, IPC_NOWAIT}};
    CHECK_EQ(semop(id, chain, 3), 0);
    CHECK_ERRNO(op(id, 0, -8, IPC_NOWAIT), EAGAIN);
    CHECK_ERRNO(op(id, 0, 0, IPC_NOWAIT), EAGAIN);
    CHECK_ERRNO(op(id, 0, 32767, 0), ERANGE);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

static void test_timeout(void)
{
    int id = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf down = {0, -1, 0};
    struct timespec ts = {0, 20 * 1000 * 1000}, before, after;

    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_ERRNO(semtimedop(id, &down, 1, &ts), EAGAIN);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 20000000);
    ts.tv_nsec = 1000000000;
    CHECK_ERRNO(semtimedop(id, &down, 1, &ts), EINVAL);
    CHECK_ERRNO(semtimedop(id, &down, 1, (struct timespec *)8), EFAULT);
    ts = (struct timespec){0, 0};
    CHECK_ERRNO(semtimedop(id, &down, 1, &ts), EAGAIN);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

static void test_control(void)
{
    int id = semget(IPC_PRIVATE, 3, 0600), max, found = 0;
    unsigned short values[3] = {1, 2, 3}, got[3] = {0};
    struct seminfo info;
    struct semid_ds ds;

    CHECK_EQ(semctl(id, 0, SETALL, (union semun){.array = values}), 0);
    CHECK_EQ(semctl(id, 0, GETALL, (union semun){.array = got}), 0);
    CHECK_EQ(memcmp(values, got, sizeof(got)), 0);
    values[1] = 32768;
    CHECK_ERRNO(semctl(id, 0, SETALL, (union semun){.array = values}), ERANGE);
    CHECK_EQ(value(id, 1), 2);
    CHECK_ERRNO(semctl(id, 0, SETALL, (union semun){.array = (unsigned short *)8}), EFAULT);
    CHECK_ERRNO(semctl(id, 0, GETALL, (union semun){.array = (unsigned short *)8}), EFAULT);
    CHECK_EQ(semctl(id, 2, SETVAL, (union semun){.val = 32767}), 0);
    CHECK_EQ(value(id, 2), 32767);
    CHECK_ERRNO(semctl(id, 2, SETVAL, (union semun){.val = 32768}), ERANGE);
    CHECK_ERRNO(semctl(id, 2, SETVAL, (union semun){.val = -1}), ERANGE);
    CHECK_ERRNO(semctl(id, 3, SETVAL, (union semun){.val = 1}), EINVAL);
    CHECK_ERRNO(semctl(id, -1, GETVAL), EINVAL);
    CHECK_ERRNO(semctl(id, 0, 99), EINVAL);
    CHECK_ERRNO(semctl(-1, 0, GETVAL), EINVAL);

    CHECK_EQ(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}), 0);
    CHECK_EQ(ds.sem_otime, 0);
    ds.sem_perm.mode = 07644;
    CHECK_EQ(semctl(id, 0, IPC_SET, (union semun){.buf = &ds}), 0);
    CHECK_EQ(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}), 0);
    CHECK_EQ(ds.sem_perm.mode, 0644);
    CHECK_ERRNO(semctl(id, 0, IPC_SET, (union semun){.buf = (struct semid_ds *)8}), EFAULT);

    max = semctl(0, 0, IPC_INFO, (union semun){.info = &info});
    CHECK(max >= 0);
    CHECK_EQ(info.semmsl, 32000);
    CHECK_EQ(info.semopm, 500);
    CHECK_EQ(info.semvmx, 32767);
    CHECK_EQ(info.semaem, 32767);
    CHECK(semctl(0, 0, SEM_INFO, (union semun){.info = &info}) >= 0);
    CHECK(info.semusz >= 1);
    CHECK(info.semaem >= 3);
    for (int slot = 0; slot <= max; slot++) {
        found += semctl(slot, 0, SEM_STAT, (union semun){.buf = &ds}) == id;
        found += semctl(slot, 0, SEM_STAT_ANY, (union semun){.buf = &ds}) == id;
    }
    CHECK_EQ(found, 2);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

/* Children that wait get the semaphore in the order they came, unless one cannot be served. */
static void test_order(void)
{
    int id = semget(IPC_PRIVATE, 2, 0600), fds[2];
    static const int wants[] = {1, 3, 1};
    pid_t pids[3];
    char order[4] = "";

    if (pipe(fds) != 0)
        return;
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            char name = (char)('a' + i);

            if (op(id, 0, -wants[i], 0) != 0 || write(fds[1], &name, 1) != 1)
                _exit(1);
            _exit(op(id, 1, 1, 0) != 0);
        }
        wait_for_waiters(id, 0, GETNCNT, i + 1);
    }
    CHECK_EQ(semctl(id, 0, GETZCNT), 0);
    CHECK_EQ(op(id, 0, 1, 0), 0);
    CHECK_EQ(op(id, 1, -1, 0), 0);
    CHECK_EQ(semctl(id, 0, GETNCNT), 2);
    CHECK_EQ(op(id, 0, 1, 0), 0); /* too little for b: c goes */
    CHECK_EQ(op(id, 1, -1, 0), 0);
    CHECK_EQ(op(id, 0, 2, 0), 0);
    CHECK_EQ(semctl(id, 0, GETNCNT), 1);
    CHECK_EQ(op(id, 0, 1, 0), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(status_of(pids[i]), 0);
    CHECK_EQ(read(fds[0], order, 3), 3);
    CHECK_EQ(strcmp(order, "acb"), 0);
    CHECK_EQ(value(id, 0), 0);
    close(fds[0]);
    close(fds[1]);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

static void test_zero(void)
{
    int id = semget(IPC_PRIVATE, 1, 0600);
    pid_t pid;

    CHECK_EQ(op(id, 0, 2, 0), 0);
    pid = fork();
    if (pid == 0)
        _exit(op(id, 0, 0, 0) != 0);
    wait_for_waiters(id, 0, GETZCNT, 1);
    CHECK_EQ(op(id, 0, -1, 0), 0);
    CHECK_EQ(semctl(id, 0, GETZCNT), 1);
    CHECK_EQ(semctl(id, 0, SETVAL, (union semun){.val = 0}), 0);
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(semctl(id, 0, GETPID), pid); /* waiting for zero is an operation, too */
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

static void test_undo(void)
{
    int id = semget(IPC_PRIVATE, 2, 0600);
    pid_t pid;

    CHECK_EQ(semctl(id, 0, SETVAL, (union semun){.val = 5}), 0);
    pid = fork();
    if (pid == 0) {
        CHECK_EQ(op(id, 0, -2, SEM_UNDO), 0);
        CHECK_EQ(op(id, 0, -1, SEM_UNDO), 0);
        CHECK_EQ(op(id, 1, 3, SEM_UNDO), 0);
        CHECK_EQ(op(id, 0, -1, 0), 0);
        _exit(check_failures != 0);
    }
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(value(id, 0), 4);
    CHECK_EQ(value(id, 1), 0);
    CHECK_EQ(semctl(id, 0, GETPID), pid);

    /* Not inherited, clamped at zero, and forgotten by SETVAL. */
    pid = fork();
    if (pid == 0) {
        CHECK_EQ(op(id, 1, 4, SEM_UNDO), 0);
        CHECK_EQ(op(id, 0, -3, SEM_UNDO), 0);
        pid = fork();
        if (pid == 0)
            _exit(0);
        CHECK_EQ(status_of(pid), 0);
        CHECK_EQ(value(id, 0), 1);
        CHECK_EQ(op(id, 1, -2, 0), 0);
        CHECK_EQ(semctl(id, 0, SETVAL, (union semun){.val = 9}), 0);
        _exit(check_failures != 0);
    }
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(value(id, 0), 9);
    CHECK_EQ(value(id, 1), 0);

    /* An undo lets a waiter go. */
    CHECK_EQ(semctl(id, 0, SETVAL, (union semun){.val = 1}), 0);
    pid = fork();
    if (pid == 0) {
        if (op(id, 0, -1, SEM_UNDO) != 0)
            _exit(1);
        op(id, 1, 1, 0);
        pause();
        _exit(1);
    }
    CHECK_EQ(op(id, 1, -1, 0), 0);
    pid_t waiter = fork();
    if (waiter == 0)
        _exit(op(id, 0, -1, 0) != 0);
    wait_for_waiters(id, 0, GETNCNT, 1);
    kill(pid, SIGKILL);
    CHECK_EQ(status_of(pid), SIGKILL);
    CHECK_EQ(status_of(waiter), 0);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

static void *undo_thread(void *arg)
{
    return (void *)(long)op(*(int *)arg, 0, -1, SEM_UNDO);
}

static void test_undo_threads(void)
{
    int id = semget(IPC_PRIVATE, 1, 0600);
    pid_t pid;

    CHECK_EQ(op(id, 0, 3, 0), 0);
    pid = fork();
    if (pid == 0) {
        pthread_t thread;
        void *result = (void *)1;

        pthread_create(&thread, NULL, undo_thread, &id);
        pthread_join(thread, &result);
        CHECK_EQ((long)result, 0);
        CHECK_EQ(value(id, 0), 2); /* threads share their undoing, the process lives */
        _exit(check_failures != 0);
    }
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(value(id, 0), 3);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

static void on_signal(int signo)
{
}

/* Removal ends a wait, and so does any handler, even with SA_RESTART. */
static void test_ends(void)
{
    int id = semget(IPC_PRIVATE, 1, 0600);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pid_t pid;

    pid = fork();
    if (pid == 0) {
        sigaction(SIGUSR1, &action, NULL);
        CHECK_ERRNO(op(id, 0, -1, 0), EINTR);
        CHECK_ERRNO(op(id, 0, -1, 0), EIDRM);
        CHECK_ERRNO(op(id, 0, -1, 0), EINVAL);
        _exit(check_failures != 0);
    }
    wait_for_waiters(id, 0, GETNCNT, 1);
    kill(pid, SIGUSR1);
    usleep(50000);
    wait_for_waiters(id, 0, GETNCNT, 1);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    CHECK_EQ(status_of(pid), 0);
}

static void test_permissions(void)
{
    int id = semget(the_key, 1, IPC_CREAT | 0604);
    pid_t pid;

    if (geteuid() == 0) {
        pid = fork();
        if (pid == 0) {
            if (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0)
                _exit(9);
            CHECK_EQ(value(id, 0), 0);
            CHECK_EQ(op(id, 0, 0, 0), 0);
            CHECK_ERRNO(op(id, 0, 1, 0), EACCES);
            CHECK_ERRNO(op(id, 1, 1, 0), EFBIG);
            CHECK_ERRNO(semctl(id, 0, SETVAL, (union semun){.val = 1}), EACCES);
            CHECK_ERRNO(semctl(id, 0, IPC_RMID), EPERM);
            CHECK_ERRNO(semget(the_key, 1, 0600), EACCES);
            _exit(check_failures != 0);
        }
        CHECK_EQ(status_of(pid), 0);
    }
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
}

static void test_proc(void)
{
    int id = semget(IPC_PRIVATE, 7, 0604), fd, key, got = -1, count = 0;
    char text[65536], *line;
    unsigned mode;
    ssize_t n;

    fd = open("/proc/sysvipc/sem", O_RDONLY);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    CHECK(n > 0);
    text[n > 0 ? n : 0] = 0;
    for (line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        if (sscanf(line, "%d %d %o %d", &key, &got, &mode, &count) == 4 && got == id)
            break;
    }
    CHECK_EQ(got, id);
    CHECK_EQ(count, 7);
    CHECK_EQ(semctl(id, 0, IPC_RMID), 0);
    fd = open("/proc/sys/kernel/sem", O_RDONLY);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    CHECK_EQ(sscanf(text, "%d", &count), 1);
    CHECK_EQ(count, 32000);
}

int main(void)
{
    the_key = 0x52000000 | (getpid() & 0xffffff);
    test_get();
    test_operations();
    test_timeout();
    test_control();
    test_order();
    test_zero();
    test_undo();
    test_undo_threads();
    test_ends();
    test_permissions();
    test_proc();
    return check_done();
}
