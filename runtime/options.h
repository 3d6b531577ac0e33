/*
 * The command line: `kvmsentry [OPTION...] [run] PROG [ARG...]`, `kvmsentry doctor` and
 * `kvmsentry diff [--json] PATH`.
 */
#ifndef RUNTIME_OPTIONS_H
#define RUNTIME_OPTIONS_H

#include "base/log.h"
#include "platform/platform.h"

/* Exit codes of kvmsentry itself, as env(1) and `docker run` use them. */
#define EXIT_SANDBOX   125 /* the sandbox could not be set up, or wrong options */
#define EXIT_NOT_EXEC  126 /* the program was found but cannot be executed */
#define EXIT_NOT_FOUND 127

/* --tmpfs PATH[:size=BYTES] */
struct option_tmpfs {
    const char *path;
    uint64_t size; /* bytes; 0: half of the memory */
};

/* --bind HOST:GUEST[:ro] */
struct option_bind {
    const char *host, *guest;
    bool read_only;
    int socket; /* to its gofer, once that runs */
};

/* --network: what there is beside a loopback of the sandbox's own */
enum network { NETWORK_NONE, NETWORK_HOST, NETWORK_SANDBOX };

/* --network=sandbox,dev=NAME[,address=ADDR/BITS]...[,gateway=ADDR]... */
#define OPTION_ADDRESSES_MAX 6
struct option_device {
    const char *name;
    const char *addresses[OPTION_ADDRESSES_MAX]; /* none: the device's own */
    size_t address_count;
    const char *gateways[2];
    size_t gateway_count;
    bool raw; /* --net-raw */
};

enum command { COMMAND_RUN, COMMAND_DOCTOR, COMMAND_DIFF };

struct options {
    enum command command;
    const char *platform; /* "auto", "kvm", "ptrace" */
    enum exitless_mode exitless;
    bool strace;
    const char *strace_names; /* comma-separated, or NULL for all calls */
    const char *log_file;     /* NULL: stderr */
    enum log_level log_level;
    bool overlay;       /* what the program writes into the host's tree is kept: in memory ... */
    const char *store;  /* ... or in this folder of the host's; NULL */
    bool read_only;     /* the tree cannot be written, but for its tmpfs mounts */
    const char *rootfs; /* the host's folder that is the program's "/"; NULL: the host's own */
    const char *diff;   /* where the list of what was changed goes when the program ends; NULL */
    struct option_tmpfs *tmpfs; /* owned; tmpfs_count of them */
    size_t tmpfs_count;
    bool exclusive;            /* --file-access: nobody else changes the host's tree */
    struct option_bind *binds; /* owned; bind_count of them */
    size_t bind_count;
    enum network network;
    bool host_uds;               /* sockets in bind mounts lead outside */
    struct option_device device; /* of NETWORK_SANDBOX */
    const char *cwd;             /* NULL: the caller's */
    bool clear_env;              /* start from an empty environment */
    bool stats;                  /* print counters at the end (bench) */
    bool no_fastpath;            /* every call goes to the Sentry (bench) */
    const char **env;            /* NAME=VALUE additions, NULL-terminated */
    bool json;                   /* of `diff` */
    char *const *argv; /* `diff`: one word, the folder. Else the program and its arguments,
                          NULL-terminated */
};

/* Never returns on --help, --version and wrong options. */
void options_parse(int argc, char **argv, struct options *ret_options);

#endif
