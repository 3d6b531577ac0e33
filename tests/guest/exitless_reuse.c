/*
 * Pages that have served to hand calls over become page tables of others: many processes with many
 * tables make calls, end, and make room for the next ones, whose memory must be theirs.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

#define ROUNDS    4
#define PROCESSES 12
#define CALLS     400
#define PLACES    64 /* 1 GiB apart: each takes two tables, so that all those of a round are many */
#define APART     (1UL << 30)

static char *place(char *base, int i)
{
    return base + (unsigned long)i * APART;
}

static void use_memory(char *base, char mark)
{
    for (int i = 0; i < PLACES; i++) {
        CHECK_EQ(place(base, i)[0], 0);
        place(base, i)[0] = mark;
    }
    for (int i = 0; i < CALLS; i++)
        CHECK_EQ(RAW(SYS_fcntl, -1, i, 0x1fff, 0x1fff, 0x1fff), -EBADF);
    for (int i = 0; i < PLACES; i++)
        CHECK_EQ(place(base, i)[0], mark);
}

static void child(int ready, char mark)
{
    char *base, c;

    base = mmap(NULL, PLACES * APART, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (CHECK(base != MAP_FAILED))
        use_memory(base, mark);
    CHECK_EQ(read(ready, &c, 1), 0); /* all of a round end at once */
    _exit(check_failures ? 1 : 0);
}

static void round_of(char mark)
{
    int ends[2], status;

    CHECK_EQ(pipe(ends), 0);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t pid = fork();

        CHECK(pid >= 0);
        if (pid == 0) {
            close(ends[1]);
            child(ends[0], mark);
        }
    }
    close(ends[0]);
    close(ends[1]);
    for (int i = 0; i < PROCESSES; i++) {
        CHECK(wait(&status) > 0);
        CHECK_EQ(status, 0);
    }
}

int main(void)
{
    for (int i = 0; i < ROUNDS; i++)
        round_of((char)(i + 1));
    return check_done();
}
