/*
 * The seccomp filter, built from calls.def through libseccomp. Whatever has no row kills the whole
 * process with SIGSYS: a call that nobody listed is either an escape or a bug of ours, and neither
 * may go on.
 */
#include "host/jail.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/if.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <linux/stat.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "host/socket.h"
#include "host/sockopt_names.h"
#include "host/ptrace.h"

struct filter {
    scmp_filter_ctx ctx;
    uint32_t roles;
    int err; /* the first error; later rows are skipped */
};

/* "SCMP_A1(SCMP_CMP_EQ, F_GETFL)" reads as "A1(EQ, F_GETFL)". */
static void shorten_rule(const char *rule, char *buf, size_t size)
{
    static const char *const noise[] = {"SCMP_CMP_", "SCMP_"};
    size_t at = 0;

    while (*rule && at + 1 < size) {
        size_t skip = 0;

        for (size_t i = 0; i < ARRAY_COUNT(noise) && !skip; i++) {
            if (strncmp(rule, noise[i], strlen(noise[i])) == 0)
                skip = strlen(noise[i]);
        }
        if (skip)
            rule += skip;
        else
            buf[at++] = *rule++;
    }
    buf[at] = '\0';
}

static void log_rule(uint32_t action, const char *name, const char *why, const char *rule)
{
    char text[256];

    if (!log_enabled(LEVEL_DEBUG))
        return;
    shorten_rule(rule, text, sizeof(text));
    log_debug("jail: %s %s%s%s: %s", action == SCMP_ACT_ALLOW ? "allow" : "refuse", name,
              *text ? " if " : "", text, why);
}

static void add_rule(struct filter *f, uint32_t who, uint32_t action, int nr, const char *name,
                     const char *why, const char *rule, unsigned count,
                     const struct scmp_arg_cmp *args)
{
    int err;

    if (!(who & f->roles) || f->err < 0)
        return;
    err = seccomp_rule_add_array(f->ctx, action, nr, count, args);
    /* Two roles may ask for the same thing. */
    if (err < 0 && err != -EEXIST) {
        log_error("jail: rule for %s: %s", name, strerror(-err));
        f->err = err;
        return;
    }
    log_rule(action, name, why, rule);
}

#define CALL(who, name, why) add_rule(f, who, SCMP_ACT_ALLOW, __NR_##name, #name, why, "", 0, NULL);
#define CALL_IF(who, name, why, ...)                                                               \
    add_rule(f, who, SCMP_ACT_ALLOW, __NR_##name, #name, why, #__VA_ARGS__,                        \
             sizeof((struct scmp_arg_cmp[]){__VA_ARGS__}) / sizeof(struct scmp_arg_cmp),           \
             (struct scmp_arg_cmp[]){__VA_ARGS__});
#define REFUSE(who, name, why, error)                                                              \
    add_rule(f, who, SCMP_ACT_ERRNO(error), __NR_##name, #name, why, "", 0, NULL);

/* `self` is named by rows: the process id of the jailed process. */
static void add_rules(struct filter *f, uint64_t self)
{
#include "host/calls.def"
#if SANITIZED
#include "host/calls_sanitizers.def"
#endif
}

static int set_attributes(scmp_filter_ctx ctx)
{
    int err;

    err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (err < 0)
        return err;
    err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (err < 0)
        return err;
    /* A binary tree over the numbers: calls with arguments to check are as near as the others. */
    return seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

int jail_enter(const struct jail_request *req)
{
    struct filter filter = {.roles = req->roles};
    int err;

    err = jail_drop_privileges();
    if (err < 0)
        return err;
    filter.ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter.ctx)
        return -ENOMEM;
    err = set_attributes(filter.ctx);
    if (!err) {
        add_rules(&filter, (uint64_t)getpid());
        err = filter.err;
    }
    if (!err)
        err = seccomp_load(filter.ctx);
    seccomp_release(filter.ctx);
    return err < 0 ? err : 0;
}
