/*
 * Random operations on files, each compared with a model in memory: what tests/cli/exercised.py
 * runs over each kind of file system. The same seed gives the same operations.
 *
 *     exercising run FOLDER SEED WORKERS SECONDS OPERATIONS    until either is reached
 *     exercising survey FOLDER                                 says all that is there
 *
 * Where the folder is one that an earlier run with as many workers has left, it goes on from there:
 * the model is in .stateN. "run" ends with the same survey, so that whoever looks at the folder
 * from elsewhere, or later, can tell whether everything arrived. It says on standard error how many
 * operations there were.
 */
#include "tests/cli/exercising.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64

static uint64_t next(uint64_t *state)
{
    /* xorshift64: Marsaglia, "Xorshift RNGs" */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

uint32_t pick(struct exercise *x, uint32_t below)
{
    return (uint32_t)(next(&x->random) >> 32) % below;
}

void fill(uint8_t *bytes, size_t size, uint64_t stamp)
{
    uint64_t state = stamp * 2 + 1, word = 0;

    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0)
            word = next(&state);
        bytes[i] = (uint8_t)(word >> i % 8 * 8);
    }
}

static int64_t seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

bool go_on(struct exercise *x)
{
    if (x->operations == x->limit || (x->operations % 16 == 15 && seconds_now() >= x->deadline))
        return false;
    x->operations++;
    return true;
}

void wrong(struct exercise *x, const char *format, ...)
{
    char text[700];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    dprintf(STDERR_FILENO, "seed %" PRIu64 ", operation %" PRIu64 ": %s\n", x->seed, x->operations,
            text);
    exit(1);
}

void load_state(struct exercise *x, void *part, size_t size)
{
    if (read(x->state, part, size) != (ssize_t)size)
        wrong(x, "the state is not whole");
}

void save_state(struct exercise *x, const void *part, size_t size)
{
    if (write(x->state, part, size) != (ssize_t)size)
        wrong(x, "the state cannot be kept: errno %d", errno);
}

static uint64_t digest(int dir, const char *name)
{
    static uint8_t bytes[65536];
    uint64_t sum = 14695981039346656037U; /* FNV-1a */
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW);
    ssize_t size;

    while ((size = read(fd, bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < size; i++)
            sum = (sum ^ bytes[i]) * 1099511628211U;
    close(fd);
    return size < 0 ? 0 : sum;
}

static int visible(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
           strncmp(entry->d_name, ".state", 6) != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* One line for each object below the folder. */
static void survey(int dir, unsigned depth)
{
    struct dirent **names;
    int count = scandirat(dir, ".", &names, visible, by_bytes);

    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        char target[4096] = "";
        struct stat st = {0};

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            printf("cannot be looked at: ");
        if (S_ISLNK(st.st_mode))
            (void)readlinkat(dir, name, target, sizeof(target) - 1);
        printf("%u ", depth);
        for (const char *c = name; *c; c++)
            printf(*c > ' ' && *c < 127 ? "%c" : "\\%02x", (unsigned char)*c);
        printf(" %o %lu %lu %016" PRIx64 " %s\n", st.st_mode,
               S_ISDIR(st.st_mode) ? 0 : (unsigned long)st.st_nlink,
               S_ISDIR(st.st_mode) ? 0 : (unsigned long)st.st_size,
               S_ISREG(st.st_mode) ? digest(dir, name) : 0, target);
        if (S_ISDIR(st.st_mode)) {
            int below = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

            survey(below, depth + 1);
            close(below);
        }
        free(names[i]);
    }
    if (count < 0)
        printf("%u cannot be listed\n", depth);
    else
        free(names);
}

static int work(const char *folder, unsigned number, struct exercise *x)
{
    char name[16], state[16];

    x->seed += number;
    x->random = x->seed * 0x9e3779b97f4a7c15U | 1;
    snprintf(name, sizeof(name), "w%u", number);
    snprintf(state, sizeof(state), ".state%u", number);
    if (chdir(folder) < 0)
        wrong(x, "no folder %s", folder);
    x->state = open(state, O_RDWR | O_CREAT, 0600);
    x->goes_on = access(name, F_OK) == 0;
    if (x->state < 0 || (!x->goes_on && mkdir(name, 0755) < 0) || chdir(name) < 0)
        wrong(x, "no folder %s/%s", folder, name);
    if (number % 2)
        exercise_names(x);
    else
        exercise_bytes(x);
    return 0;
}

/* Starts the workers and gathers what they did; false if one failed. */
static bool run(const char *folder, struct exercise x, unsigned workers)
{
    pid_t pids[WORKERS_MAX];
    uint64_t all = 0;
    bool good = true;
    int counts[2];

    if (pipe(counts) < 0)
        return false;
    for (unsigned i = 0; i < workers; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            int status = work(folder, i, &x);

            _exit(write(counts[1], &x.operations, 8) == 8 ? status : 1);
        }
    }
    close(counts[1]);
    for (unsigned i = 0; i < workers; i++) {
        uint64_t count = 0;
        int status = 1;

        if (pids[i] < 0 || waitpid(pids[i], &status, 0) < 0 || status != 0)
            good = false;
        else if (read(counts[0], &count, 8) == 8)
            all += count;
    }
    close(counts[0]);
    dprintf(STDERR_FILENO, "%" PRIu64 " operations\n", all);
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;
    int dir;

    umask(0);
    if (argc == 7 && strcmp(argv[1], "run") == 0) {
        struct exercise x = {.seed = strtoull(argv[3], NULL, 10)};
        unsigned workers = (unsigned)atoi(argv[4]);

        x.deadline = seconds_now() + atoll(argv[5]);
        x.limit = strtoull(argv[6], NULL, 10);
        good = workers > 0 && workers <= WORKERS_MAX && run(argv[2], x, workers);
    } else if (argc != 3 || strcmp(argv[1], "survey") != 0) {
        fprintf(stderr,
                "usage: exercising run FOLDER SEED WORKERS SECONDS OPERATIONS | survey FOLDER\n");
        return 2;
    }
    dir = open(argv[2], O_RDONLY | O_DIRECTORY);
    survey(dir, 0);
    close(dir);
    return good && dir >= 0 && fflush(stdout) == 0 ? 0 : 1;
}
