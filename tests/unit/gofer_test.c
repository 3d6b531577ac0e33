/*
 * The gofer's protocol: what the checks accept, and what a hostile Sentry gets from a real gofer
 * that serves a small tree.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "host/gofer_protocol.h"
#include "host/io.h"
#include "host/message.h"
#include "tests/unit/gofer_make.h"

static void setup(void)
{
    enter_folder();
    mkdir("a", 0755);
    mkdir("a/b", 0755);
    put_file("a/b/file", "hello");
    put_file("secret", "nobody reads me");
    chmod("secret", 0);
    cr_assert_eq(symlink("a/b", "link"), 0);
    cr_assert_eq(symlink("/etc", "a/out"), 0);
    cr_assert_eq(symlink("../../../../etc/passwd", "a/b/up"), 0);
    cr_assert_eq(mkfifo("fifo", 0644), 0);
    start_server(&(struct gofer_config){.root = base});
}

static void teardown(void)
{
    end_server();
}

static struct gofer_reply reply;

/* One round trip: the reply's error; the donated descriptor, if any, in ret_fd. */
static int ask(enum gofer_op op, const char *path, uint32_t skip, uint32_t mode, int *ret_fd)
{
    struct gofer_request_head head = {
        .op = op, .skip = skip, .mode = mode, .path_size = (uint32_t)strlen(path)};
    struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)path, strlen(path)}};
    int passed = -1;
    ssize_t n;

    cr_assert_eq(host_send_message(to_server, iov, 2, -1), 0);
    n = host_receive_message(to_server, &reply, sizeof(reply), &passed);
    cr_assert_gt(n, 0, "the gofer is gone");
    cr_assert(gofer_reply_valid(&reply, (size_t)n, op));
    if (ret_fd)
        *ret_fd = passed;
    else
        cr_assert_eq(passed, -1);
    return reply.head.error;
}

static uint32_t gofer_names(const char *path)
{
    uint32_t names = 0;

    cr_assert(gofer_path_valid(path, strlen(path), &names));
    return names;
}

TestSuite(gofer, .init = setup, .fini = teardown, .timeout = 20);

Test(gofer, walks_many_names_in_one_round_trip)
{
    cr_expect_eq(ask(GOFER_WALK, "a/b/file", 0, 0, NULL), 0);
    cr_assert_eq(reply.head.count, 3);
    cr_expect(S_ISDIR(reply.entries[0].stat.st_mode));
    cr_expect(S_ISREG(reply.entries[2].stat.st_mode));
    cr_expect_eq(reply.entries[2].stat.st_size, 5);

    cr_expect_eq(ask(GOFER_WALK, "a/b/file", 2, 0, NULL), 0);
    cr_assert_eq(reply.head.count, 1);
    cr_expect(S_ISREG(reply.entries[0].stat.st_mode));

    cr_expect_eq(ask(GOFER_WALK, "", 0, 0, NULL), 0);
    cr_assert_eq(reply.head.count, 1);
    cr_expect(S_ISDIR(reply.entries[0].stat.st_mode));
}

Test(gofer, walk_stops_where_it_must)
{
    cr_expect_eq(ask(GOFER_WALK, "a/missing/file", 0, 0, NULL), -ENOENT);
    cr_expect_eq(reply.head.count, 1);
    cr_expect_eq(ask(GOFER_WALK, "a/b/file/more", 0, 0, NULL), 0);
    cr_expect_eq(reply.head.count, 3);
    cr_expect_eq(ask(GOFER_WALK, "link/file", 0, 0, NULL), 0);
    cr_expect_eq(reply.head.count, 1);
    cr_expect_str_eq(reply.target, "a/b");
    cr_expect_eq(ask(GOFER_WALK, "link/file", 1, 0, NULL), -ENOTDIR);
    cr_expect_eq(ask(GOFER_WALK, "nowhere/file", 1, 0, NULL), -ENOENT);
}

Test(gofer, donates_what_it_may)
{
    char buf[16] = {0};
    int fd = -1;

    cr_expect_eq(ask(GOFER_OPEN, "a/b/file", 0, 0, &fd), 0);
    cr_assert_geq(fd, 0);
    cr_expect_eq(read(fd, buf, sizeof(buf)), 5);
    cr_expect_str_eq(buf, "hello");
    cr_expect_lt(write(fd, "x", 1), 0, "donated for reading only");
    close(fd);
    cr_expect_eq(ask(GOFER_OPEN, "a", 0, 0, &fd), 0);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_expect_eq(ask(GOFER_ACCESS, "a/b/file", 0, R_OK, NULL), 0);
    cr_expect_eq(ask(GOFER_ACCESS, "a/b/file", 0, X_OK, NULL), -EACCES);
    cr_expect_eq(ask(GOFER_STATFS, "a", 0, 0, NULL), 0);
    cr_expect_gt(reply.statfs.f_bsize, 0);
}

/* What comes along with one name: is it open for reading, as the reply says? */
static bool comes_open(const char *path, uint32_t mode)
{
    bool open;
    int fd = -1;

    cr_expect_eq(ask(GOFER_WALK, path, gofer_names(path) - 1, mode, &fd), 0);
    cr_assert_eq(reply.head.count, 1);
    cr_assert_geq(fd, 0);
    open = !(fcntl(fd, F_GETFL) & O_PATH);
    cr_expect_eq(open, (reply.entries[0].flags & GOFER_READABLE) != 0, "%s", path);
    if (open)
        cr_expect_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    close(fd);
    return open;
}

Test(gofer, opens_at_the_end_of_a_walk)
{
    const uint32_t to_open = GOFER_WALK_DONATE | GOFER_WALK_OPEN;

    cr_expect(comes_open("a/b", GOFER_WALK_DONATE));
    cr_expect_not(comes_open("a/b/file", GOFER_WALK_DONATE));
    cr_expect(comes_open("a/b/file", to_open));
    cr_expect_not(comes_open("link", to_open));
    cr_expect_not(comes_open("a/b/up", to_open));
    cr_expect_not(comes_open("fifo", to_open));
}

Test(gofer, looks_at_siblings_too)
{
    /* The names behind the first two are all in that folder; the link ends it. */
    cr_expect_eq(ask(GOFER_WALK, "a/b/file/up/file", 2, GOFER_WALK_SIBLINGS, NULL), 0);
    cr_assert_eq(reply.head.count, 2);
    cr_expect(S_ISREG(reply.entries[0].stat.st_mode));
    cr_expect(S_ISLNK(reply.entries[1].stat.st_mode));
    cr_expect_str_eq(reply.target, "../../../../etc/passwd");
    cr_expect_eq(ask(GOFER_WALK, "a/link/missing/a", 0, GOFER_WALK_SIBLINGS, NULL), 0);
    cr_assert_eq(reply.head.count, 2);
    cr_expect_eq(ask(GOFER_WALK, "a/fifo/missing/a", 0, GOFER_WALK_SIBLINGS, NULL), -ENOENT);
    cr_assert_eq(reply.head.count, 2);
}

Test(gofer, tells_of_attributes)
{
    cr_expect_eq(ask(GOFER_WALK, "a/b/file", 2, 0, NULL), 0);
    cr_expect(reply.entries[0].flags & GOFER_NO_XATTRS);
    if (setxattr("a/b/file", "user.test", "x", 1, 0) < 0 && errno == EOPNOTSUPP)
        return; /* before Linux 6.6 a tmpfs has none of that kind */
    cr_expect_eq(ask(GOFER_WALK, "a/b/file", 2, 0, NULL), 0);
    cr_expect_not(reply.entries[0].flags & GOFER_NO_XATTRS);
}

Test(gofer, refuses_to_leave_the_tree)
{
    cr_expect_eq(ask(GOFER_OPEN, "a/out/passwd", 0, 0, NULL), -ELOOP);
    cr_expect_eq(ask(GOFER_OPEN, "a/b/up", 0, 0, NULL), -ELOOP);
    cr_expect_eq(ask(GOFER_OPEN, "link/file", 0, 0, NULL), -ELOOP);
    cr_expect_eq(ask(GOFER_WALK, "a/out/passwd", 2, 0, NULL), -ENOTDIR);
}

Test(gofer, never_opens_what_has_effects)
{
    cr_expect_eq(ask(GOFER_OPEN, "fifo", 0, 0, NULL), -ENXIO);
    /* Mode 0: root's own file, and the gofer has no capability to override it. */
    cr_expect_eq(ask(GOFER_OPEN, "secret", 0, 0, NULL), -EACCES);
}

/* Sends raw bytes; true when the gofer ended the conversation, as it should. */
static bool hangs_up(const void *bytes, size_t size)
{
    struct iovec iov = {(void *)bytes, size};
    int passed;

    cr_assert_eq(host_send_message(to_server, &iov, 1, -1), 0);
    return host_receive_message(to_server, &reply, sizeof(reply), &passed) <= 0;
}

static bool hangs_up_on(uint32_t op, uint32_t skip, uint32_t mode, uint32_t path_size,
                        const void *path, size_t sent)
{
    struct gofer_request req = {
        .head = {.op = op, .skip = skip, .mode = mode, .path_size = path_size}};

    memcpy(req.path, path, sent);
    return hangs_up(&req, sizeof(req.head) + sent);
}

#define HOSTILE(name, expr)                                                                        \
    Test(gofer, name)                                                                              \
    {                                                                                              \
        cr_expect(expr);                                                                           \
    }
HOSTILE(hangs_up_on_dotdot, hangs_up_on(GOFER_OPEN, 0, 0, 4, "a/..", 4))
HOSTILE(hangs_up_on_absolute, hangs_up_on(GOFER_OPEN, 0, 0, 4, "/etc", 4))
HOSTILE(hangs_up_on_nul, hangs_up_on(GOFER_OPEN, 0, 0, 3, "a\0b", 3))
HOSTILE(hangs_up_on_unknown_op, hangs_up_on(77, 0, 0, 1, "a", 1))
HOSTILE(hangs_up_on_size_beyond, hangs_up_on(GOFER_WALK, 0, 0, 4000, "a", 1))
HOSTILE(hangs_up_on_size_wrap, hangs_up_on(GOFER_WALK, 0, 0, UINT32_MAX, "a", 1))
HOSTILE(hangs_up_on_skip_beyond, hangs_up_on(GOFER_WALK, 2, 0, 1, "a", 1))
HOSTILE(hangs_up_on_mode, hangs_up_on(GOFER_ACCESS, 0, 8, 1, "a", 1))
HOSTILE(hangs_up_on_short_message, hangs_up("abc", 3))

Test(gofer_protocol, paths)
{
    static const char *const good[] = {"", "a", "a/b", "...", ".a/..b", "a b\n/c"};
    static const char *const bad[] = {"/", "/a", "a/", "a//b", ".", "..", "a/.", "./a", "a/../b"};
    char longest[GOFER_NAME_MAX + 2];
    uint32_t names;

    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        cr_expect(gofer_path_valid(good[i], strlen(good[i]), &names), "\"%s\"", good[i]);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        cr_expect_not(gofer_path_valid(bad[i], strlen(bad[i]), &names), "\"%s\"", bad[i]);
    memset(longest, 'x', sizeof(longest));
    cr_expect(gofer_path_valid(longest, GOFER_NAME_MAX, &names));
    cr_expect_not(gofer_path_valid(longest, GOFER_NAME_MAX + 1, &names));
}

static bool reply_valid(int32_t error, uint32_t count, uint32_t target_size, size_t size)
{
    memset(&reply, 0, sizeof(reply));
    reply.head.error = error;
    reply.head.count = count;
    reply.head.target_size = target_size;
    return gofer_reply_valid(&reply, size, GOFER_WALK);
}

Test(gofer_protocol, replies_are_bounded)
{
    size_t head = sizeof(reply.head), entry = sizeof(struct gofer_entry);

    cr_expect(reply_valid(0, 1, 3, head + entry + 3));
    cr_expect(reply_valid(0, GOFER_WALK_MAX, GOFER_TARGET_MAX,
                          head + GOFER_WALK_MAX * entry + GOFER_TARGET_MAX));
    cr_expect_not(reply_valid(0, 1, 3, head + entry));
    cr_expect_not(reply_valid(0, GOFER_WALK_MAX + 1, 0, head + (GOFER_WALK_MAX + 1) * entry));
    cr_expect_not(reply_valid(0, 0, GOFER_TARGET_MAX + 1, head + GOFER_TARGET_MAX + 1));
    cr_expect_not(reply_valid(1, 0, 0, head));
    cr_expect_not(reply_valid(-4096, 0, 0, head));
    cr_expect_not(reply_valid(0, 0, 0, 3));
}
