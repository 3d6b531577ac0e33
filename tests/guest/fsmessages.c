/* What fsconfig(2) leaves to be read from the descriptor when an option is refused. */
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>

#include "check.h"

enum { SET_FLAG, SET_STRING, SET_BINARY, SET_PATH, SET_PATH_EMPTY, SET_FD, CREATE, RECONFIGURE };

static int fs;

static long config(unsigned cmd, const char *key, const void *value, int aux)
{
    return RAW(SYS_fsconfig, fs, cmd, key, value, aux);
}

/* The next message is this one, or with NULL there is none. */
static void expect(const char *text)
{
    char line[256];
    ssize_t n;

    if (!text) {
        CHECK_ERRNO(read(fs, line, sizeof(line) - 1), ENODATA);
        return;
    }
    n = read(fs, line, sizeof(line) - 1);
    if (CHECK(n > 0)) {
        line[n] = '\0';
        if (!CHECK(strcmp(line, text) == 0))
            note("%s instead of %s", line, text);
    }
}

static void test_options(void)
{
    fs = (int)syscall(SYS_fsopen, "tmpfs", 0);
    CHECK(fs >= 0);
    expect(NULL);
    CHECK_EQ(config(SET_STRING, "nonsense", "1", 0), -EINVAL);
    expect("e tmpfs: Unknown parameter 'nonsense'\n");
    expect(NULL);
    CHECK_EQ(config(SET_FLAG, "nonsense", NULL, 0), -EINVAL);
    CHECK_EQ(config(SET_STRING, "size", "abc", 0), -EINVAL);
    expect("e tmpfs: Unknown parameter 'nonsense'\n");
    expect("e tmpfs: Bad value for 'size'\n");
    CHECK_EQ(config(SET_STRING, "inode64", "1", 0), -EINVAL);
    expect("e tmpfs: Unexpected value for 'inode64'\n");
    CHECK_EQ(config(SET_STRING, "huge", "sometimes", 0), -EINVAL);
    expect("e tmpfs: Bad value for 'huge'\n");
    CHECK_EQ(config(SET_FLAG, "source", NULL, 0), -EINVAL);
    expect("e Non-string source\n");
    CHECK_EQ(config(SET_STRING, "source", "one", 0), 0);
    CHECK_EQ(config(SET_STRING, "source", "two", 0), -EINVAL);
    expect("e Multiple sources\n");
    CHECK_EQ(config(SET_STRING, "ro", "whatever", 0), 0);
    CHECK_EQ(config(SET_FLAG, "sync", NULL, 0), 0);
    CHECK_EQ(config(SET_FLAG, "rw", NULL, 0), 0);
    expect(NULL);
}

static void test_kinds(void)
{
    CHECK_EQ(config(SET_BINARY, "size", "abc", 3), -EINVAL);
    expect("e tmpfs: Bad value for 'size'\n");
    CHECK_EQ(config(SET_BINARY, "size", (void *)8, 3), -EFAULT);
    CHECK_EQ(config(SET_FD, "nonsense", NULL, 0), -EINVAL);
    expect("e tmpfs: Unknown parameter 'nonsense'\n");
    CHECK_EQ(config(SET_FD, "nonsense", NULL, 999), -EBADF);
    CHECK_EQ(config(SET_PATH, "source", "/", AT_FDCWD), -EINVAL);
    expect("e Non-string source\n");
    CHECK_EQ(config(SET_PATH, "nonsense", "", AT_FDCWD), -ENOENT);
    CHECK_EQ(config(SET_PATH, "nonsense", (void *)8, AT_FDCWD), -EFAULT);
    expect(NULL);
}

/* Eight are kept, and each is read whole or not at all. */
static void test_room(void)
{
    char key[8], small[8];

    for (int i = 0; i < 11; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_EQ(config(SET_FLAG, key, NULL, 0), -EINVAL);
    }
    CHECK_ERRNO(read(fs, small, sizeof(small)), EMSGSIZE);
    for (int i = 3; i < 11; i++) {
        char want[64];

        snprintf(want, sizeof(want), "e tmpfs: Unknown parameter 'k%d'\n", i);
        expect(want);
    }
    expect(NULL);
    CHECK_ERRNO(write(fs, "x", 1), EINVAL);
}

static void test_reconfigure(void)
{
    CHECK_EQ(config(SET_STRING, "size", "0", 0), 0);
    CHECK_EQ(config(CREATE, NULL, NULL, 0), 0);
    CHECK_EQ(config(SET_STRING, "size", "1M", 0), -EBUSY);
    CHECK(syscall(SYS_fsmount, fs, 0, 0) >= 0);
    CHECK_EQ(config(SET_STRING, "size", "1M", 0), 0);
    CHECK_EQ(config(RECONFIGURE, NULL, NULL, 0), -EINVAL);
    expect("e tmpfs: Cannot retroactively limit size\n");
    expect(NULL);
    close(fs);
}

static void test_others(void)
{
    fs = (int)syscall(SYS_fsopen, "proc", 0);
    CHECK_EQ(config(SET_STRING, "hidepid", "foo", 0), -EINVAL);
    expect("e proc: unknown value of hidepid - foo\n\n");
    CHECK_EQ(config(SET_STRING, "subset", "foo", 0), -EINVAL);
    expect("e proc: unsupported subset option - foo\n\n");
    close(fs);
    fs = (int)syscall(SYS_fsopen, "devpts", 0);
    CHECK_EQ(config(SET_STRING, "max", "99999999", 0), -EINVAL);
    expect("e max out of range\n");
    CHECK_EQ(config(SET_STRING, "newinstance", "x", 0), -EINVAL);
    expect("e devpts: Unexpected value for 'newinstance'\n");
    close(fs);
}

int main(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        check_skip("mounts take privileges");
    test_options();
    test_kinds();
    test_room();
    test_reconfigure();
    test_others();
    return check_done();
}
