/*
 * Holds TCP connections to itself that carried one byte each and then say nothing more: "ready",
 * and ends when its input ends. What the sandbox needs for them is measured from outside.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int count = argc > 1 ? atoi(argv[1]) : 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct rlimit limit = {2 * (rlim_t)count + 64, 2 * (rlim_t)count + 64};
    struct epoll_event event = {.events = EPOLLIN};
    socklen_t size = sizeof(name);
    int epoll = epoll_create1(0);

    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("RLIMIT_NOFILE");
    if (bind(listener, (struct sockaddr *)&name, size) < 0 || listen(listener, 16) < 0 ||
        getsockname(listener, (struct sockaddr *)&name, &size) < 0)
        die("listen");
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), other;
        char byte = 'x';

        if (connect(fd, (struct sockaddr *)&name, size) < 0)
            die("connect");
        other = accept(listener, NULL, NULL);
        if (other < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, other, &event) < 0)
            die("accept");
        if (write(fd, &byte, 1) != 1 || read(other, &byte, 1) != 1)
            die("a byte");
    }
    puts("ready");
    fflush(stdout);
    getchar();
    return 0;
}
