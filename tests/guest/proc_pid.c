/*
 * Other processes seen through /proc/PID: names, state, descriptors, and their memory, which can be
 * read and written past its protection by who may attach to them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"
#include "text.h"

static char secret[64] = "what the child knows";
static const char fixed[4096] __attribute__((aligned(4096))) = "written by nobody";
static pid_t child;

static size_t slurp(const char *name, char *buf, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", child, name);
    return read_text(path, buf, size);
}

static long field(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    CHECK(at != NULL);
    return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void wait_for_state(char state)
{
    char text[4096], wanted[32];

    snprintf(wanted, sizeof(wanted), "State:\t%c", state);
    for (int i = 0; i < 1000; i++) {
        slurp("status", text, sizeof(text));
        if (strstr(text, wanted))
            return;
        usleep(2000);
    }
    CHECK(!"the state never came");
}

static void test_texts(void)
{
    char text[8192], name[64];
    int pid, parent, pgid;
    char state;

    slurp("status", text, sizeof(text));
    CHECK_EQ(field(text, "Pid:\t"), child);
    CHECK_EQ(field(text, "Tgid:\t"), child);
    CHECK_EQ(field(text, "PPid:\t"), getpid());
    CHECK_EQ(field(text, "TracerPid:\t"), 0);
    CHECK_EQ(field(text, "Threads:\t"), 1);
    CHECK(strstr(text, "SigCgt:\t0000000000000200") != NULL); /* SIGUSR1 */
    CHECK(strstr(text, "Name:\tcurious child\n") != NULL);
    slurp("stat", text, sizeof(text));
    CHECK_EQ(sscanf(text, "%d (curious child) %c %d %d", &pid, &state, &parent, &pgid), 4);
    CHECK(pid == child && state == 'S' && parent == getpid() && pgid == getpgid(0));
    slurp("comm", text, sizeof(text));
    CHECK(strcmp(text, "curious child\n") == 0);
    slurp("syscall", text, sizeof(text));
    CHECK_EQ(strtol(text, NULL, 10), SYS_pause);
    snprintf(name, sizeof(name), "/proc/%d/exe", child);
    CHECK(readlink(name, text, sizeof(text)) > 0);
    CHECK(slurp("maps", text, sizeof(text)) > 100);
    CHECK(slurp("auxv", text, sizeof(text)) % 16 == 0);
    CHECK(slurp("cmdline", text, sizeof(text)) > 3);
}

static void test_names(void)
{
    char path[64];
    int found = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", child);
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (struct dirent *e; dir && (e = readdir(dir));)
        found += atoi(e->d_name) == child;
    closedir(dir);
    CHECK_EQ(found, 1);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", child, getpid());
    CHECK_ERRNO(open(path, O_RDONLY), ENOENT);
    CHECK_ERRNO(open("/proc/4194303/status", O_RDONLY), ENOENT);
}

static void test_memory(void)
{
    char path[64], text[64] = "";
    void *hidden = secret;

    snprintf(path, sizeof(path), "/proc/%d/mem", child);
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    CHECK_EQ(pread(fd, text, 20, (off_t)hidden), 20);
    CHECK(memcmp(text, "what the child knows", 20) == 0);
    CHECK_EQ(pwrite(fd, "what I have told him", 20, (off_t)hidden), 20);
    CHECK_EQ(pread(fd, text, 20, (off_t)hidden), 20);
    CHECK(memcmp(text, "what I have told him", 20) == 0);
    CHECK(strcmp(secret, "what the child knows") == 0);
    /* Read-only memory is written all the same, and only the child sees it. */
    CHECK_EQ(pwrite(fd, "SOMEBODY", 8, (off_t)fixed + 11), 8);
    CHECK_EQ(pread(fd, text, 19, (off_t)fixed), 19);
    CHECK(memcmp(text, "written by SOMEBODY", 19) == 0);
    CHECK(memcmp(fixed, "written by nobody", 17) == 0);
    CHECK_ERRNO(pread(fd, text, 8, 4096), EIO);
    CHECK_ERRNO(pwrite(fd, text, 8, 4096), EIO);
    CHECK_EQ(lseek(fd, (off_t)hidden, SEEK_SET), (off_t)hidden);
    CHECK_EQ(read(fd, text, 4), 4);
    CHECK(memcmp(text, "what", 4) == 0);
    kill(child, SIGUSR1);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    CHECK_EQ(pread(fd, text, 8, (off_t)hidden), 0);
    close(fd);
}

static void on_usr1(int signo)
{
    /* What the parent has written is there for the child as well. */
    _exit(strcmp(secret, "what I have told him") == 0 && fixed[11] == 'S' ? 0 : 1);
}

static void test_own_name(void)
{
    char name[16] = "";
    int fd = open("/proc/self/comm", O_RDWR);

    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "a name that is far too long", 27), 27);
    CHECK_EQ(prctl(PR_GET_NAME, name), 0);
    CHECK(strcmp(name, "a name that is ") == 0);
    close(fd);
    fd = open("/proc/self/comm", O_WRONLY);
    CHECK_EQ(write(fd, "short", 5), 5);
    close(fd);
    CHECK_EQ(prctl(PR_GET_NAME, name), 0);
    CHECK(strcmp(name, "short") == 0);
}

static void test_zombie(void)
{
    char text[4096];

    child = fork();
    if (child == 0)
        _exit(3);
    wait_for_state('Z');
    slurp("stat", text, sizeof(text));
    CHECK(strstr(text, ") Z ") != NULL);
    CHECK_EQ(slurp("cmdline", text, sizeof(text)), 0);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    child = fork();
    if (child == 0)
        for (;;)
            pause();
    kill(child, SIGSTOP);
    wait_for_state('T');
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

static volatile int *handled;

static void count(int signo)
{
    (void)signo;
    ++*handled;
}

/* Who has been sent a signal sleeps no more, until it has handled it and sleeps again. */
static void test_woken(void)
{
    handled = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    child = fork();
    if (child == 0) {
        signal(SIGUSR1, count);
        for (;;)
            RAW(SYS_pause);
    }
    usleep(20000);
    wait_for_state('S');
    for (int i = 1; i <= 100; i++) {
        kill(child, SIGUSR1);
        wait_for_state('S');
        if (!CHECK_EQ(*handled, i))
            break;
    }
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, NULL, 0), child);
}

int main(void)
{
    child = fork();
    if (child == 0) {
        signal(SIGUSR1, on_usr1);
        prctl(PR_SET_NAME, "curious child");
        for (;;)
            RAW(SYS_pause);
    }
    usleep(20000);
    wait_for_state('S');
    test_texts();
    test_names();
    test_memory();
    test_zombie();
    test_own_name();
    test_woken();
    return check_done();
}
