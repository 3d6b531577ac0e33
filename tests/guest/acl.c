/*
 * POSIX ACLs: their form, what they permit, what chmod, the umask and a directory's default make of
 * them. In a fresh folder below the one that is named. As root.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "check.h"

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

struct value {
    struct posix_acl_xattr_header head;
    struct posix_acl_xattr_entry e[16];
};

static const char letters[] = {[ACL_USER_OBJ] = 'u', [ACL_USER] = 'U', [ACL_GROUP_OBJ] = 'g',
                               [ACL_GROUP] = 'G',    [ACL_MASK] = 'm', [ACL_OTHER] = 'o'};

static uint16_t tag_of(char c)
{
    for (size_t tag = 1; tag < sizeof(letters); tag++) {
        if (letters[tag] == c)
            return (uint16_t)tag;
    }
    return 0x80;
}

/* "u7 U1000=5 g4 m7 o0" */
static size_t make(const char *text, struct value *ret)
{
    size_t n = 0;

    memset(ret, 0, sizeof(*ret));
    ret->head.a_version = POSIX_ACL_XATTR_VERSION;
    while (*text) {
        struct posix_acl_xattr_entry *e = &ret->e[n++];
        char *end;

        e->e_tag = tag_of(*text++);
        e->e_id = ACL_UNDEFINED_ID;
        e->e_perm = (uint16_t)strtoul(text, &end, 10);
        if (*end == '=') {
            e->e_id = e->e_perm;
            e->e_perm = (uint16_t)strtoul(end + 1, &end, 10);
        }
        text = *end ? end + 1 : end;
    }
    return sizeof(ret->head) + n * sizeof(ret->e[0]);
}

static int set(const char *path, const char *name, const char *text)
{
    struct value v;
    size_t size = make(text, &v);

    return setxattr(path, name, &v, size, 0);
}

static void show(const char *path)
{
    static const char *const names[] = {ACCESS, DEFAULT};
    char line[500];
    struct stat st;

    CHECK_EQ(lstat(path, &st), 0);
    snprintf(line, sizeof(line), "%s: %o", path, st.st_mode);
    for (int i = 0; i < 2; i++) {
        struct value v;
        ssize_t n = getxattr(path, names[i], &v, sizeof(v));

        if (n < 0 && errno == ENODATA)
            continue;
        snprintf(line + strlen(line), sizeof(line) - strlen(line), i ? " default" : " access");
        if (n < 0)
            snprintf(line + strlen(line), sizeof(line) - strlen(line), " errno %d", errno);
        for (ssize_t at = 0; at < (n - (ssize_t)sizeof(v.head)) / (ssize_t)sizeof(v.e[0]); at++) {
            snprintf(line + strlen(line), sizeof(line) - strlen(line), " %c%d",
                     letters[v.e[at].e_tag], v.e[at].e_perm);
            if (v.e[at].e_id != (uint32_t)ACL_UNDEFINED_ID)
                snprintf(line + strlen(line), sizeof(line) - strlen(line), "=%u", v.e[at].e_id);
        }
    }
    note("%s", line);
}

/* What the three kinds of access give to somebody: a bit each. */
static int rights(const char *path, uid_t uid, gid_t gid, gid_t other)
{
    pid_t child = fork();
    int status, got = 0;

    if (child == 0) {
        if (setgroups(other ? 1 : 0, &other) || setresgid(gid, gid, gid) ||
            setresuid(uid, uid, uid))
            _exit(100);
        for (int mode = 1; mode <= 4; mode <<= 1)
            got |= access(path, mode) == 0 ? mode : 0;
        _exit(got);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    return WEXITSTATUS(status);
}

static void test_form(void)
{
    struct value v;
    size_t size;

    CHECK(close(open("form", O_CREAT | O_WRONLY, 0640)) == 0);
    CHECK_ERRNO(getxattr("form", ACCESS, NULL, 0), ENODATA);
    CHECK_ERRNO(getxattr("form", DEFAULT, NULL, 0), ENODATA);
    CHECK_EQ(removexattr("form", ACCESS), 0);
    CHECK_EQ(removexattr("form", DEFAULT), 0);
    CHECK_EQ(set("form", ACCESS, "u6 U1000=7 g4 m7 o1"), 0);
    show("form");
    CHECK_EQ(getxattr("form", ACCESS, NULL, 0), 4 + 5 * 8);
    CHECK_ERRNO(getxattr("form", ACCESS, &v, 43), ERANGE);
    /* The flags are not looked at. */
    size = make("u6 U1000=7 g4 m7 o1", &v);
    CHECK_EQ(setxattr("form", ACCESS, &v, size, XATTR_CREATE), 0);
    CHECK_EQ(setxattr("form", ACCESS, &v, size, XATTR_REPLACE), 0);
    CHECK_ERRNO(setxattr("form", ACCESS, &v, size - 1, 0), EINVAL);
    CHECK_ERRNO(setxattr("form", ACCESS, &v, 3, 0), EINVAL);
    v.head.a_version = 1;
    CHECK_ERRNO(setxattr("form", ACCESS, &v, size, 0), EOPNOTSUPP);
    CHECK_ERRNO(set("form", ACCESS, "u6 U1000=7 g4 o1"), EINVAL);
    CHECK_ERRNO(set("form", ACCESS, "u6 g4"), EINVAL);
    CHECK_ERRNO(set("form", ACCESS, "g4 u6 o1"), EINVAL);
    CHECK_ERRNO(set("form", ACCESS, "u6 u6 g4 o1"), EINVAL);
    CHECK_ERRNO(set("form", ACCESS, "u6 g4 m7 m7 o1"), EINVAL);
    CHECK_ERRNO(set("form", ACCESS, "u8 g4 o1"), EINVAL);
    CHECK_ERRNO(set("form", ACCESS, "u7 x4 g4 o1"), EINVAL);
    CHECK_ERRNO(set("form", DEFAULT, "u7 g4 o1"), EACCES);
    show("form");
    /* One without names says what the mode says. */
    CHECK_EQ(set("form", ACCESS, "u6 g5 o4"), 0);
    show("form");
    CHECK_EQ(set("form", ACCESS, "u6 g5 m4 o4"), 0);
    show("form");
    CHECK_EQ(set("form", ACCESS, ""), 0);
    show("form");
    CHECK_EQ(set("form", ACCESS, "u6 U5=7 g5 m4 o4"), 0);
    CHECK_EQ(setxattr("form", ACCESS, NULL, 0, 0), 0);
    show("form");
    CHECK_EQ(set("form", ACCESS, "u6 U5=7 G5=1 U6=1 g5 m4 o4") < 0 && errno == EINVAL, 1);
    CHECK_EQ(symlink("form", "link"), 0);
    CHECK_ERRNO(lgetxattr("link", ACCESS, NULL, 0), EOPNOTSUPP);
    size = make("u6 g5 o4", &v);
    CHECK_ERRNO(lsetxattr("link", ACCESS, &v, size, 0), EOPNOTSUPP);
    CHECK_ERRNO(lremovexattr("link", ACCESS), EOPNOTSUPP);
    CHECK_ERRNO(setxattr("form", "system.other", &v, size, 0), EOPNOTSUPP);
    CHECK_ERRNO(getxattr("form", "system.other", NULL, 0), EOPNOTSUPP);
    CHECK_ERRNO(getxattr("/proc/self/status", ACCESS, NULL, 0), EOPNOTSUPP);
}

static void test_listing(void)
{
    char names[300];
    ssize_t n;
    int found = 0;

    CHECK_EQ(mkdir("listed", 0755), 0);
    CHECK_EQ(set("listed", ACCESS, "u7 U5=7 g5 m4 o4"), 0);
    CHECK_EQ(set("listed", DEFAULT, "u7 g5 o4"), 0);
    n = listxattr("listed", names, sizeof(names));
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
        found += strcmp(names + at, ACCESS) == 0 ? 1 : strcmp(names + at, DEFAULT) == 0 ? 10 : 0;
    CHECK_EQ(found, 11);
    CHECK_EQ(removexattr("listed", ACCESS), 0);
    CHECK_EQ(removexattr("listed", DEFAULT), 0);
    n = listxattr("listed", names, sizeof(names));
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
        CHECK(strncmp(names + at, "system.", 7) != 0);
    CHECK_EQ(rmdir("listed"), 0);
}

static void test_rights(void)
{
    CHECK(close(open("who", O_CREAT | O_WRONLY, 0600)) == 0);
    CHECK_EQ(chown("who", 500, 600), 0);
    CHECK_EQ(set("who", ACCESS, "u6 U501=7 U502=0 g4 G601=6 G602=1 m6 o1"), 0);
    show("who");
    CHECK_EQ(rights("who", 500, 9, 0), 6);
    CHECK_EQ(rights("who", 501, 9, 0), 6);   /* masked */
    CHECK_EQ(rights("who", 502, 600, 0), 0); /* a user's entry comes before the groups' */
    CHECK_EQ(rights("who", 503, 600, 0), 4);
    CHECK_EQ(rights("who", 503, 601, 0), 6);
    CHECK_EQ(rights("who", 503, 602, 0), 0); /* 1 is masked; others' entry is not asked */
    CHECK_EQ(rights("who", 503, 600, 601), 6);
    CHECK_EQ(rights("who", 503, 602, 601), 6);
    CHECK_EQ(rights("who", 503, 9, 602), 0);
    CHECK_EQ(rights("who", 503, 9, 0), 1);
    CHECK_EQ(rights("who", 0, 0, 0), 7); /* somebody may execute it */
    /* The group's bits are the mask: without them only owner and others are left. */
    CHECK_EQ(chmod("who", 0604), 0);
    show("who");
    CHECK_EQ(rights("who", 501, 9, 0), 4);
    CHECK_EQ(chmod("who", 0670), 0);
    show("who");
    CHECK_EQ(rights("who", 501, 9, 0), 7);
    CHECK_EQ(rights("who", 503, 602, 0), 1);
    CHECK_EQ(rights("who", 503, 600, 0), 4);
    CHECK_EQ(rights("who", 503, 9, 0), 0);
    /* Directories on the way. */
    CHECK_EQ(mkdir("way", 0700), 0);
    CHECK(close(open("way/in", O_CREAT | O_WRONLY, 0644)) == 0);
    CHECK_EQ(rights("way/in", 501, 9, 0), 0);
    CHECK_EQ(set("way", ACCESS, "u7 U501=1 g0 m1 o0"), 0);
    CHECK_EQ(rights("way/in", 501, 9, 0), 4);
    CHECK_EQ(rights("way/in", 502, 9, 0), 0);
    CHECK_EQ(rights("way", 501, 9, 0), 1);
}

static void try_as(uid_t uid, void (*what)(void))
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
            _exit(100);
        what();
        _exit(atomic_load(&check_failures) > 0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

static void as_stranger(void)
{
    CHECK_ERRNO(set("who", ACCESS, "u7 g7 o7"), EPERM);
    CHECK_ERRNO(removexattr("who", ACCESS), EPERM);
    CHECK_ERRNO(set("who", ACCESS, "u7 g7"), EPERM);
    CHECK_ERRNO(set("who", DEFAULT, "u7 g7 o7"), EACCES);
    CHECK_EQ(removexattr("who", DEFAULT), 0);
    CHECK(getxattr("who", ACCESS, NULL, 0) > 0);
}

static void as_owner(void)
{
    CHECK_EQ(chmod("who", 02670), 0);
    CHECK_EQ(set("who", ACCESS, "u7 U7=7 g7 m7 o7"), 0);
}

static void test_owners(void)
{
    try_as(777, as_stranger);
    CHECK_EQ(chown("who", 500, 500), 0);
    try_as(500, as_owner);
    show("who");
    CHECK_EQ(chown("who", 500, 600), 0);
    CHECK_EQ(chmod("who", 02670), 0);
    try_as(500, as_owner);
    show("who");
    CHECK_EQ(chown("who", 501, 601), 0);
    show("who");
}

static void in_default(const char *dir, mode_t mask)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char name[100], other[120];
    int fd, sock = socket(AF_UNIX, SOCK_STREAM, 0);

    note("in %s, umask %03o", dir, mask);
    umask(mask);
    snprintf(name, sizeof(name), "%s/file", dir);
    CHECK((fd = open(name, O_CREAT | O_WRONLY | O_EXCL, 0666)) >= 0);
    show(name);
    CHECK_EQ(fchmod(fd, 0751), 0);
    show(name);
    CHECK_EQ(close(fd) + unlink(name), 0);
    CHECK((fd = open(name, O_CREAT | O_WRONLY | O_EXCL, 0600)) >= 0);
    show(name);
    CHECK_EQ(close(fd) + unlink(name), 0);
    snprintf(name, sizeof(name), "%s/dir", dir);
    CHECK_EQ(mkdir(name, 0777), 0);
    show(name);
    snprintf(other, sizeof(other), "%s/below", name);
    CHECK_EQ(mkdir(other, 0700), 0);
    show(other);
    CHECK_EQ(rmdir(other) + rmdir(name), 0);
    snprintf(name, sizeof(name), "%s/fifo", dir);
    CHECK_EQ(mkfifo(name, 0622), 0);
    show(name);
    CHECK_EQ(unlink(name), 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/sock", dir);
    CHECK_EQ(bind(sock, (struct sockaddr *)&at, sizeof(at)), 0);
    show(at.sun_path);
    CHECK_EQ(unlink(at.sun_path) + close(sock), 0);
    snprintf(name, sizeof(name), "%s/link", dir);
    CHECK_EQ(symlink("x", name), 0);
    CHECK_ERRNO(lgetxattr(name, ACCESS, NULL, 0), EOPNOTSUPP);
    CHECK_EQ(unlink(name), 0);
    fd = open(dir, O_TMPFILE | O_RDWR, 0660);
    if (CHECK(fd >= 0)) {
        snprintf(other, sizeof(other), "/proc/self/fd/%d", fd);
        CHECK_EQ(linkat(AT_FDCWD, other, AT_FDCWD, name, AT_SYMLINK_FOLLOW), 0);
        show(name);
        CHECK_EQ(close(fd) + unlink(name), 0);
    }
    umask(022);
}

static void test_default(void)
{
    CHECK_EQ(mkdir("plain", 0755), 0);
    in_default("plain", 027);
    CHECK_EQ(mkdir("def", 0755), 0);
    CHECK_EQ(set("def", DEFAULT, "u7 U501=6 g5 G601=4 m5 o4"), 0);
    show("def");
    in_default("def", 077);
    CHECK_EQ(mkdir("three", 02755), 0);
    CHECK_EQ(chown("three", 1, 44), 0);
    CHECK_EQ(chmod("three", 02755), 0);
    CHECK_EQ(set("three", DEFAULT, "u7 g7 o1"), 0);
    in_default("three", 077);
    CHECK_ERRNO(set("three", DEFAULT, "u7 g7"), EINVAL);
    CHECK_EQ(set("three", DEFAULT, ""), 0);
    show("three");
    in_default("three", 077);
}

/* Renaming and linking keep them; copies of a file's bytes do not. */
static void test_names(void)
{
    CHECK(close(open("n1", O_CREAT | O_WRONLY, 0600)) == 0);
    CHECK_EQ(set("n1", ACCESS, "u7 U501=6 g5 m5 o4"), 0);
    CHECK_EQ(link("n1", "n2"), 0);
    CHECK_EQ(rename("n1", "def/n3"), 0);
    show("def/n3");
    CHECK_EQ(chmod("n2", 0700), 0);
    show("def/n3");
    CHECK_EQ(unlink("n2") + unlink("def/n3"), 0);
}

static int remove_tree(void)
{
    static const char *const names[] = {"form", "link", "who", "way/in"};
    static const char *const dirs[] = {"way", "plain", "def", "three"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        unlink(names[i]);
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++)
        CHECK_EQ(rmdir(dirs[i]), 0);
    return 0;
}

int main(int argc, char **argv)
{
    char folder[200];

    if (getuid() != 0)
        return CHECK_SKIPPED;
    snprintf(folder, sizeof(folder), "%s/kvmsentry-acl-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    CHECK(mkdtemp(folder) && chmod(folder, 0755) == 0 && chdir(folder) == 0);
    umask(022);
    if (set(".", DEFAULT, "u7 g5 o5") < 0 && errno == EOPNOTSUPP) {
        rmdir(folder);
        return CHECK_SKIPPED;
    }
    removexattr(".", DEFAULT);
    test_form();
    test_listing();
    test_rights();
    test_owners();
    test_default();
    test_names();
    remove_tree();
    CHECK_EQ(chdir("/") + rmdir(folder), 0);
    return check_done();
}
