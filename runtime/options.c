/*
 * The command line, on glibc's argp: one table is parser, --help and --usage. Parsing stops at the
 * first word that is no option (ARGP_IN_ORDER), so the program keeps its own options.
 */
#include "runtime/options.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/version.h"

enum {
    KEY_PLATFORM = 0x100,
    KEY_EXITLESS,
    KEY_STRACE,
    KEY_LOG,
    KEY_LOG_LEVEL,
    KEY_ENV,
    KEY_CLEAR_ENV,
    KEY_CWD,
    KEY_STATS,
    KEY_NO_FASTPATH,
    KEY_OVERLAY,
    KEY_ROOTFS,
    KEY_READ_ONLY,
    KEY_TMPFS,
    KEY_BIND,
    KEY_DIFF,
    KEY_FILE_ACCESS,
    KEY_NETWORK,
    KEY_HOST_UDS,
    KEY_NET_RAW,
};

static const struct argp_option option_table[] = {
    {"platform", KEY_PLATFORM, "auto|kvm|ptrace", 0,
     "What runs the program: kvm (needs a usable /dev/kvm), ptrace (works anywhere), or auto, the "
     "fastest that really works on this host (the default)",
     1},
    {"exitless", KEY_EXITLESS, "auto|never|always", 0,
     "Whether a second processor may serve a program's system calls while the program waits inside "
     "the virtual machine, or the stub: auto (the default), while they come fast and processors "
     "are free; never; or always. Only where leaving it is dear: a KVM in software, and ptrace",
     1},
    {"env", KEY_ENV, "NAME=VALUE", 0,
     "Set an environment variable of the program; may be repeated. The caller's environment is "
     "passed on unless --clear-env is given",
     2},
    {"clear-env", KEY_CLEAR_ENV, NULL, 0, "Start from an empty environment", 2},
    {"cwd", KEY_CWD, "DIR", 0, "The program's working directory (default: the caller's)", 2},
    {"overlay", KEY_OVERLAY, "memory|dir:PATH|none", 0,
     "Where what the program changes in the host's tree is kept: in memory, until the program ends "
     "(the default); in the host's folder PATH, which is made if it is not there, for the next "
     "sandbox that gets the same PATH; or nowhere, which makes the tree read-only",
     3},
    {"rootfs", KEY_ROOTFS, "DIR", 0,
     "The program's tree is the host's folder DIR instead of the host's root", 3},
    {"read-only", KEY_READ_ONLY, NULL, 0,
     "Nothing can be changed but in /tmp, /var/tmp, /dev/shm, /run and what --tmpfs and --bind add",
     3},
    {"tmpfs", KEY_TMPFS, "PATH[:size=BYTES[k|m|g]]", 0,
     "An empty tree in memory at PATH, which is made if it is not there; may be repeated", 3},
    {"bind", KEY_BIND, "HOST:GUEST[:ro]", 0,
     "The host's folder HOST, changed by both sides, at GUEST, which is made if it is not there; "
     "with ro the program can only read it. May be repeated",
     3},
    {"diff", KEY_DIFF, "FILE", 0,
     "When the program ends, list in FILE (- for standard error) what it changed in the host's "
     "tree, as it sees it: A added, M modified, D removed",
     3},
    {"file-access", KEY_FILE_ACCESS, "shared|exclusive", 0,
     "Whether others change the host's tree meanwhile. shared (the default): what is remembered of "
     "names and attributes is checked at each use, so that changes are seen at once, and file "
     "systems mounted meanwhile after 10 seconds; exclusive: changes may never be seen",
     3},
    {"host-uds", KEY_HOST_UDS, "none|open", 0,
     "open: programs may connect to sockets of the host that lie in folders of --bind; default "
     "none",
     0},
    {"network", KEY_NETWORK, "none|host|sandbox,dev=NAME", 0,
     "none (the default): a loopback of the sandbox's own, from which nothing gets out; host: the "
     "program's internet sockets are the host's, with its addresses and ports; sandbox: a TCP/IP "
     "stack of the sandbox's own on the network device NAME, whose addresses it takes over until "
     "the program ends, unless ,address=ADDR/BITS and ,gateway=ADDR give it others",
     3},
    {"net-raw", KEY_NET_RAW, NULL, 0,
     "With --network=sandbox, let raw sockets send and see packets of the device, as ping does", 3},
    {"strace", KEY_STRACE, "NAMES", OPTION_ARG_OPTIONAL,
     "Print each system call and its result to the log; with NAMES (comma-separated) only those",
     4},
    {"log", KEY_LOG, "FILE", 0, "Write the log to FILE instead of standard error", 4},
    {"log-level", KEY_LOG_LEVEL, "error|warning|info|debug", 0,
     "How much to log (default: warning). debug also prints each rule of the seccomp jail", 3},
    {"stats", KEY_STATS, NULL, 0,
     "When the program ends, print counters of the sandbox (guest exits, calls, faults, memory) "
     "to the log",
     5},
    {"no-fastpath", KEY_NO_FASTPATH, NULL, 0,
     "Send every system call to the Sentry, also those that the guest side could answer itself", 5},
    {0},
};

static const char doc[] =
    "Run a Linux x86-64 program on an application kernel of its own, apart from the host's.\v"
    "`kvmsentry doctor` tells what this host offers and which platform `auto` would take.\n"
    "`kvmsentry diff [--json] PATH` lists what is kept in the folder PATH of --overlay=dir:PATH: A "
    "added, M modified, D removed; the kind; the path. With --json one object a line.\n\n"
    "Exit status: the program's own; 128+N when it died by signal N and the signal cannot be "
    "passed on; 125 when kvmsentry itself failed; 126 when the program cannot be executed; 127 "
    "when it was not found.";

struct parse_state {
    struct options *options;
    size_t env_count;
};

static void add_env(struct argp_state *state, struct parse_state *parse, const char *value)
{
    const char **env;

    if (!strchr(value, '=') || value[0] == '=')
        argp_error(state, "--env=%s: not of the form NAME=VALUE", value);
    env = realloc(parse->options->env, (parse->env_count + 2) * sizeof(*env));
    if (!env)
        argp_failure(state, EXIT_SANDBOX, ENOMEM, "--env");
    env[parse->env_count++] = value;
    env[parse->env_count] = NULL;
    parse->options->env = env;
}

/* Bytes; 0: not a size. */
static uint64_t parse_size(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    static const char units[] = "kmg";
    const char *unit = *end ? strchr(units, *end | 0x20) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;

    if (end == text || *text == '-' || (unit ? end[1] : end[0]) || n > UINT64_MAX >> shift)
        return 0;
    return n << shift;
}

static void add_tmpfs(struct argp_state *state, struct options *o, char *arg)
{
    char *size = strstr(arg, ":size=");
    struct option_tmpfs *tmpfs;

    tmpfs = realloc(o->tmpfs, (o->tmpfs_count + 1) * sizeof(*tmpfs));
    if (!tmpfs)
        argp_failure(state, EXIT_SANDBOX, ENOMEM, "--tmpfs");
    o->tmpfs = tmpfs;
    tmpfs += o->tmpfs_count++;
    *tmpfs = (struct option_tmpfs){.path = arg};
    if (size) {
        tmpfs->size = parse_size(size + strlen(":size="));
        if (!tmpfs->size)
            argp_error(state, "--tmpfs=%s: not a size", arg);
        *size = '\0';
    }
    if (arg[0] != '/')
        argp_error(state, "--tmpfs=%s: not an absolute path", arg);
}

static void add_bind(struct argp_state *state, struct options *o, char *arg)
{
    char *guest = strchr(arg, ':'), *mode = guest ? strchr(guest + 1, ':') : NULL;
    struct option_bind *bind;

    if (!guest || guest == arg || guest[1] != '/' ||
        (mode && strcmp(mode, ":ro") != 0 && strcmp(mode, ":rw") != 0))
        argp_error(state, "--bind=%s: not of the form HOST:/GUEST or HOST:/GUEST:ro", arg);
    bind = realloc(o->binds, (o->bind_count + 1) * sizeof(*bind));
    if (!bind)
        argp_failure(state, EXIT_SANDBOX, ENOMEM, "--bind");
    o->binds = bind;
    bind += o->bind_count++;
    *bind = (struct option_bind){.host = arg, .guest = guest + 1};
    *guest = '\0';
    if (mode) {
        bind->read_only = strcmp(mode, ":ro") == 0;
        *mode = '\0';
    }
}

/* What diff(1) gets when it is to be run in the sandbox is two files: say `run diff A B`. */
static void take_diff(struct argp_state *state, struct options *o, char **words)
{
    o->command = COMMAND_DIFF;
    if (words[0] && strcmp(words[0], "--json") == 0) {
        o->json = true;
        words++;
    }
    if (!words[0] || words[1])
        argp_error(state,
                   "diff: one folder is wanted: diff [--json] PATH (the program diff: run diff)");
    o->argv = words;
}

static void take_program(struct argp_state *state, struct options *o)
{
    char **argv = state->argv + state->next - 1;
    bool program = state->quoted > 0; /* behind "--" is a program, whatever its name */

    if (!program && strcmp(argv[0], "doctor") == 0 && !argv[1]) {
        o->command = COMMAND_DOCTOR;
    } else if (!program && strcmp(argv[0], "diff") == 0) {
        take_diff(state, o, argv + 1);
    } else {
        if (!program && strcmp(argv[0], "run") == 0 && argv[1])
            argv++;
        if (strcmp(argv[0], "--") == 0 && argv[1])
            argv++;
        o->argv = argv;
    }
    state->next = state->argc;
}

static const char *const exitless_names[] = {"auto", "never", "always", NULL};
static const char *const platform_names[] = {"auto", "kvm", "ptrace", NULL};
static const char *const access_names[] = {"shared", "exclusive", NULL};
static const char *const uds_names[] = {"none", "open", NULL};
static const char *const network_names[] = {"none", "host", "sandbox", NULL};
static const char *const overlay_names[] = {"memory", "none", NULL};
#define STORE_PREFIX "dir:"

/* Which of `names`, which `known` writes out for the message. */
static int choose(struct argp_state *state, const char *option, const char *arg,
                  const char *const *names, const char *known)
{
    if (!arg)
        return 0;
    for (int i = 0; names[i]; i++)
        if (strcmp(arg, names[i]) == 0)
            return i;
    argp_error(state, "--%s=%s: not one of %s", option, arg, known);
    return 0;
}

static void take_overlay(struct argp_state *state, struct options *o, char *arg)
{
    o->store = NULL;
    o->overlay = true;
    if (strncmp(arg, STORE_PREFIX, strlen(STORE_PREFIX)) == 0 && arg[strlen(STORE_PREFIX)])
        o->store = arg + strlen(STORE_PREFIX);
    else
        o->overlay = choose(state, "overlay", arg, overlay_names, "memory, dir:PATH, none") == 0;
}

/* One word behind the mode's name. */
static bool set_device(struct option_device *d, char *word)
{
    char *value = strchr(word, '=');

    if (!value)
        return false;
    *value++ = '\0';
    if (strcmp(word, "dev") == 0 && *value)
        d->name = value;
    else if (strcmp(word, "address") == 0 && d->address_count < OPTION_ADDRESSES_MAX)
        d->addresses[d->address_count++] = value;
    else if (strcmp(word, "gateway") == 0 && d->gateway_count < ARRAY_COUNT(d->gateways))
        d->gateways[d->gateway_count++] = value;
    else
        return false;
    return true;
}

static void set_network(struct argp_state *state, struct options *o, char *arg)
{
    char *word = strchr(arg, ','), *next;

    if (word)
        *word++ = '\0';
    o->network =
        (enum network)choose(state, "network", arg, network_names, "none, host, sandbox,dev=NAME");
    o->device = (struct option_device){.raw = o->device.raw};
    for (; word; word = next) {
        next = strchr(word, ',');
        if (next)
            *next++ = '\0';
        if (o->network != NETWORK_SANDBOX || !set_device(&o->device, word))
            argp_error(state, "--network=%s: %s is not understood", arg, word);
    }
    if (o->network == NETWORK_SANDBOX && !o->device.name)
        argp_error(state, "--network=sandbox: it needs a device: --network=sandbox,dev=NAME");
}

/* What needs no looking at: a switch that is set, a word that is taken as it is. */
struct plain_option {
    int key;
    size_t offset; /* in struct options */
};

static const struct plain_option switches[] = {
    {KEY_CLEAR_ENV, offsetof(struct options, clear_env)},
    {KEY_NET_RAW, offsetof(struct options, device.raw)},
    {KEY_NO_FASTPATH, offsetof(struct options, no_fastpath)},
    {KEY_READ_ONLY, offsetof(struct options, read_only)},
    {KEY_STATS, offsetof(struct options, stats)},
    {KEY_STRACE, offsetof(struct options, strace)},
};
static const struct plain_option words[] = {
    {KEY_CWD, offsetof(struct options, cwd)},
    {KEY_DIFF, offsetof(struct options, diff)},
    {KEY_LOG, offsetof(struct options, log_file)},
    {KEY_ROOTFS, offsetof(struct options, rootfs)},
    {KEY_STRACE, offsetof(struct options, strace_names)},
};

/* False: it is none of those. */
static bool take_plain(struct options *o, int key, const char *arg)
{
    bool taken = false;

    for (size_t i = 0; i < ARRAY_COUNT(switches); i++) {
        if (switches[i].key == key)
            *(bool *)((char *)o + switches[i].offset) = taken = true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (words[i].key != key)
            continue;
        *(const char **)((char *)o + words[i].offset) = arg;
        taken = true;
    }
    return taken;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct parse_state *parse = state->input;
    struct options *o = parse->options;

    if (take_plain(o, key, arg))
        return 0;
    switch (key) {
    case KEY_PLATFORM:
        choose(state, "platform", arg, platform_names, "auto, kvm, ptrace");
        o->platform = arg;
        return 0;
    case KEY_EXITLESS:
        o->exitless = (enum exitless_mode)choose(state, "exitless", arg, exitless_names,
                                                 "auto, never, always");
        return 0;
    case KEY_ENV:
        add_env(state, parse, arg);
        return 0;
    case KEY_FILE_ACCESS:
        o->exclusive = choose(state, "file-access", arg, access_names, "shared, exclusive") == 1;
        return 0;
    case KEY_HOST_UDS:
        o->host_uds = choose(state, "host-uds", arg, uds_names, "none, open") == 1;
        return 0;
    case KEY_NETWORK:
        set_network(state, o, arg);
        return 0;
    case KEY_TMPFS:
        add_tmpfs(state, o, arg);
        return 0;
    case KEY_BIND:
        add_bind(state, o, arg);
        return 0;
    case KEY_OVERLAY:
        take_overlay(state, o, arg);
        return 0;
    case KEY_LOG_LEVEL:
        if (log_level_parse(arg, &o->log_level) < 0)
            argp_error(state, "--log-level=%s: not one of error, warning, info, debug", arg);
        return 0;
    case ARGP_KEY_ARG:
        take_program(state, o);
        return 0;
    case ARGP_KEY_END:
        if (o->command == COMMAND_RUN && !o->argv)
            argp_error(state, "no program given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_version(FILE *stream, struct argp_state *state)
{
    fprintf(stream, "kvmsentry %s (as Linux %s)\n", KVMSENTRY_VERSION, KVMSENTRY_UNAME_RELEASE);
}

void options_parse(int argc, char **argv, struct options *ret_options)
{
    static const struct argp argp = {
        .options = option_table,
        .parser = parse_option,
        .args_doc = "[run] PROG [ARG...]\ndoctor\ndiff [--json] PATH",
        .doc = doc,
    };
    struct parse_state parse = {.options = ret_options};
    static char name[] = "kvmsentry";

    *ret_options =
        (struct options){.platform = "auto", .log_level = LEVEL_WARNING, .overlay = true};
    argp_err_exit_status = EXIT_SANDBOX;
    argp_program_version_hook = print_version;
    /* getopt puts argv[0] before its complaints, argp its last part: all of ours begin alike. */
    if (argc > 0)
        argv[0] = name;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &parse);
}
