/*
 * What /proc/PID tells of pages, and what can be set by its files: pagemap, smaps, oom_score_adj,
 * timerslack_ns.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"
#include "text.h"

#define PAGE    4096UL
#define PRESENT (1UL << 63)

static char text[1 << 18];

static const char *get(const char *path)
{
    int fd = open(path, O_RDONLY);
    size_t length = 0;

    for (ssize_t n; (n = read(fd, text + length, sizeof(text) - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = 0;
    close(fd);
    return text;
}

static int put(const char *path, const char *value)
{
    return write_text(path, value) < 0 ? errno : 0;
}

static uint64_t entry(int fd, const void *page)
{
    uint64_t value = 0;

    CHECK_EQ(pread(fd, &value, sizeof(value), (off_t)((uintptr_t)page / PAGE * 8)), 8);
    return value;
}

static void test_pages(void)
{
    char *far = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/pagemap", O_RDONLY);
    char line[64];
    unsigned long resident = 0;

    CHECK(fd >= 0);
    madvise(far, 64 << 20, MADV_NOHUGEPAGE);
    far[0] = 1;
    CHECK(entry(fd, far) & PRESENT);
    CHECK_EQ(entry(fd, far + (32 << 20)) & PRESENT, 0);
    CHECK_EQ(entry(fd, (void *)PAGE) & PRESENT, 0);
    CHECK_ERRNO(pread(fd, text, 7, 0), EINVAL);
    CHECK_ERRNO(pread(fd, text, 8, 4), EINVAL);
    close(fd);

    memset(far, 1, 1 << 20);
    snprintf(line, sizeof(line), "%08lx-%08lx rw-p", (unsigned long)far,
             (unsigned long)far + (64 << 20));
    const char *at = strstr(get("/proc/self/smaps"), line);
    if (CHECK(at != NULL) && CHECK((at = strstr(at, "\nRss:")) != NULL))
        resident = strtoul(at + 5, NULL, 10);
    CHECK(resident >= 1024 && resident < 32768);
    CHECK(strstr(get("/proc/self/smaps_rollup"), "[rollup]\nRss:") != NULL);
    munmap(far, 64 << 20);
}

static void test_scores(void)
{
    const char *path = "/proc/self/oom_score_adj";

    CHECK_EQ(strcmp(get(path), "0\n"), 0);
    CHECK_EQ(put(path, "500\n"), 0);
    CHECK_EQ(put(path, "1001"), EINVAL);
    CHECK_EQ(put(path, "-1001"), EINVAL);
    CHECK_EQ(put(path, "much"), EINVAL);
    CHECK_EQ(strcmp(get(path), "500\n"), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(strcmp(get(path), "500\n") != 0);
    int status = -1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK(atol(get("/proc/self/oom_score")) > 666);
    CHECK_EQ(put(path, "0"), 0);
}

static void test_slack(void)
{
    CHECK_EQ(put("/proc/self/timerslack_ns", "70000"), 0);
    CHECK_EQ(prctl(PR_GET_TIMERSLACK), 70000);
    CHECK_EQ(strcmp(get("/proc/self/timerslack_ns"), "70000\n"), 0);
    CHECK_EQ(put("/proc/self/timerslack_ns", "0"), 0);
    CHECK_EQ(prctl(PR_GET_TIMERSLACK), 50000);
}

int main(void)
{
    test_pages();
    test_scores();
    test_slack();
    return check_done();
}
