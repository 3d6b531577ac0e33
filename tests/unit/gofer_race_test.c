/*
 * A hostile neighbour on the host: while a gofer walks and opens, another process swaps folders for
 * symbolic links that lead out, moves folders out of the tree while they are walked, and puts FIFOs
 * where files were. Whatever the gofer answers, it never comes from outside, and it always answers.
 */
#include <errno.h>
#include <sys/stat.h>

#include "host/gofer_protocol.h"
#include "host/message.h"
#include "tests/unit/gofer_make.h"

/* At least so many questions, then until each kind of answer has been seen. */
#define QUESTIONS     3000
#define QUESTIONS_MAX 2000000

static void race(void)
{
    exchange("tree/a", "tree/out");             /* a folder, and a link to ../outside */
    exchange("tree/a", "tree/out");             /* and back */
    rename("tree/a/b", "outside/moved");        /* from under a walk */
    rename("outside/moved", "tree/a/b");        /* and back */
    exchange("tree/a/b/file", "tree/fifo");     /* nobody opens its other end */
    exchange("tree/a/b/file", "tree/fifo");     /* and back */
    exchange("tree/a/b/file", "tree/absolute"); /* a link to a file outside */
    exchange("tree/a/b/file", "tree/absolute"); /* and back */
}

static void make_tree(void)
{
    char outside[64];

    enter_folder();
    mkdir("tree", 0755);
    mkdir("tree/a", 0755);
    mkdir("tree/a/b", 0755);
    mkdir("outside", 0755);
    mkdir("outside/b", 0755);
    put_file("tree/a/b/file", "inside");
    put_file("outside/b/file", "outside");
    snprintf(outside, sizeof(outside), "%s/outside/b/file", base);
    cr_assert_eq(symlink("../outside", "tree/out"), 0);
    cr_assert_eq(symlink(outside, "tree/absolute"), 0);
    cr_assert_eq(mkfifo("tree/fifo", 0644), 0);
}

static void setup(void)
{
    make_tree();
    start_server(&(struct gofer_config){.root = "tree"});
    start_racer(race);
}

static void teardown(void)
{
    end_racer();
    cr_expect_eq(end_server(), 0);
}

static struct gofer_reply reply;

/* The reply's error; what was donated in ret_fds, ret_count of them. */
static int ask(enum gofer_op op, const char *path, uint32_t skip, uint32_t mode, int *ret_fds,
               int *ret_count)
{
    struct gofer_request_head head = {
        .op = op, .skip = skip, .mode = mode, .path_size = (uint32_t)strlen(path)};
    struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)path, strlen(path)}};
    ssize_t n;

    cr_assert_eq(host_send_message(to_server, iov, 2, -1), 0);
    n = host_receive_passing(to_server, &reply, sizeof(reply), GOFER_WALK_MAX, ret_fds, ret_count);
    cr_assert(n > 0, "the gofer is gone: %zd", n);
    cr_assert(gofer_reply_valid(&reply, (size_t)n, op));
    cr_assert_eq(gofer_reply_passed(&reply, op, mode), (uint32_t)*ret_count);
    return reply.head.error;
}

/* What an open file says is always what is in the tree. */
static void check_opened(int fd)
{
    char text[16] = "";
    struct stat st;

    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert(S_ISREG(st.st_mode));
    cr_assert_geq(read(fd, text, sizeof(text) - 1), 0);
    cr_assert_str_eq(text, "inside");
}

/* The objects that are outside, whatever they are called just now. */
static ino_t outside_folder, outside_file;

static void check_walked(const int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        struct stat st;

        cr_assert_eq(fstat(fds[i], &st), 0);
        cr_assert_eq(st.st_ino, reply.entries[i].stat.st_ino);
        cr_assert_neq(st.st_ino, outside_folder);
        cr_assert_neq(st.st_ino, outside_file);
    }
}

static ino_t number_of(const char *name)
{
    struct stat st;

    cr_assert_eq(stat(name, &st), 0);
    return st.st_ino;
}

TestSuite(gofer_race, .init = setup, .fini = teardown, .timeout = 60);

Test(gofer_race, nothing_leads_out)
{
    bool opened = false, refused = false, found = false, link_found = false;

    outside_folder = number_of("outside/b");
    outside_file = number_of("outside/b/file");
    for (int i = 0; i < QUESTIONS || !(opened && refused && found && link_found); i++) {
        int fds[GOFER_WALK_MAX], count, err;

        cr_assert_lt(i, QUESTIONS_MAX, "the race never showed");
        err = ask(GOFER_OPEN, "a/b/file", 0, 0, fds, &count);
        opened = opened || !err;
        refused = refused || err;
        if (!err)
            check_opened(fds[0]);
        for (int k = 0; k < count; k++)
            close(fds[k]);
        ask(GOFER_WALK, "a/b/file", (uint32_t)i % 3,
            GOFER_WALK_DONATE | ((uint32_t)i & (GOFER_WALK_OPEN | GOFER_WALK_SIBLINGS)), fds,
            &count);
        check_walked(fds, count);
        found = found || count == 3;
        link_found = link_found || reply.head.target_size > 0;
        for (int k = 0; k < count; k++)
            close(fds[k]);
    }
}
