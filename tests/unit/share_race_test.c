/*
 * A hostile neighbour on the host, as in gofer_race_test.c, of a share that changes its folder:
 * while names are looked up, made, renamed and removed, another process swaps folders for links
 * that lead out, and moves folders out and back. Whatever the share is told to do, nothing outside
 * changes, and what it donates lay inside.
 */
#include <errno.h>
#include <sys/stat.h>

#include "tests/unit/share_make.h"

#define ROUNDS     1000
#define ROUNDS_MAX 400000

static void race(void)
{
    exchange("tree/a", "tree/out"); /* a folder, and a link to ../outside */
    exchange("tree/a", "tree/out");
    exchange("tree/file", "tree/absolute"); /* a file, and a link to one outside */
    exchange("tree/file", "tree/absolute");
    exchange("tree/file", "tree/fifo"); /* nobody opens its other end */
    exchange("tree/file", "tree/fifo");
}

static void setup(void)
{
    struct gofer_config config = {.root = "tree", .share = true, .writable = true};
    char outside[64];

    enter_folder();
    mkdir("tree", 0755);
    mkdir("tree/a", 0755);
    mkdir("outside", 0755);
    put_file("tree/a/file", "inside");
    put_file("tree/file", "inside");
    put_file("outside/file", "outside");
    snprintf(outside, sizeof(outside), "%s/outside/file", base);
    cr_assert_eq(symlink("../outside", "tree/out"), 0);
    cr_assert_eq(symlink(outside, "tree/absolute"), 0);
    cr_assert_eq(mkfifo("tree/fifo", 0644), 0);
    cr_assert_eq(chmod("outside/file", 0444), 0);
    start_server(&config);
    start_racer(race);
}

static void teardown(void)
{
    end_racer();
    cr_expect_eq(end_server(), 0);
}

/* The handle of `name`, 0 when it has none. */
static uint32_t look_up(uint32_t dir, const char *name)
{
    int fd;

    if (ask((struct share_request_head){.op = SHARE_LOOKUP, .handle = dir}, name, "", &fd) < 0)
        return 0;
    return reply.head.handle;
}

static void forget(uint32_t handle)
{
    int fd;

    if (handle)
        cr_assert_eq(
            ask((struct share_request_head){.op = SHARE_FORGET, .handle = handle}, "", "", &fd), 0);
}

static struct stat outside_file, outside_folder;

static void check_outside(void)
{
    struct stat file, folder;

    cr_assert(stat("outside/file", &file) == 0 && stat("outside", &folder) == 0);
    cr_assert_eq(file.st_size, 7);
    cr_assert_eq(file.st_mode, outside_file.st_mode);
    cr_assert_eq(file.st_nlink, 1);
    cr_assert_eq(file.st_mtim.tv_nsec, outside_file.st_mtim.tv_nsec);
    cr_assert_eq(file.st_ctim.tv_nsec, outside_file.st_ctim.tv_nsec);
    cr_assert_eq(folder.st_mtim.tv_nsec, outside_folder.st_mtim.tv_nsec);
    cr_assert_eq(folder.st_ctim.tv_nsec, outside_folder.st_ctim.tv_nsec);
}

/* Looks `name` up, whatever it is just now, and does to it all that can be done to an object. */
static void change_object(const char *name, bool *ret_opened, bool *ret_link)
{
    uint32_t handle = look_up(SHARE_ROOT, name);
    const bool link = handle && S_ISLNK(reply.head.stat.st_mode);
    struct stat st;
    int fd = -1;

    if (!handle)
        return;
    *ret_link |= link;
    cr_assert_neq(reply.head.stat.st_ino, outside_file.st_ino);
    cr_assert_neq(reply.head.stat.st_ino, outside_folder.st_ino);
    if (ask((struct share_request_head){.op = SHARE_OPEN, .handle = handle, .flags = O_RDWR}, "",
            "", &fd) == 0) {
        cr_assert_eq(fstat(fd, &st), 0);
        cr_assert(!link && S_ISREG(st.st_mode) && st.st_ino != outside_file.st_ino);
        *ret_opened = true;
    }
    if (fd >= 0)
        close(fd);
    ask((struct share_request_head){.op = SHARE_SETATTR,
                                    .handle = handle,
                                    .mask = SHARE_ATTR_MODE | SHARE_ATTR_SIZE | SHARE_ATTR_MTIME,
                                    .mode = 0640,
                                    .size = 3},
        "", "", &fd);
    ask((struct share_request_head){.op = SHARE_SETXATTR, .handle = handle}, "user.x", "1", &fd);
    if (ask((struct share_request_head){.op = SHARE_LINK, .handle = handle}, "linked", "", &fd) ==
        0)
        ask((struct share_request_head){.op = SHARE_REMOVE}, "linked", "", &fd);
    forget(handle);
}

/* And all that can be done to the names of a folder. */
static void change_names(const char *name, bool *ret_made)
{
    uint32_t dir = look_up(SHARE_ROOT, name), made = 0;
    int fd;

    if (!dir)
        return;
    if (ask((struct share_request_head){.op = SHARE_MAKE, .handle = dir, .mode = S_IFREG | 0600},
            "made", "", &fd) == 0) {
        *ret_made = true;
        made = reply.head.handle;
    }
    ask((struct share_request_head){.op = SHARE_RENAME, .handle = dir, .handle2 = dir}, "file",
        "renamed", &fd);
    ask((struct share_request_head){.op = SHARE_RENAME, .handle = dir, .handle2 = dir}, "renamed",
        "file", &fd);
    ask((struct share_request_head){.op = SHARE_REMOVE, .handle = dir}, "made", "", &fd);
    ask((struct share_request_head){.op = SHARE_MAKE, .handle = dir, .mode = S_IFLNK | 0777},
        "pointer", "file", &fd);
    if (reply.head.error == 0)
        forget(reply.head.handle);
    ask((struct share_request_head){.op = SHARE_REMOVE, .handle = dir}, "pointer", "", &fd);
    forget(made);
    forget(dir);
}

TestSuite(share_race, .init = setup, .fini = teardown, .timeout = 60);

Test(share_race, nothing_outside_changes)
{
    bool opened = false, link = false, made = false;

    cr_assert(stat("outside/file", &outside_file) == 0 && stat("outside", &outside_folder) == 0);
    for (int i = 0; i < ROUNDS || !(opened && link && made); i++) {
        cr_assert_lt(i, ROUNDS_MAX, "the race never showed");
        change_object(i % 2 ? "file" : "absolute", &opened, &link);
        change_names(i % 2 ? "a" : "out", &made);
        if (i % 16 == 0)
            check_outside();
    }
    check_outside();
}
