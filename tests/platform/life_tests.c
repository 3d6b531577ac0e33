/*
 * How a sandbox ends. A child process plays it; SIGKILL comes at any moment of its life. The test
 * is the reaper of whatever the child leaves behind, so nothing can hide: when the child is dead,
 * every other descendant must follow within moments.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/platform/harness.h"

#define KILLS    100
#define GRACE_MS 3000
#define LIFE_US  12000 /* what the child needs to have all of its parts running */
#define MEMBERS  3

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void *spin_guest(void *arg)
{
    struct space *s = arg;
    struct context *ctx = context_at(s->w, guest_count);
    struct trap_info info;

    for (;;) {
        if (s->w->ops->ctx_switch(ctx, s->as, &info) == TRAP_KILLED)
            _exit(3);
    }
    return NULL;
}

/* Two address spaces, guests in both, another one that computes: until the kill. */
static void play_sandbox(const struct platform_ops *ops)
{
    struct world w;
    struct space s[2];
    pthread_t thread;

    world_create(&w, ops);
    space_make(&w, &s[0]);
    space_make(&w, &s[1]);
    for (size_t i = 0; i < MEMBERS; i++) {
        if (pthread_create(&thread, NULL, spin_guest, &s[i % 2]) != 0)
            _exit(4);
    }
    for (;;) {
        struct space more;

        space_make(&w, &more);
        space_free(&more);
    }
}

/* True when no descendant is left. __WNOTHREAD: the platform under test has children as well, but
 * those are its own threads', while orphans come to the main thread. */
static bool all_gone(void)
{
    for (int waited = 0; waited < GRACE_MS; waited++) {
        pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL | __WNOTHREAD);

        if (pid < 0 && errno == ECHILD)
            return true;
        if (pid == 0)
            sleep_us(1000);
    }
    return false;
}

static bool kill_any_moment(struct world *w)
{
    int status;

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "subreaper");
    srandom(1);
    for (int i = 0; i < KILLS; i++) {
        pid_t pid = fork();

        CHECK(pid >= 0, "fork");
        if (pid == 0) {
            alarm(20);
            play_sandbox(w->ops);
        }
        sleep_us(random() % LIFE_US);
        CHECK(kill(pid, SIGKILL) == 0, "kill");
        CHECK(waitpid(pid, &status, 0) == pid, "wait");
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
        CHECK(all_gone(), "something is left after kill %d", i);
    }
    return true;
}

static void stop_sandbox(const struct platform_ops *ops)
{
    struct trap_info info;
    struct world w;
    struct space s[2];
    pthread_t thread;

    world_create(&w, ops);
    space_make(&w, &s[0]);
    space_make(&w, &s[1]);
    for (size_t i = 0; i < MEMBERS; i++) {
        if (pthread_create(&thread, NULL, spin_guest, &s[i % 2]) != 0)
            _exit(4);
    }
    /* one that stands, its thread being here */
    ops->ctx_switch(context_at(&w, guest_count), s[0].as, &info);
    sleep_us(random() % LIFE_US);
    if (ops->stop)
        ops->stop(w.p);
    _exit(0);
}

/* An orderly end with guests still running: nothing is left for anybody to reap, not even dead. */
static bool stop_running(struct world *w)
{
    int status;

    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "subreaper");
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        CHECK(pid >= 0, "fork");
        if (pid == 0) {
            alarm(20);
            stop_sandbox(w->ops);
        }
        CHECK(waitpid(pid, &status, 0) == pid, "wait");
        CHECK(status == 0, "status %x", (unsigned int)status);
        CHECK(waitpid(-1, NULL, WNOHANG | __WALL | __WNOTHREAD) < 0 && errno == ECHILD,
              "something is left after round %d", i);
    }
    return true;
}

/* Created and destroyed in order: nothing is left either, and no descriptor. */
static bool create_destroy(struct world *w)
{
    int before = dup(0);

    CHECK(before >= 0, "dup");
    close(before);
    for (int i = 0; i < 10; i++) {
        struct platform_report report;
        struct context *ctx;
        struct trap_info info;
        struct world other;
        struct space s;

        w->ops->probe(&report);
        CHECK(report.usable, "%s", report.why_not);
        world_create(&other, w->ops);
        space_make(&other, &s);
        ctx = context_at(&other, guest_syscall);
        CHECK(w->ops->ctx_switch(ctx, s.as, &info) == TRAP_SYSCALL, "run");
        w->ops->ctx_destroy(ctx);
        space_free(&s);
        world_destroy(&other);
    }
    CHECK(dup(0) == before, "a descriptor was left open");
    close(before);
    return true;
}

const struct test life_tests[] = {
    {"create_destroy", create_destroy},
    {"stop_running", stop_running},
    {"kill_any_moment", kill_any_moment},
    {NULL, NULL},
};
