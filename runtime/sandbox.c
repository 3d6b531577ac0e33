/*
 * Making a sandbox, in an order in which each step needs what the next one takes away:
 *
 *   log, descriptors    host paths can still be opened; stdio leaves the low numbers
 *   gofer               a fork while the process is small and single-threaded
 *   platform            /dev/kvm, the stub that is forked for ptrace
 *   privileges          dropped before the first thread, since Linux keeps them per thread
 *   kernel              the Sentry's threads start
 *   jail                from here on only calls of host/calls.def
 *   files               what the gofers show, and what an earlier sandbox kept, is wired together
 *   the program         parsed, loaded and run inside the jail
 */
#include "runtime/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "gofer/gofer.h"
#include "host/message.h"
#include "host/io.h"
#include "host/jail.h"
#include "host/jobs.h"
#include "host/path.h"
#include "host/process.h"
#include "loader/vdso.h"
#include "runtime/changes.h"
#include "runtime/forward.h"
#include "runtime/network.h"
#include "runtime/platforms.h"
#include "runtime/program.h"
#include "runtime/stats.h"
#include "runtime/tree.h"
#include "runtime/version.h"
#include "sentry/fs/hostio.h"
#include "sentry/fs/loop/loop.h"
#include "sentry/kernel/kernel.h"
#include "sentry/mm/mm.h"
#include "sentry/syscalls/table.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

#define LOG_FD_MIN  64
#define HANDLES_MIN 16U
#define HANDLES_MAX 2048U

struct sandbox {
    const struct options *options;
    int gofer_socket;
    int store_socket; /* to the gofer of what is kept */
    int stdio[3];
    int diff_fd;              /* where --diff goes */
    char stdio_names[3][256]; /* what the host calls them; "" when it does not tell */
    const struct platform_ops *ops;
    struct mm_env env;
    struct vdso vdso;
    struct vdso plain_vdso; /* for time namespaces */
    struct tree tree;
    struct strace_filter strace;
    struct kernel *kernel;
    uint64_t ignored_signals;
    pid_t host_group;
    uint32_t umask;
    uint64_t memory;  /* bytes of guest memory there can be */
    uint32_t handles; /* host files that may stay open for the next open */
    bool is_job;      /* of a shell's, that would continue it */
    struct host_ids ids;
    bool search_all; /* root: the gofer can look at everything, so we judge */
    char hostname[65];
    char cwd[PATH_MAX];
    struct rlimit64 limits[RLIM_NLIMITS];
};

/* One line for a step that failed. */
static int failed(const char *what, int err)
{
    log_error("%s: %s", what, strerror(-err));
    return err;
}

static int setup_log(const struct options *o)
{
    int fd;

    log_setup(2, o->log_level);
    fd = o->log_file ? host_open_log(o->log_file) : 2;
    if (fd < 0)
        return failed(o->log_file, fd);
    /* A number of its own: the program may close its stderr. Without any stderr there is no log. */
    log_setup(host_dup_above(fd, LOG_FD_MIN), o->log_level);
    if (o->log_file)
        host_close(fd);
    return 0;
}

static int open_diff(struct sandbox *s)
{
    const char *name = s->options->diff;
    int fd;

    if (!name)
        return 0;
    fd = strcmp(name, "-") != 0 ? host_open_list(name) : 2;
    if (fd < 0)
        return failed(name, fd);
    s->diff_fd = host_dup_above(fd, LOG_FD_MIN);
    if (fd != 2)
        host_close(fd);
    return MIN(s->diff_fd, 0);
}

/* Held until the sandbox ends, however it does. */
static int lock_store(const struct options *o)
{
    int fd = o->store ? host_lock_folder(o->store) : 0;

    if (fd == -EWOULDBLOCK)
        log_error("--overlay=dir:%s: another sandbox keeps its changes there", o->store);
    else if (fd < 0)
        log_error("--overlay=dir:%s: %s", o->store, strerror(-fd));
    return MIN(fd, 0);
}

/* As much guest memory as the machine has, in whole huge pages. */
static uint64_t memory_limit(void)
{
    uint64_t total = round_down(host_total_memory(), HUGE_PAGE_SIZE);

    return total ? total : 1UL << 30;
}

/* A quarter of what the process may have is kept for files that nobody has open. */
static uint32_t handle_limit(void)
{
    struct rlimit64 limit;

    if (host_get_rlimit(RLIMIT_NOFILE, &limit) < 0)
        return HANDLES_MIN;
    return (uint32_t)MAX(HANDLES_MIN, MIN(limit.rlim_cur / 4, HANDLES_MAX));
}

/* What is asked of the host once, while that is still possible. */
static int ask_host(struct sandbox *s)
{
    int err;

    host_get_ids(&s->ids);
    s->search_all = s->ids.euid == 0 && jail_has_capability(CAP_DAC_READ_SEARCH);
    s->host_group = host_process_group();
    s->is_job = host_is_job();
    host_get_hostname(s->hostname, sizeof(s->hostname));
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        err = host_get_rlimit(i, &s->limits[i]);
        if (err)
            return failed("resource limits", err);
    }
    /* Each host file that the program has open is a descriptor of ours, besides our own. */
    host_raise_rlimit(RLIMIT_NOFILE);
    s->handles = handle_limit();
    s->memory = memory_limit();
    s->umask = host_get_umask();
    if (s->options->cwd) {
        snprintf(s->cwd, sizeof(s->cwd), "%s", s->options->cwd);
        return 0;
    }
    err = s->options->rootfs ? -ENOENT : host_getcwd(s->cwd, sizeof(s->cwd));
    /* A deleted or unreachable working directory is no reason not to run. */
    if (err || s->cwd[0] != '/')
        snprintf(s->cwd, sizeof(s->cwd), "/");
    return 0;
}

static int start_gofer(const struct gofer_config *config, int *ret_socket)
{
    int fds[2], err;
    pid_t pid;

    err = host_seqpacket_pair(fds);
    if (err)
        return failed("gofer: socket", err);
    pid = host_fork_apart();
    if (pid < 0)
        return failed("gofer: fork", pid);
    if (pid == 0)
        host_exit(gofer_main(fds[1], config));
    host_close(fds[1]);
    *ret_socket = fds[0];
    return 0;
}

/* One for the tree, and one for each folder that is shared. */
static int start_gofers(struct sandbox *s)
{
    const struct gofer_config tree = {.root = s->options->rootfs, .search_all = s->search_all};
    const struct gofer_config store = {.root = s->options->store, .share = true, .writable = true};
    int err;

    host_message_setup();
    err = start_gofer(&tree, &s->gofer_socket);
    if (!err && store.root)
        err = start_gofer(&store, &s->store_socket);
    for (size_t i = 0; i < s->options->bind_count && !err; i++) {
        struct option_bind *bind = &s->options->binds[i];
        const struct gofer_config share = {.root = bind->host,
                                           .share = true,
                                           .writable = !bind->read_only,
                                           .connects = s->options->host_uds};

        err = start_gofer(&share, &bind->socket);
    }
    return err;
}

/* While /proc can still be read. */
static void name_stdio(struct sandbox *s)
{
    for (int fd = 0; fd <= 2; fd++) {
        char *name = s->stdio_names[fd];

        if (s->stdio[fd] < 0 || host_fd_name(s->stdio[fd], name, sizeof(s->stdio_names[fd])) < 0)
            name[0] = '\0';
    }
}

static int start_platform(struct sandbox *s)
{
    int err;

    err = memfile_create(s->memory, &s->env.memfile);
    if (err)
        return failed("guest memory", err);
    s->env.platform = platform_choose(s->options->platform, s->env.memfile);
    if (!s->env.platform)
        return -ENODEV;
    s->ops = s->env.platform->ops;
    if (s->ops->set_exitless)
        s->ops->set_exitless(s->env.platform, s->options->exitless);
    s->ops->limits(s->env.platform, &s->env.limits);
    return 0;
}

static int start_tree(struct sandbox *s)
{
    struct tree_config config = {
        .gofer_socket = s->gofer_socket,
        .memfile = s->env.memfile,
        .cwd = s->cwd,
        .umask = s->umask,
        .cpu_count = kernel_cpu_count(s->kernel),
        .host_group = s->host_group,
        .uid = s->ids.euid,
        .gid = s->ids.egid,
        .memory = s->memory,
        .overlay = s->options->overlay,
        .store_socket = s->store_socket,
        .store = s->options->store,
        .read_only = s->options->read_only,
        .tmpfs = s->options->tmpfs,
        .tmpfs_count = s->options->tmpfs_count,
        .exclusive = s->options->exclusive,
        .checks_modes = s->search_all,
        .handles = s->handles,
        .binds = s->options->binds,
        .bind_count = s->options->bind_count,
    };
    int err;

    memcpy(config.stdio, s->stdio, sizeof(config.stdio));
    for (int fd = 0; fd <= 2; fd++)
        config.stdio_names[fd] = s->stdio_names[fd];
    err = tree_create(&config, &s->tree);
    return err ? failed(s->cwd, err) : 0;
}

static int start_kernel(struct sandbox *s)
{
    struct kernel_config config = {
        .mm_env = &s->env,
        .table = &syscall_table,
        .strace = &s->strace,
        .vdso = &s->vdso,
        .plain_vdso = &s->plain_vdso,
        .timepage = NULL,
        .release = KVMSENTRY_UNAME_RELEASE,
        .version = KVMSENTRY_UNAME_VERSION,
        .hostname = s->hostname,
        .no_fastpath = s->options->no_fastpath,
        .stop_sandbox = host_stop_self,
        .caller_controls_jobs = s->is_job,
    };
    int err;

    err = vdso_create(s->env.memfile, &s->vdso);
    if (!err)
        err = vdso_create(s->env.memfile, &s->plain_vdso);
    if (err)
        return failed("vDSO", err);
    config.timepage = s->vdso.timepage;
    err = hostpoll_start();
    if (err)
        return failed("polling thread", err);
    err = kernel_create(&config, &s->kernel);
    if (err)
        return failed("kernel", err);
    err = network_run(s->options);
    if (err)
        return failed("network", err);
    return forward_start(s->kernel);
}

static int close_jail(struct sandbox *s)
{
    struct jail_request request = {.roles = JAIL_SENTRY | network_roles(s->options) |
                                            (s->options->host_uds ? JAIL_UDS : 0)};
    int err;

    s->ops->jail(s->env.platform, &request);
    err = jail_enter(&request);
    return err ? failed("jail", err) : 0;
}

static int make(struct sandbox *s)
{
    char bad[32];
    int err;

    if (s->options->strace &&
        strace_filter_parse(&syscall_table, s->options->strace_names, &s->strace, bad) < 0) {
        log_error("--strace: no system call is named %s", bad);
        return -EINVAL;
    }
    /* First: a pipe or socket of ours must not get the number of a closed standard descriptor. */
    err = host_stdio_detach(s->stdio);
    if (err)
        return failed("standard descriptors", err);
    err = lock_store(s->options);
    if (!err)
        err = ask_host(s);
    /* Before the gofer is forked: a ^C at the terminal is for the guest, not for one of us. */
    s->ignored_signals = forward_block();
    if (!err)
        err = start_gofers(s);
    if (!err)
        err = start_platform(s);
    if (err)
        return err;
    name_stdio(s);
    err = network_start(s->options);
    if (err)
        return err;
    jail_isolate();
    err = jail_drop_privileges();
    if (err)
        return failed("privileges", err);
    err = start_kernel(s);
    if (!err)
        err = close_jail(s);
    /* What the gofers say, and what an earlier sandbox kept, is read inside. */
    return err ? err : start_tree(s);
}

static int open_interpreter(void *arg, const char *path, struct file **ret)
{
    struct sandbox *s = arg;

    return tree_open_exec(&s->tree, path, ret);
}

/* 0 when the program runs, else an exit code. */
static int start_program(struct sandbox *s)
{
    const char *name = s->options->argv[0];
    const char **envp = program_environment(s->options->clear_env, s->options->env);
    struct kernel_init init = {
        .argv = (const char *const *)s->options->argv,
        .envp = envp,
        .files = s->tree.files,
        .fs = s->tree.fs,
        .limits = s->limits,
        .ignored_signals = s->ignored_signals,
        .tty = s->tree.tty,
        .open = open_interpreter,
        .open_arg = s,
    };
    char path[PATH_MAX], why[256] = "";
    int err;

    if (!envp) {
        log_error("out of memory");
        return EXIT_SANDBOX;
    }
    tree_uncover(&s->tree, name);
    err = program_open(s->tree.fs, name, envp, path, &init.exe);
    if (err == -ENOENT) {
        err = program_open(s->tree.host_fs, name, envp, path, &init.exe);
        if (!err)
            tree_adopt(&s->tree, init.exe);
    }
    if (err)
        return program_failed(name, err, err == -EACCES ? program_denied(s->tree.fs, path) : NULL);
    init.path = path;
    init.cred = cred_create(s->ids.euid, s->ids.egid, s->ids.groups, (uint32_t)s->ids.group_count);
    if (!init.cred) {
        log_error("out of memory");
        return EXIT_SANDBOX;
    }
    err = kernel_start_init(s->kernel, &init, why, sizeof(why));
    cred_unref(init.cred);
    file_unref(init.exe);
    return err ? program_failed(name, err, why) : 0;
}

static void stop_platform(struct sandbox *s)
{
    if (s->ops->stop)
        s->ops->stop(s->env.platform);
}

int sandbox_run(const struct options *options)
{
    static struct sandbox sandbox; /* one per process; threads keep pointers into it */
    struct sandbox *s = &sandbox;
    int status;

    s->options = options;
    /* One arena: the Sentry's threads allocate little, and each arena costs address space and RSS.
     */
    mallopt(M_ARENA_MAX, 1);
    if (setup_log(options) || open_diff(s) || make(s))
        return EXIT_SANDBOX;
    status = start_program(s);
    if (status) {
        stop_platform(s);
        host_exit(status);
    }
    status = kernel_wait_exit(s->kernel);
    network_finish(options);
    if (options->diff && s->tree.overlay) {
        int err = changes_write(s->tree.overlay, s->diff_fd);

        if (err < 0)
            failed(options->diff, err);
    }
    if (options->stats) {
        loop_forget();
        hostio_forget_maps(); /* what is left is a leak */
        stats_log(s->env.platform, s->env.memfile, s->kernel);
    }
    stop_platform(s);
    if (WIFSIGNALED(status))
        host_die_by_signal(WTERMSIG(status));
    host_exit(WEXITSTATUS(status));
}
