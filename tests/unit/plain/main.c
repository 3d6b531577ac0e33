/* Runs the tests of a program one after the other, each in a child. See criterion/criterion.h. */
#include <criterion/criterion.h>

extern const struct plain_test *const __start_plain_tests[], *const __stop_plain_tests[];
extern const struct plain_suite *const __start_plain_suites[] __attribute__((weak)),
    *const __stop_plain_suites[] __attribute__((weak));

int plain_failures;

void plain_check(bool good, bool fatal, const char *file, int line, const char *text)
{
    if (good)
        return;
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, text);
    __atomic_add_fetch(&plain_failures, 1, __ATOMIC_RELAXED);
    if (fatal)
        _exit(1);
}

static struct plain_options options_of(const struct plain_test *test)
{
    struct plain_options options = test->options;

    for (const struct plain_suite *const *s = __start_plain_suites; s < __stop_plain_suites; s++) {
        if (strcmp((*s)->name, test->suite) != 0)
            continue;
        options.init = options.init ? options.init : (*s)->options.init;
        options.fini = options.fini ? options.fini : (*s)->options.fini;
        options.timeout = options.timeout ? options.timeout : (*s)->options.timeout;
    }
    return options;
}

static __attribute__((noreturn)) void run(const struct plain_test *test)
{
    struct plain_options options = options_of(test);

    alarm(options.timeout > 0 ? (unsigned)options.timeout * PLAIN_SLOWER : PLAIN_PATIENCE);
    if (options.init)
        options.init();
    test->run();
    if (options.fini)
        options.fini();
    exit(plain_failures != 0);
}

int main(int argc, char **argv)
{
    int tested = 0, passed = 0;

    for (const struct plain_test *const *t = __start_plain_tests; t < __stop_plain_tests; t++) {
        int status = -1;
        pid_t pid;

        if (argc > 1 && !strstr((*t)->name, argv[1]))
            continue;
        pid = fork();
        if (pid == 0)
            run(*t);
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            status = -1;
        tested++;
        passed += status == 0;
        if (status != 0)
            printf("%s::%s failed: wait status %#x\n", (*t)->suite, (*t)->name, (unsigned)status);
        fflush(stdout);
    }
    /* As Criterion prints it, since that is what tools/run_tests.py reads. */
    printf("Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0\n", tested, passed,
           tested - passed);
    return tested == 0 || passed != tested;
}
