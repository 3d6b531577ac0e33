/*
 * Many tasks at once: threads that all sleep on one condition, and processes that all wait for one
 * pipe. `tasks_many THREADS PROCESSES`; 10,000 of each work where the host's limits allow it.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

#define STACK_SIZE (32 << 10)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_here = PTHREAD_COND_INITIALIZER, may_go = PTHREAD_COND_INITIALIZER;
static int here, wanted;
static bool go;

static void *thread_body(void *argument)
{
    pthread_mutex_lock(&mutex);
    if (++here == wanted)
        pthread_cond_signal(&all_here);
    while (!go)
        pthread_cond_wait(&may_go, &mutex);
    here--;
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void test_threads(int count)
{
    pthread_t *threads = calloc((size_t)count, sizeof(*threads));
    pthread_attr_t attr;

    wanted = count;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    for (int i = 0; i < count; i++)
        CHECK_EQ(pthread_create(&threads[i], &attr, thread_body, NULL), 0);
    pthread_mutex_lock(&mutex);
    while (here < count)
        pthread_cond_wait(&all_here, &mutex);
    go = true;
    pthread_cond_broadcast(&may_go);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(here, 0);
    free(threads);
}

static void test_processes(int count)
{
    int gate[2], status, ended = 0;

    CHECK_EQ(pipe(gate), 0);
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        char c;

        if (pid == 0) {
            close(gate[1]);
            _exit(read(gate[0], &c, 1) == 0 ? 0 : 1);
        }
        CHECK(pid > 0);
    }
    close(gate[0]);
    close(gate[1]);
    while (wait(&status) > 0)
        ended += status == 0;
    CHECK_EQ(ended, count);
}

int main(int argc, char **argv)
{
    test_threads(argc > 1 ? atoi(argv[1]) : 500);
    test_processes(argc > 2 ? atoi(argv[2]) : 200);
    return check_done();
}
