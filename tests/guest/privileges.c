/* What a program's file gives to who runs it: set-id bits and file capabilities; execve(2). */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

static char folder[] = "/tmp/privileges-XXXXXX", program[64], script[64];

static void get_caps(uint64_t *effective, uint64_t *permitted)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    CHECK_EQ(syscall(SYS_capget, &header, data), 0);
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
}

/* What the program that was run says about itself. */
static int report(const char *title)
{
    uint64_t effective, permitted;
    uid_t r, e, s;
    gid_t rg, eg, sg;
    int signo = 0;

    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    get_caps(&effective, &permitted);
    prctl(PR_GET_PDEATHSIG, &signo);
    note("%s: uid %d %d %d gid %d %d %d, caps %s %s, ambient %d, secure %lu, auxv %lu %lu, "
         "dumpable %d, "
         "death %d, personality %x",
         title, (int)r, (int)e, (int)s, (int)rg, (int)eg, (int)sg,
         permitted == 0        ? "-"
         : permitted >> 40 & 1 ? "all"
                               : "some",
         effective == 0        ? "-"
         : effective >> 40 & 1 ? "all"
                               : "some",
         (int)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0), getauxval(AT_SECURE),
         getauxval(AT_EUID), getauxval(AT_EGID), (int)prctl(PR_GET_DUMPABLE), signo,
         (unsigned)personality(0xffffffff));
    return 0;
}

/* The caller, before it runs the program. */
static void nobody(void)
{
    CHECK_EQ(setgroups(0, NULL), 0);
    CHECK_EQ(setresgid(1000, 1000, 1000), 0);
    CHECK_EQ(setresuid(1000, 1000, 1000), 0);
    CHECK_EQ(prctl(PR_SET_PDEATHSIG, SIGUSR1), 0);
    personality(ADDR_NO_RANDOMIZE);
}

static void root(void)
{
}

static void restrained(void)
{
    nobody();
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
}

static void without_bound(void)
{
    CHECK_EQ(prctl(PR_CAPBSET_DROP, CAP_NET_RAW), 0);
    nobody();
}

/* uid 1000 with CAP_NET_RAW permitted, inheritable and ambient. */
static void ambient(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    uint32_t bit = 1U << CAP_NET_RAW;

    CHECK_EQ(prctl(PR_SET_KEEPCAPS, 1), 0);
    nobody();
    data[0] = (struct __user_cap_data_struct){bit, bit, bit};
    CHECK_EQ(syscall(SYS_capset, &header, data), 0);
    CHECK_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0), 0);
}

static void in_user_ns(void)
{
    nobody();
    CHECK_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
    CHECK_EQ(unshare(CLONE_NEWUSER), 0);
}

/* 0 or the errno of execve. */
static int run(void (*become)(void), const char *path, const char *title)
{
    char *argv[] = {"privileges", (char *)title, NULL};
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        check_failures = 0;
        become();
        if (check_failures)
            _exit(99);
        execv(path, argv);
        _exit(errno);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void copy_self(void)
{
    int from = open("/proc/self/exe", O_RDONLY), to = open(program, O_WRONLY | O_CREAT, 0755);
    char buf[65536];
    ssize_t n;

    CHECK(from >= 0 && to >= 0);
    while ((n = read(from, buf, sizeof(buf))) > 0)
        CHECK_EQ(write(to, buf, (size_t)n), n);
    close(from);
    close(to);
    to = open(script, O_WRONLY | O_CREAT, 0755);
    dprintf(to, "#!%s script\n", program);
    close(to);
}

static void own(uid_t uid, gid_t gid, mode_t mode)
{
    CHECK_EQ(chown(program, uid, gid), 0);
    CHECK_EQ(chmod(program, mode), 0);
}

static int set_caps(uint32_t permitted, uint32_t inheritable, bool effective)
{
    struct vfs_cap_data data = {
        .magic_etc = VFS_CAP_REVISION_2 | (effective ? VFS_CAP_FLAGS_EFFECTIVE : 0),
        .data = {{permitted, inheritable}},
    };

    return setxattr(program, "security.capability", &data, sizeof(data), 0);
}

static mode_t mode_now(void)
{
    struct stat st;

    CHECK_EQ(stat(program, &st), 0);
    return st.st_mode & 07777;
}

static void test_set_ids(void)
{
    own(0, 0, 0755);
    CHECK_EQ(run(nobody, program, "plain"), 0);
    own(0, 0, 04755);
    CHECK_EQ(run(nobody, program, "set-uid root"), 0);
    CHECK_EQ(run(restrained, program, "no new privileges"), 0);
    CHECK_EQ(run(in_user_ns, program, "owner not mapped"), 0);
    own(2000, 2001, 06755);
    CHECK_EQ(run(nobody, program, "both bits"), 0);
    CHECK_EQ(run(root, program, "root becomes somebody"), 0);
    own(2000, 2001, 02745);
    CHECK_EQ(run(nobody, program, "group without x"), 0);
    own(1000, 0, 0711);
    CHECK_EQ(run(nobody, program, "own file"), 0);
    own(0, 0, 0711);
    CHECK_EQ(run(nobody, program, "not readable"), 0);
    own(0, 0, 0755);
    CHECK_EQ(chmod(script, 04755), 0);
    CHECK_EQ(run(nobody, script, "-"), 0);
}

static void test_file_caps(void)
{
    const uint32_t raw = 1U << CAP_NET_RAW;
    struct vfs_ns_cap_data data = {0};
    int fd;

    own(0, 0, 0755);
    CHECK_EQ(run(ambient, program, "ambient"), 0);
    CHECK_EQ(set_caps(raw, 0, true), 0);
    CHECK_EQ(run(nobody, program, "permitted and effective"), 0);
    CHECK_EQ(run(restrained, program, "caps, no new privileges"), 0);
    CHECK_EQ(run(ambient, program, "file caps end ambient"), 0);
    CHECK_EQ(run(without_bound, program, "bounded"), EPERM);
    CHECK_EQ(run(root, program, "root is root"), 0);
    CHECK_EQ(set_caps(raw, 0, false), 0);
    CHECK_EQ(run(nobody, program, "permitted"), 0);
    CHECK_EQ(run(without_bound, program, "bounded but patient"), 0);
    CHECK_EQ(set_caps(0, raw, true), 0);
    CHECK_EQ(run(nobody, program, "nothing to inherit"), 0);
    CHECK_EQ(run(ambient, program, "inherited"), 0);
    own(0, 0, 04755);
    CHECK_EQ(getxattr(program, "security.capability", &data, sizeof(data)), -1); /* by chown */
    CHECK_EQ(set_caps(raw, 0, true), 0);
    CHECK_EQ(run(nobody, program, "set-uid root with caps"), 0);
    CHECK_EQ(getxattr(program, "security.capability", &data, sizeof(data)), XATTR_CAPS_SZ_2);
    CHECK_EQ(data.data[0].permitted, raw);
    fd = open(program, O_WRONLY);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, "\x7f", 1, 0), 1);
    close(fd);
    CHECK_ERRNO(getxattr(program, "security.capability", &data, sizeof(data)), ENODATA);
    data.magic_etc = 0x05000000;
    CHECK_ERRNO(setxattr(program, "security.capability", &data, XATTR_CAPS_SZ_2, 0), EINVAL);
    CHECK_ERRNO(setxattr(program, "security.capability", &data, 4, 0), EINVAL);
}

static void test_losing(void)
{
    pid_t pid;
    int status;

    own(1000, 1000, 06755);
    CHECK_EQ(chmod(folder, 0777), 0);
    pid = fork();
    if (pid == 0) {
        check_failures = 0;
        nobody();
        CHECK_ERRNO(set_caps(1, 0, true), EPERM);
        int fd = open(program, O_WRONLY);
        CHECK_EQ(pwrite(fd, "\x7f", 1, 0), 1);
        close(fd);
        CHECK_EQ(mode_now(), 0755);
        CHECK_EQ(chmod(program, 06755), 0);
        CHECK_EQ(chown(program, 1000, 1000), 0);
        CHECK_EQ(mode_now(), 0755);
        _exit(check_failures != 0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
}

static void test_nosuid(void)
{
    own(0, 0, 04755);
    CHECK_EQ(set_caps(1U << CAP_NET_RAW, 0, true), 0);
    CHECK_EQ(mount(NULL, folder, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL), 0);
    CHECK_EQ(run(nobody, program, "nosuid"), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return report(argv[1]);
    if (geteuid() != 0)
        check_skip("needs root");
    CHECK(mkdtemp(folder) != NULL);
    /* Where set-id bits count; what there is in the sandbox may forbid them. */
    CHECK_EQ(mount("none", folder, "tmpfs", 0, NULL), 0);
    CHECK_EQ(chmod(folder, 0755), 0);
    snprintf(program, sizeof(program), "%s/program", folder);
    snprintf(script, sizeof(script), "%s/script", folder);
    umask(0);
    copy_self();
    test_set_ids();
    test_file_caps();
    test_losing();
    test_nosuid();
    CHECK_EQ(umount2(folder, MNT_DETACH), 0);
    CHECK_EQ(rmdir(folder), 0);
    return check_done();
}
