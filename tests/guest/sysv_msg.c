/* System V message queues: msgget, msgsnd, msgrcv, msgctl; choosing by type, waiting, removal. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

#include "check.h"
#include "child.h"

static int the_key;

struct message {
    long type;
    char text[9000];
};
static struct message buf;

static int put(int id, long type, const char *text, int flags)
{
    struct message m = {.type = type};

    strcpy(m.text, text);
    return msgsnd(id, &m, strlen(text), flags);
}

/* Takes one and says whether it is this. */
static bool take(int id, long type, int flags, long want_type, const char *want)
{
    ssize_t n;

    memset(&buf, 0, sizeof(buf));
    n = msgrcv(id, &buf, sizeof(buf.text), type, flags);
    return n == (ssize_t)strlen(want) && buf.type == want_type && strcmp(buf.text, want) == 0;
}

static struct msqid_ds stat_of(int id)
{
    struct msqid_ds ds;

    memset(&ds, 0, sizeof(ds));
    CHECK_EQ(msgctl(id, IPC_STAT, &ds), 0);
    return ds;
}

static void test_get(void)
{
    int id;

    CHECK_ERRNO(msgget(the_key, 0600), ENOENT);
    id = msgget(the_key, IPC_CREAT | IPC_EXCL | 0620);
    CHECK(id >= 0);
    CHECK_ERRNO(msgget(the_key, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    CHECK_EQ(msgget(the_key, 0600), id);
    struct msqid_ds ds = stat_of(id);
    CHECK_EQ(ds.msg_perm.mode, 0620);
    CHECK_EQ(ds.msg_perm.__key, the_key);
    CHECK_EQ(ds.msg_qnum, 0);
    CHECK_EQ(ds.msg_lspid, 0);
    CHECK_EQ(ds.msg_stime, 0);
    CHECK(ds.msg_ctime > 0);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    CHECK_ERRNO(msgctl(id, IPC_RMID, NULL), EINVAL);
    CHECK_ERRNO(put(id, 1, "x", 0), EINVAL);
    CHECK_ERRNO(msgrcv(id, &buf, 10, 0, IPC_NOWAIT), EINVAL);
}

static void test_types(void)
{
    int id = msgget(IPC_PRIVATE, 0600);

    CHECK_ERRNO(put(id, 0, "x", 0), EINVAL);
    CHECK_ERRNO(put(id, -1, "x", 0), EINVAL);
    CHECK_ERRNO(msgsnd(id, (void *)8, 1, 0), EFAULT);
    buf.type = 1;
    CHECK_ERRNO(msgsnd(id, &buf, 8193, 0), EINVAL);
    CHECK_ERRNO(msgsnd(id, &buf, (size_t)-1, 0), EINVAL);
    CHECK_ERRNO(msgrcv(id, &buf, (size_t)-1, 0, IPC_NOWAIT), EINVAL);
    CHECK_ERRNO(msgrcv(id, &buf, 10, 0, IPC_NOWAIT), ENOMSG);

    CHECK_EQ(put(id, 5, "five", 0), 0);
    CHECK_EQ(put(id, 3, "three", 0), 0);
    CHECK_EQ(put(id, 3, "three again", 0), 0);
    CHECK_EQ(put(id, 9, "nine", 0), 0);
    CHECK_EQ(put(id, 1, "", 0), 0);
    CHECK_EQ(stat_of(id).msg_qnum, 5);
    CHECK_EQ(stat_of(id).__msg_cbytes, 24);
    CHECK_EQ(stat_of(id).msg_lspid, getpid());
    CHECK(stat_of(id).msg_stime > 0);

    CHECK_ERRNO(msgrcv(id, &buf, 3, 5, 0), E2BIG);
    CHECK_ERRNO(msgrcv(id, &buf, 10, 4, IPC_NOWAIT), ENOMSG);
    CHECK_ERRNO(msgrcv(id, &buf, 10, 0, MSG_COPY), EINVAL);
    CHECK_ERRNO(msgrcv(id, &buf, 10, 0, MSG_COPY | IPC_NOWAIT | MSG_EXCEPT), EINVAL);
    CHECK(take(id, 2, MSG_COPY | IPC_NOWAIT, 3, "three again"));
    CHECK_ERRNO(msgrcv(id, &buf, 100, 5, MSG_COPY | IPC_NOWAIT), ENOMSG);
    CHECK_ERRNO(msgrcv(id, &buf, 3, 0, MSG_COPY | IPC_NOWAIT), E2BIG);
    CHECK_ERRNO(msgrcv(id, &buf, 3, 0, MSG_COPY | IPC_NOWAIT | MSG_NOERROR), EINVAL);
    CHECK_EQ(stat_of(id).msg_qnum, 5);

    CHECK(take(id, -4, 0, 1, ""));
    CHECK(take(id, -4, 0, 3, "three"));
    CHECK(take(id, 5, MSG_EXCEPT, 3, "three again"));
    CHECK(take(id, 9, 0, 9, "nine"));
    CHECK_EQ(msgrcv(id, &buf, 2, 0, MSG_NOERROR), 2);
    CHECK_EQ(memcmp(buf.text, "fi", 2), 0);
    CHECK_EQ(stat_of(id).msg_qnum, 0);
    CHECK_EQ(stat_of(id).__msg_cbytes, 0);
    CHECK_EQ(stat_of(id).msg_lrpid, getpid());
    /* A message that cannot be stored is lost all the same. */
    CHECK_EQ(put(id, 1, "gone", 0), 0);
    CHECK_ERRNO(msgrcv(id, (void *)8, 10, 0, 0), EFAULT);
    CHECK_EQ(stat_of(id).msg_qnum, 0);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
}

/* A child waits; what it gets is handed to it past what it does not want. */
static void test_waiting(void)
{
    int id = msgget(IPC_PRIVATE, 0600);
    pid_t pid = fork();

    if (pid == 0) {
        CHECK(take(id, 7, 0, 7, "for you"));
        CHECK_ERRNO(msgrcv(id, &buf, 2, 8, 0), E2BIG);
        CHECK(take(id, 8, 0, 8, "too long"));
        CHECK_EQ(put(id, 10, "done", 0), 0);
        _exit(check_failures != 0);
    }
    usleep(20000);
    CHECK_EQ(put(id, 6, "not for you", 0), 0);
    CHECK_EQ(put(id, 7, "for you", 0), 0);
    usleep(20000);
    CHECK_EQ(put(id, 8, "too long", 0), 0);
    CHECK(take(id, 10, 0, 10, "done"));
    CHECK_EQ(status_of(pid), 0);
    CHECK(take(id, 0, 0, 6, "not for you"));
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
}

static void test_full(void)
{
    int id = msgget(IPC_PRIVATE, 0600), count = 0;
    struct msqid_ds ds = stat_of(id);
    pid_t pid;

    CHECK_EQ(ds.msg_qbytes, 16384);
    ds.msg_qbytes = 100;
    CHECK_EQ(msgctl(id, IPC_SET, &ds), 0);
    while (put(id, 1, "12345678901234567890", IPC_NOWAIT) == 0)
        count++;
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(count, 5);
    pid = fork();
    if (pid == 0)
        _exit(put(id, 2, "waited", 0) != 0);
    usleep(20000);
    CHECK_EQ(stat_of(id).msg_qnum, 5);
    CHECK_EQ(msgrcv(id, &buf, 100, 0, 0), 20);
    CHECK_EQ(status_of(pid), 0);
    CHECK(take(id, 2, 0, 2, "waited"));
    CHECK_EQ(stat_of(id).msg_lspid, pid);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
}

static void on_signal(int signo)
{
}

static void test_ends(void)
{
    int id = msgget(IPC_PRIVATE, 0600), ready = msgget(IPC_PRIVATE, 0600);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pid_t pid = fork();

    if (pid == 0) {
        sigaction(SIGUSR1, &action, NULL);
        put(ready, 1, "a", 0);
        CHECK_ERRNO(msgrcv(id, &buf, 100, 0, 0), EINTR);
        put(ready, 1, "b", 0);
        CHECK_ERRNO(msgrcv(id, &buf, 100, 0, 0), EIDRM);
        _exit(check_failures != 0);
    }
    CHECK(take(ready, 0, 0, 1, "a"));
    usleep(20000);
    kill(pid, SIGUSR1);
    CHECK(take(ready, 0, 0, 1, "b"));
    usleep(20000);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
    CHECK_EQ(status_of(pid), 0);
    CHECK_EQ(msgctl(ready, IPC_RMID, NULL), 0);
}

static void test_control(void)
{
    int id = msgget(IPC_PRIVATE, 0600), max, found = 0;
    struct msginfo info;
    struct msqid_ds ds = stat_of(id);

    ds.msg_perm.mode = 07644;
    CHECK_EQ(msgctl(id, IPC_SET, &ds), 0);
    CHECK_EQ(stat_of(id).msg_perm.mode, 0644);
    CHECK_ERRNO(msgctl(id, IPC_SET, (void *)8), EFAULT);
    CHECK_ERRNO(msgctl(id, IPC_STAT, (void *)8), EFAULT);
    CHECK_ERRNO(msgctl(id, 99, &ds), EINVAL);
    CHECK_ERRNO(msgctl(-1, IPC_STAT, &ds), EINVAL);
    put(id, 1, "abc", 0);
    max = msgctl(0, IPC_INFO, (struct msqid_ds *)&info);
    CHECK(max >= 0);
    CHECK_EQ(info.msgmax, 8192);
    CHECK_EQ(info.msgmnb, 16384);
    CHECK_EQ(info.msgseg, 0xffff);
    CHECK(msgctl(0, MSG_INFO, (struct msqid_ds *)&info) >= 0);
    CHECK(info.msgpool >= 1 && info.msgmap >= 1 && info.msgtql >= 3);
    for (int slot = 0; slot <= max; slot++) {
        found += msgctl(slot, MSG_STAT, &ds) == id;
        found += msgctl(slot, MSG_STAT_ANY, &ds) == id;
    }
    CHECK_EQ(found, 2);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
}

static void test_permissions(void)
{
    int id = msgget(the_key, IPC_CREAT | 0604);
    pid_t pid;

    if (geteuid() == 0) {
        put(id, 1, "abc", 0);
        pid = fork();
        if (pid == 0) {
            struct msqid_ds ds = stat_of(id);

            if (setresgid(1234, 1234, 1234) != 0 || setresuid(1234, 1234, 1234) != 0)
                _exit(9);
            CHECK_ERRNO(put(id, 1, "x", 0), EACCES);
            CHECK(take(id, 0, 0, 1, "abc"));
            CHECK_ERRNO(msgctl(id, IPC_RMID, NULL), EPERM);
            CHECK_ERRNO(msgctl(id, IPC_SET, &ds), EPERM);
            CHECK_ERRNO(msgget(the_key, 0600), EACCES);
            _exit(check_failures != 0);
        }
        CHECK_EQ(status_of(pid), 0);
    }
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
}

static void test_proc(void)
{
    int id = msgget(IPC_PRIVATE, 0604), fd, key, got = -1, bytes = -1;
    char text[65536], *line;
    unsigned mode;
    ssize_t n;

    put(id, 1, "abc", 0);
    fd = open("/proc/sysvipc/msg", O_RDONLY);
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    CHECK(n > 0);
    text[n > 0 ? n : 0] = 0;
    for (line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        if (sscanf(line, "%d %d %o %d", &key, &got, &mode, &bytes) == 4 && got == id)
            break;
    }
    CHECK_EQ(got, id);
    CHECK_EQ(bytes, 3);
    CHECK_EQ(msgctl(id, IPC_RMID, NULL), 0);
}

int main(void)
{
    the_key = 0x53000000 | (getpid() & 0xffffff);
    test_get();
    test_types();
    test_waiting();
    test_full();
    test_ends();
    test_control();
    test_permissions();
    test_proc();
    return check_done();
}
