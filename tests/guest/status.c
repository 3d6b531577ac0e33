/*
 * How a program ends: `status exit N`, `status signal N`, `status abort`, `status segv`,
 * `status thread`: the runner compares what the caller is told.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "check.h"

static void *other_thread(void *argument)
{
    (void)argument;
    exit(23); /* of the whole program, while main() sleeps */
}

int main(int argc, char **argv)
{
    const struct rlimit no_core = {0, 0};
    volatile int *volatile wild = (volatile int *)8;

    if (argc < 2)
        return 2;
    setrlimit(RLIMIT_CORE, &no_core);
    note("before %s", argv[1]);
    if (strcmp(argv[1], "exit") == 0)
        _exit(atoi(argv[2]));
    if (strcmp(argv[1], "signal") == 0) {
        raise(atoi(argv[2]));
        note("survived");
        return 0;
    }
    if (strcmp(argv[1], "abort") == 0)
        abort();
    if (strcmp(argv[1], "segv") == 0)
        *wild = 1;
    if (strcmp(argv[1], "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, other_thread, NULL);
        for (;;)
            pause();
    }
    if (strcmp(argv[1], "main-first") == 0) {
        /* The first thread ends alone; the program's status comes with the last one. */
        pthread_t thread;
        pthread_create(&thread, NULL, other_thread, NULL);
        syscall(SYS_exit, 9);
    }
    return 2;
}
