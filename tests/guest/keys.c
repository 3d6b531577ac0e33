/*
 * Keys: types, keyrings in keyrings, who may do what, quotas, expiry, revocation, what a thread, a
 * process, a session and a user have. Everything happens in a session of the test's own.
 */
#include <fcntl.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define USER_ID 4242

static long keyctl(int operation, long a, long b, long c, long d)
{
    return syscall(SYS_keyctl, operation, a, b, c, d);
}

static long add(const char *type, const char *description, const char *payload, long keyring)
{
    return syscall(SYS_add_key, type, description, payload, payload ? strlen(payload) : 0, keyring);
}

static long find(long keyring, const char *type, const char *description)
{
    return keyctl(KEYCTL_SEARCH, keyring, (long)type, (long)description, 0);
}

static void test_arguments(void)
{
    static char large[4200];
    const long session = KEY_SPEC_SESSION_KEYRING;

    memset(large, 'x', sizeof(large) - 1);
    CHECK_ERRNO(add("nothing", "a", "b", session), ENODEV);
    CHECK_ERRNO(add("", "a", "b", session), EINVAL);
    CHECK_ERRNO(add("a type with a name that is too long", "a", "b", session), EINVAL);
    CHECK_ERRNO(add(".hidden", "a", "b", session), EPERM);
    CHECK_ERRNO(add("keyring", ".hidden", NULL, session), EPERM);
    CHECK_ERRNO(add("keyring", "a", "payload", session), EINVAL);
    CHECK_ERRNO(add("user", "", "b", session), EINVAL);
    CHECK_ERRNO(add("user", NULL, "b", session), EINVAL);
    CHECK_ERRNO(add("user", "a", NULL, session), EINVAL);
    CHECK_ERRNO(add("user", large, "b", session), EINVAL);
    CHECK_ERRNO(add((char *)8, "a", "b", session), EFAULT);
    CHECK_ERRNO(add("user", (char *)8, "b", session), EFAULT);
    CHECK_ERRNO(syscall(SYS_add_key, "user", "a", 8, 5, session), EFAULT);
    CHECK_ERRNO(syscall(SYS_add_key, "user", "a", large, 1 << 20, session), EINVAL);
    CHECK_ERRNO(add("logon", "nocolon", "b", session), EINVAL);
    CHECK_ERRNO(add("logon", ":nothing before", "b", session), EINVAL);
    CHECK_ERRNO(add("user", "a", "b", 0), EINVAL);
    CHECK_ERRNO(add("user", "a", "b", KEY_SPEC_GROUP_KEYRING), EINVAL);
    CHECK_ERRNO(add("user", "a", "b", -99), EINVAL);
    CHECK_ERRNO(add("user", "a", "b", KEY_SPEC_REQKEY_AUTH_KEY), ENOKEY);
    CHECK_ERRNO(add("user", "a", "b", 1), ENOKEY);
    CHECK_ERRNO(keyctl(9999, 0, 0, 0, 0), EOPNOTSUPP);
    CHECK_ERRNO(keyctl(KEYCTL_READ, 1, 0, 0, 0), ENOKEY);
    CHECK_ERRNO(keyctl(KEYCTL_SETPERM, session, 0x40000000, 0, 0), EINVAL);
    CHECK_ERRNO(keyctl(KEYCTL_INSTANTIATE, 1, 0, 0, 0), EPERM);
    CHECK_ERRNO(keyctl(KEYCTL_REJECT, 1, 0, 0, 0), EINVAL);
    CHECK_ERRNO(keyctl(KEYCTL_ASSUME_AUTHORITY, -1, 0, 0, 0), EINVAL);
    CHECK_EQ(keyctl(KEYCTL_ASSUME_AUTHORITY, 0, 0, 0, 0), 0);
    CHECK_EQ(keyctl(KEYCTL_CHOWN, 1, -1, -1, 0), 0);
}

static void test_payload(void)
{
    char buf[64], text[128];
    long key = add("user", "first", "hello", KEY_SPEC_SESSION_KEYRING);
    long logon;

    CHECK(key > 2);
    CHECK_EQ(keyctl(KEYCTL_READ, key, 0, 0, 0), 5);
    memset(buf, '.', sizeof(buf));
    CHECK_EQ(keyctl(KEYCTL_READ, key, (long)buf, 4, 0), 5);
    CHECK(buf[0] == '.'); /* too short: nothing comes */
    CHECK_EQ(keyctl(KEYCTL_READ, key, (long)buf, sizeof(buf), 0), 5);
    CHECK(memcmp(buf, "hello.", 6) == 0);
    CHECK_ERRNO(keyctl(KEYCTL_READ, key, 8, 64, 0), EFAULT);
    /* Added again, it is updated. */
    CHECK_EQ(add("user", "first", "goodbye", KEY_SPEC_SESSION_KEYRING), key);
    CHECK_EQ(keyctl(KEYCTL_READ, key, (long)buf, sizeof(buf), 0), 7);
    CHECK_EQ(keyctl(KEYCTL_UPDATE, key, (long)"new", 3, 0), 0);
    CHECK_EQ(keyctl(KEYCTL_READ, key, (long)buf, sizeof(buf), 0), 3);
    CHECK_ERRNO(keyctl(KEYCTL_UPDATE, key, (long)buf, 4097, 0), EINVAL);
    CHECK_ERRNO(keyctl(KEYCTL_UPDATE, key, (long)buf, 0, 0), EINVAL);
    snprintf(text, sizeof(text), "user;%d;%d;3f010000;first", (int)getuid(), (int)getgid());
    memset(buf, '.', sizeof(buf));
    CHECK_EQ(keyctl(KEYCTL_DESCRIBE, key, (long)buf, sizeof(buf), 0), strlen(text) + 1);
    CHECK(strcmp(buf, text) == 0);
    CHECK_EQ(keyctl(KEYCTL_GET_SECURITY, key, (long)buf, sizeof(buf), 0), 1);
    logon = add("logon", "service:me", "secret", KEY_SPEC_SESSION_KEYRING);
    CHECK(logon > 2);
    CHECK_ERRNO(keyctl(KEYCTL_READ, logon, (long)buf, sizeof(buf), 0), EOPNOTSUPP);
    CHECK_EQ(keyctl(KEYCTL_UPDATE, logon, (long)"other", 5, 0), 0);
    CHECK_ERRNO(keyctl(KEYCTL_UPDATE, KEY_SPEC_SESSION_KEYRING, (long)"x", 1, 0), EOPNOTSUPP);
    CHECK_ERRNO(keyctl(KEYCTL_CLEAR, key, 0, 0, 0), ENOTDIR);
    CHECK_ERRNO(add("user", "below", "x", key), ENOTDIR);
}

static void test_keyrings(void)
{
    long session = keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0);
    long outer = add("keyring", "outer", NULL, KEY_SPEC_SESSION_KEYRING);
    long inner = add("keyring", "inner", NULL, outer), deepest;
    long key = add("user", "deep", "x", inner), other;
    int32_t serials[8] = {0};

    CHECK(session > 2 && outer > 2 && inner > 2 && key > 2);
    CHECK_EQ(keyctl(KEYCTL_READ, inner, (long)serials, sizeof(serials), 0), 4);
    CHECK_EQ(serials[0], key);
    CHECK_EQ(find(session, "user", "deep"), key);
    CHECK_EQ(find(KEY_SPEC_SESSION_KEYRING, "keyring", "inner"), inner);
    CHECK_ERRNO(find(session, "user", "nowhere"), ENOKEY);
    CHECK_ERRNO(find(session, "nosuchtype", "deep"), ENOKEY);
    CHECK_EQ(syscall(SYS_request_key, "user", "deep", NULL, 0), key);
    CHECK_ERRNO(syscall(SYS_request_key, "user", "nowhere", NULL, 0), ENOKEY);
    /* No circles. */
    CHECK_ERRNO(keyctl(KEYCTL_LINK, outer, inner, 0, 0), EDEADLK);
    CHECK_ERRNO(keyctl(KEYCTL_LINK, outer, outer, 0, 0), EDEADLK);
    CHECK_ERRNO(keyctl(KEYCTL_LINK, inner, key, 0, 0), ENOTDIR);
    /* A link more; a key of the same name takes the place of the old one. */
    CHECK_EQ(keyctl(KEYCTL_LINK, key, outer, 0, 0), 0);
    CHECK_EQ(keyctl(KEYCTL_READ, outer, 0, 0, 0), 8);
    other = add("user", "deep", "y", KEY_SPEC_THREAD_KEYRING);
    CHECK(other > 2 && other != key);
    CHECK_EQ(keyctl(KEYCTL_LINK, other, outer, 0, 0), 0);
    CHECK_EQ(keyctl(KEYCTL_READ, outer, 0, 0, 0), 8);
    CHECK_EQ(keyctl(KEYCTL_UNLINK, key, outer, 0, 0), 0); /* the name is what counts */
    CHECK_ERRNO(keyctl(KEYCTL_UNLINK, other, outer, 0, 0), ENOENT);
    CHECK_EQ(keyctl(KEYCTL_READ, outer, 0, 0, 0), 4);
    /* Moving. */
    CHECK_ERRNO(keyctl(KEYCTL_MOVE, key, inner, outer, 2), EINVAL);
    CHECK_EQ(keyctl(KEYCTL_MOVE, key, inner, outer, 0), 0);
    CHECK_ERRNO(keyctl(KEYCTL_MOVE, key, inner, outer, 0), ENOENT);
    CHECK_EQ(keyctl(KEYCTL_LINK, other, inner, 0, 0), 0);
    CHECK_ERRNO(keyctl(KEYCTL_MOVE, other, inner, outer, KEYCTL_MOVE_EXCL), EEXIST);
    CHECK_EQ(keyctl(KEYCTL_MOVE, other, inner, inner, KEYCTL_MOVE_EXCL), 0);
    CHECK_EQ(keyctl(KEYCTL_MOVE, other, inner, outer, 0), 0);
    CHECK_EQ(find(outer, "user", "deep"), other);
    /* Deeper than a search goes. */
    deepest = inner;
    for (int i = 0; i < 5; i++) {
        char name[16];

        snprintf(name, sizeof(name), "level %d", i);
        deepest = add("keyring", name, NULL, deepest);
        CHECK(deepest > 2);
    }
    CHECK(add("user", "buried", "z", deepest) > 2);
    CHECK_ERRNO(find(session, "user", "buried"), ENOKEY);
    CHECK(find(inner, "user", "buried") > 2);
    CHECK_EQ(keyctl(KEYCTL_CLEAR, inner, 0, 0, 0), 0);
    CHECK_EQ(keyctl(KEYCTL_READ, inner, 0, 0, 0), 0);
    /* Nothing may be linked to it any more. */
    CHECK_ERRNO(keyctl(KEYCTL_RESTRICT_KEYRING, inner, (long)"user", 0, 0), EINVAL);
    CHECK_ERRNO(keyctl(KEYCTL_RESTRICT_KEYRING, inner, (long)"user", (long)"x", 0), ENOENT);
    CHECK_ERRNO(keyctl(KEYCTL_RESTRICT_KEYRING, other, 0, 0, 0), ENOTDIR);
    CHECK_EQ(keyctl(KEYCTL_RESTRICT_KEYRING, inner, 0, 0, 0), 0);
    CHECK_ERRNO(keyctl(KEYCTL_RESTRICT_KEYRING, inner, 0, 0, 0), EEXIST);
    CHECK_ERRNO(keyctl(KEYCTL_LINK, other, inner, 0, 0), EPERM);
    CHECK_ERRNO(add("user", "late", "x", inner), EPERM);
}

static void test_ends(void)
{
    long keyring = add("keyring", "ends", NULL, KEY_SPEC_SESSION_KEYRING);
    long key = add("user", "revoked", "x", keyring);
    struct timespec pause = {1, 100000000};
    char buf[64];

    CHECK_EQ(keyctl(KEYCTL_REVOKE, key, 0, 0, 0), 0);
    CHECK_ERRNO(keyctl(KEYCTL_REVOKE, key, 0, 0, 0), EKEYREVOKED);
    CHECK_ERRNO(keyctl(KEYCTL_UPDATE, key, (long)"y", 1, 0), EKEYREVOKED);
    CHECK_ERRNO(find(keyring, "user", "revoked"), EKEYREVOKED);
    CHECK_ERRNO(keyctl(KEYCTL_DESCRIBE, key, (long)buf, sizeof(buf), 0), EKEYREVOKED);
    CHECK(add("user", "revoked", "again", keyring) != key);
    key = add("user", "invalidated", "x", keyring);
    CHECK_EQ(keyctl(KEYCTL_INVALIDATE, key, 0, 0, 0), 0);
    CHECK_EQ(find(keyring, "user", "invalidated"), -1);
    CHECK(errno == ENOKEY || errno == EKEYREVOKED); /* Linux takes it out a little later */
    CHECK_ERRNO(keyctl(KEYCTL_UPDATE, key, (long)"y", 1, 0), ENOKEY);
    key = add("user", "expired", "x", keyring);
    CHECK_EQ(keyctl(KEYCTL_SET_TIMEOUT, key, 1, 0, 0), 0);
    nanosleep(&pause, NULL);
    CHECK_ERRNO(keyctl(KEYCTL_READ, key, (long)buf, sizeof(buf), 0), EKEYEXPIRED);
    CHECK_ERRNO(find(keyring, "user", "expired"), EKEYEXPIRED);
    CHECK_ERRNO(keyctl(KEYCTL_SET_TIMEOUT, key, 0, 0, 0), EKEYEXPIRED);
    CHECK_EQ(keyctl(KEYCTL_REVOKE, keyring, 0, 0, 0), 0);
    CHECK_ERRNO(add("user", "more", "x", keyring), EKEYREVOKED);
    /* Nobody constructs one: it stays away for a while. */
    CHECK_EQ(syscall(SYS_request_key, "user", "to be made", "how", KEY_SPEC_SESSION_KEYRING), -1);
    CHECK(errno == ENOKEY || errno == ENOENT);
    CHECK_ERRNO(syscall(SYS_request_key, "user", "to be made", NULL, 0), ENOKEY);
}

static void test_rights(void)
{
    long key = add("user", "rights", "x", KEY_SPEC_SESSION_KEYRING);
    char buf[64];

    CHECK_EQ(keyctl(KEYCTL_SETPERM, key, 0x21210000, 0, 0), 0); /* view, setattr */
    CHECK_ERRNO(keyctl(KEYCTL_UPDATE, key, (long)"y", 1, 0), EACCES);
    CHECK_ERRNO(keyctl(KEYCTL_LINK, key, KEY_SPEC_SESSION_KEYRING, 0, 0), EACCES);
    CHECK_ERRNO(find(KEY_SPEC_SESSION_KEYRING, "user", "rights"), EACCES);
    CHECK_ERRNO(keyctl(KEYCTL_READ, key, (long)buf, sizeof(buf), 0), EACCES);
    CHECK_ERRNO(add("user", "rights", "z", KEY_SPEC_SESSION_KEYRING), EACCES);
    CHECK_EQ(keyctl(KEYCTL_SETPERM, key, 0x29210000, 0, 0), 0); /* and search */
    CHECK_EQ(keyctl(KEYCTL_READ, key, (long)buf, sizeof(buf), 0), 1);
    CHECK_EQ(keyctl(KEYCTL_SETPERM, key, 0x09010000, 0, 0), 0);
    CHECK_ERRNO(keyctl(KEYCTL_SETPERM, key, 0x3f010000, 0, 0), EACCES);
    CHECK_ERRNO(keyctl(KEYCTL_SET_TIMEOUT, key, 5, 0, 0), EACCES);
}

/* Another user: sees little of ours, has a quota of its own. */
static void as_user(long key, long keyring)
{
    static char payload[16384];
    char name[16], buf[64];
    long first;
    int i;

    CHECK_EQ(setgid(USER_ID), 0);
    CHECK_EQ(setuid(USER_ID), 0);
    CHECK(keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) > 2);
    CHECK_ERRNO(keyctl(KEYCTL_DESCRIBE, key, (long)buf, sizeof(buf), 0), EACCES);
    CHECK_ERRNO(keyctl(KEYCTL_READ, key, (long)buf, sizeof(buf), 0), EACCES);
    CHECK_ERRNO(add("user", "theirs", "x", keyring), EACCES);
    first = add("user", "mine", "x", KEY_SPEC_SESSION_KEYRING);
    CHECK(first > 2);
    CHECK_ERRNO(keyctl(KEYCTL_CHOWN, first, 0, -1, 0), EACCES);
    CHECK_ERRNO(keyctl(KEYCTL_CHOWN, first, -1, 0, 0), EACCES);
    CHECK_EQ(keyctl(KEYCTL_CHOWN, first, USER_ID, USER_ID, 0), 0);
    for (i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "key %d", i);
        if (add("user", name, "x", KEY_SPEC_SESSION_KEYRING) < 0)
            break;
    }
    CHECK(errno == EDQUOT && i > 100 && i < 200);
    CHECK_EQ(keyctl(KEYCTL_CLEAR, KEY_SPEC_SESSION_KEYRING, 0, 0, 0), 0);
    /* Linux counts them out a little later. */
    for (i = 0; i < 200; i++) {
        first = syscall(SYS_add_key, "user", "large", payload, sizeof(payload),
                        KEY_SPEC_SESSION_KEYRING);
        if (first > 0 || errno != EDQUOT)
            break;
        usleep(20000);
    }
    CHECK(first > 2);
    CHECK_ERRNO(
        syscall(SYS_add_key, "user", "larger", payload, sizeof(payload), KEY_SPEC_SESSION_KEYRING),
        EDQUOT);
    _exit(check_failures != 0);
}

static int wait_for(pid_t pid)
{
    int status = -1;

    waitpid(pid, &status, 0);
    return status;
}

static void test_users(void)
{
    long key = add("user", "ours", "x", KEY_SPEC_SESSION_KEYRING);
    pid_t pid = fork();

    if (pid == 0)
        as_user(key, keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0));
    CHECK_EQ(wait_for(pid), 0);
    CHECK_EQ(keyctl(KEYCTL_CHOWN, key, USER_ID, USER_ID, 0), 0);
    CHECK_EQ(keyctl(KEYCTL_CHOWN, key, 0, 0, 0), 0);
}

static void *in_thread(void *arg)
{
    long *ids = arg;

    ids[0] = keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 1, 0, 0);
    ids[1] = keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1, 0, 0);
    ids[2] = keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1, 0, 0);
    return NULL;
}

static void test_own(void)
{
    long mine[3], theirs[3], session;
    pthread_t thread;
    pid_t pid;

    in_thread(mine);
    CHECK_EQ(pthread_create(&thread, NULL, in_thread, theirs), 0);
    pthread_join(thread, NULL);
    CHECK(mine[0] > 2 && theirs[0] > 2 && mine[0] != theirs[0]);
    CHECK_EQ(mine[1], theirs[1]);
    CHECK_EQ(mine[2], theirs[2]);
    pid = fork();
    if (pid == 0) {
        bool good;

        CHECK_ERRNO(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0, 0, 0), ENOKEY);
        CHECK_ERRNO(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0, 0, 0), ENOKEY);
        in_thread(theirs);
        good = theirs[0] != mine[0] && theirs[1] != mine[1] && theirs[2] == mine[2];
        _exit(!good || check_failures != 0);
    }
    CHECK_EQ(wait_for(pid), 0);
    /* Keyrings of one user. */
    CHECK(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0, 0, 0) > 2);
    CHECK_EQ(find(KEY_SPEC_USER_SESSION_KEYRING, "keyring", "_uid.0"),
             keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0, 0, 0));
    /* A session with a name is found again. */
    CHECK_ERRNO(keyctl(KEYCTL_JOIN_SESSION_KEYRING, (long)".hidden", 0, 0, 0), EPERM);
    CHECK_ERRNO(keyctl(KEYCTL_JOIN_SESSION_KEYRING, 8, 0, 0, 0), EFAULT);
    session = keyctl(KEYCTL_JOIN_SESSION_KEYRING, (long)"a test's session", 0, 0, 0);
    CHECK(session > 2);
    CHECK_EQ(keyctl(KEYCTL_SETPERM, session, 0x3f1f0000, 0, 0), 0);
    pid = fork();
    if (pid == 0) {
        if (keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) == session)
            _exit(1);
        if (keyctl(KEYCTL_JOIN_SESSION_KEYRING, (long)"a test's session", 0, 0, 0) != session)
            _exit(2);
        if (keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) < 0)
            _exit(3);
        add("user", "left behind", "x", KEY_SPEC_SESSION_KEYRING);
        _exit(keyctl(KEYCTL_SESSION_TO_PARENT, 0, 0, 0, 0) ? 4 : 0);
    }
    CHECK_EQ(wait_for(pid), 0);
    getppid();
    CHECK(keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0) != session);
    CHECK(find(KEY_SPEC_SESSION_KEYRING, "user", "left behind") > 2);
    /* Where requested keys go. */
    CHECK_EQ(keyctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_SESSION_KEYRING, 0, 0, 0), 0);
    CHECK_EQ(keyctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE, 0, 0, 0),
             KEY_REQKEY_DEFL_SESSION_KEYRING);
    CHECK_ERRNO(keyctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_GROUP_KEYRING, 0, 0, 0), EINVAL);
    CHECK_ERRNO(keyctl(KEYCTL_SET_REQKEY_KEYRING, 99, 0, 0, 0), EINVAL);
}

static void test_proc(void)
{
    static char text[65536];
    char want[128];
    long key = add("user", "listed", "12345", KEY_SPEC_SESSION_KEYRING);
    long keyring = add("keyring", "listed too", NULL, KEY_SPEC_SESSION_KEYRING);
    int fd = open("/proc/keys", O_RDONLY);
    ssize_t n = 0, got;

    CHECK(fd >= 0);
    while ((got = read(fd, text + n, sizeof(text) - 1 - (size_t)n)) > 0)
        n += got;
    text[n] = 0;
    close(fd);
    snprintf(want, sizeof(want), "%08lx I--Q---     1 perm 3f010000     0     0 user      %s", key,
             "listed: 5\n");
    CHECK(strstr(text, want));
    snprintf(want, sizeof(want), "%08lx I--Q---     1 perm 3f010000     0     0 keyring   %s",
             keyring, "listed too: empty\n");
    CHECK(strstr(text, want));
    fd = open("/proc/key-users", O_RDONLY);
    n = read(fd, text, sizeof(text) - 1);
    CHECK(n > 0);
    text[n > 0 ? n : 0] = 0;
    CHECK(strncmp(text, "    0: ", 7) == 0);
    close(fd);
}

int main(void)
{
    uint8_t caps[4] = {0, 0, 9, 9};

    if (keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) < 0 && errno == ENOSYS)
        check_skip("no key rings here");
    CHECK_EQ(keyctl(KEYCTL_CAPABILITIES, (long)caps, sizeof(caps), 0, 0), 2);
    CHECK((caps[0] & 0xe1) == 0xe1 && caps[2] == 0 && caps[3] == 0);
    test_arguments();
    test_payload();
    test_keyrings();
    test_ends();
    test_rights();
    test_users();
    test_own();
    test_proc();
    return check_done();
}
