/*
 * Measures start-up: runs a command again and again and prints the median and the least wall time
 * from spawn to exit, in microseconds.
 *
 *     spawn COUNT COMMAND [ARGS...]
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 1000

extern char **environ;

static uint64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000UL + (uint64_t)ts.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[1]) : 0, status, error;
    uint64_t times[COUNT_MAX];
    posix_spawn_file_actions_t quiet;
    pid_t pid;

    if (count < 1 || count > COUNT_MAX) {
        fprintf(stderr, "usage: spawn COUNT COMMAND [ARGS...]\n");
        return 2;
    }
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < count; i++) {
        times[i] = now_us();
        error = posix_spawn(&pid, argv[2], &quiet, NULL, argv + 2, environ);
        if (error || waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "spawn: %s: %s\n", argv[2], error ? strerror(error) : "it failed");
            return 1;
        }
        times[i] = now_us() - times[i];
    }
    qsort(times, (size_t)count, sizeof(times[0]), compare);
    printf("%lu %lu\n", times[count / 2], times[0]);
    return 0;
}
