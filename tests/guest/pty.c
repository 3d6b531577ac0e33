/* Pseudo-terminals: the pair, the line discipline, and a session on one. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include "check.h"

#define PATIENCE 5000 /* ms; only a failure takes as long */

static int master, slave;

static void open_pair(void)
{
    char name[64];

    master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    CHECK(master >= 0);
    CHECK_EQ(ptsname_r(master, name, sizeof(name)), 0);
    CHECK_ERRNO(open(name, O_RDWR | O_NOCTTY), EIO); /* locked */
    CHECK_EQ(unlockpt(master), 0);
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
}

static void close_pair(void)
{
    close(slave);
    close(master);
}

static void send(int fd, const char *text)
{
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
}

/* Reads as many bytes as `want` has, and prints what came instead. */
static void expect_at(int line, int fd, const char *want, size_t size)
{
    char got[512] = "";
    size_t have = 0;

    while (have < size) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&p, 1, PATIENCE) != 1)
            break;
        n = read(fd, got + have, size - have);
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    if (!check_true(have == size && memcmp(got, want, size) == 0, line, want)) {
        for (size_t i = 0; i < have; i++)
            note("  %zu: %#x", i, (unsigned char)got[i]);
    }
}
#define EXPECT(fd, text) expect_at(__LINE__, fd, text, sizeof(text) - 1)

static bool nothing_to_read(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 30) == 0;
}

static short events_now(int fd, short wanted)
{
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};

    for (int i = 0; i < PATIENCE; i++) {
        poll(&p, 1, 0);
        if (p.revents == wanted)
            break;
        usleep(1000);
    }
    return p.revents;
}

static void change(void (*fn)(struct termios *t))
{
    struct termios t;

    tcgetattr(slave, &t);
    fn(&t);
    CHECK_EQ(tcsetattr(slave, TCSANOW, &t), 0);
}

static void no_echo(struct termios *t)
{
    t->c_lflag &= ~(tcflag_t)ECHO;
}

static void raw(struct termios *t)
{
    cfmakeraw(t);
}

static void test_pair(void)
{
    struct termios t;
    struct stat st;
    char name[64];
    int number, peer;

    open_pair();
    CHECK_EQ(isatty(master), 1);
    CHECK_EQ(isatty(slave), 1);
    CHECK_EQ(ioctl(master, TIOCGPTN, &number), 0);
    snprintf(name, sizeof(name), "/dev/pts/%d", number);
    CHECK_EQ(strcmp(ttyname(slave), name), 0);
    CHECK_EQ(fstat(slave, &st), 0);
    CHECK(S_ISCHR(st.st_mode) && major(st.st_rdev) == 136 && (int)minor(st.st_rdev) == number);
    CHECK((st.st_mode & 0700) == 0600);
    CHECK_EQ(st.st_uid, geteuid());
    CHECK_ERRNO(ioctl(slave, TIOCGPTN, &number), ENOTTY);
    CHECK_ERRNO(lseek(slave, 0, SEEK_CUR), ESPIPE);
    tcgetattr(slave, &t);
    CHECK_EQ(t.c_iflag, ICRNL | IXON);
    CHECK_EQ(t.c_oflag, OPOST | ONLCR);
    CHECK_EQ(t.c_lflag, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
    CHECK_EQ(t.c_cflag, B38400 | CS8 | CREAD);
    CHECK_EQ(t.c_cc[VINTR], 3);
    CHECK_EQ(t.c_cc[VERASE], 0x7f);
    CHECK_EQ(t.c_cc[VEOL], 0);
    CHECK_EQ(t.c_cc[VMIN], 1);
    peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    CHECK(peer >= 0);
    CHECK_EQ(fstat(peer, &st), 0);
    CHECK_EQ(minor(st.st_rdev), number);
    close(slave);
    send(peer, "x\n");
    EXPECT(master, "x\r\n"); /* still open by the other file */
    close(peer);
    close(master);
    CHECK_ERRNO(open(name, O_RDWR), ENOENT);
    CHECK_ERRNO(open("/dev/pts/x", O_RDWR), ENOENT);
}

static void test_canonical(void)
{
    int count = -1;

    open_pair();
    send(master, "hello\r");
    EXPECT(master, "hello\r\n");
    EXPECT(slave, "hello\n");
    /* Editing. */
    send(master, "abc\177d\n");
    EXPECT(master, "abc\b \bd\r\n");
    EXPECT(slave, "abd\n");
    send(master, "one two\027x\n");
    EXPECT(master, "one two\b \b\b \b\b \bx\r\n");
    EXPECT(slave, "one x\n");
    send(master, "gone\025y\n");
    EXPECT(master, "gone\b \b\b \b\b \b\b \by\r\n");
    EXPECT(slave, "y\n");
    send(master, "\001\177z\026\003\n");
    EXPECT(master, "^A\b \b\b \bz^\b^C\r\n");
    EXPECT(slave, "z\003\n");
    send(master, "ab\tc\177\177\177\n");
    EXPECT(master, "ab\tc\b \b\b\b\b\b\b\b\b \b\r\n");
    EXPECT(slave, "a\n");
    send(master, "re\022\n");
    EXPECT(master, "re^R\r\nre\r\n");
    EXPECT(slave, "re\n");
    send(master, "\177\025\027\n"); /* nothing to erase */
    EXPECT(master, "\r\n");
    EXPECT(slave, "\n");
    /* A line is there when it ends, and comes piece by piece. */
    send(master, "par");
    EXPECT(master, "par");
    CHECK(nothing_to_read(slave));
    send(master, "tial\n");
    EXPECT(master, "tial\r\n");
    EXPECT(slave, "pa");
    CHECK_EQ(ioctl(slave, FIONREAD, &count), 0);
    CHECK_EQ(count, 6);
    EXPECT(slave, "rtial\n");
    /* End of file. */
    send(master, "\004");
    CHECK_EQ(events_now(slave, POLLIN | POLLOUT), POLLIN | POLLOUT);
    CHECK_EQ(read(slave, &count, 1), 0);
    send(master, "end\004\004");
    EXPECT(master, "end");
    EXPECT(slave, "end");
    CHECK_EQ(read(slave, &count, 1), 0);
    CHECK(nothing_to_read(master));
    close_pair();
}

static void utf8(struct termios *t)
{
    t->c_iflag |= IUTF8;
}

static void printing(struct termios *t)
{
    t->c_lflag |= ECHOPRT;
    t->c_lflag &= ~(tcflag_t)ECHOCTL;
}

static void simple(struct termios *t)
{
    t->c_lflag &= ~(tcflag_t)(ECHOE | ECHOKE);
}

static void mapped_input(struct termios *t)
{
    t->c_iflag = INLCR | ISTRIP;
    t->c_cc[VEOL] = ';';
    t->c_cc[VERASE] = '#';
}

static void ignoring(struct termios *t)
{
    t->c_iflag = IGNCR;
    t->c_lflag = ICANON | ECHONL;
}

static void test_flags(void)
{
    open_pair();
    change(utf8);
    send(master, "a\303\251\177b\n");
    EXPECT(master, "a\303\251\b \bb\r\n");
    EXPECT(slave, "ab\n");
    change(printing);
    send(master, "xyz\177\177w\n");
    EXPECT(master, "xyz\\zy/w\r\n");
    EXPECT(slave, "xw\n");
    close_pair();

    open_pair();
    change(simple);
    send(master, "ab\177c\025d\n");
    EXPECT(master, "ab^?c^U\r\nd\r\n");
    EXPECT(slave, "d\n");
    change(mapped_input);
    send(master, "q#r\341\n;");
    EXPECT(master, "q#ra^M;");
    EXPECT(slave, "ra\r;");
    change(ignoring);
    send(master, "s\rt\n");
    EXPECT(master, "\r\n");
    EXPECT(slave, "st\n");
    close_pair();
}

static void plain_output(struct termios *t)
{
    t->c_oflag = OPOST | OCRNL | XTABS | OLCUC;
}

static void no_output(struct termios *t)
{
    t->c_oflag = 0;
}

static void test_output(void)
{
    open_pair();
    send(slave, "a\nb\r\n\tc");
    EXPECT(master, "a\r\nb\r\r\n\tc");
    change(plain_output);
    send(slave, "\n");
    EXPECT(master, "\n");
    close_pair();
    open_pair();
    change(plain_output);
    send(slave, "ab\tc\rd");
    EXPECT(master, "AB      C\nD");
    change(no_output);
    send(slave, "e\n\t");
    EXPECT(master, "e\n\t");
    close_pair();
}

static int vmin, vtime;

static void set_counts(struct termios *t)
{
    t->c_cc[VMIN] = (cc_t)vmin;
    t->c_cc[VTIME] = (cc_t)vtime;
}

static void counts(int min, int tenths)
{
    vmin = min;
    vtime = tenths;
    change(set_counts);
}

static void test_raw(void)
{
    char buf[16];
    int more = 0;

    open_pair();
    /* What was typed before becomes readable as it is. */
    send(master, "xy");
    EXPECT(master, "xy");
    change(raw);
    EXPECT(slave, "xy");
    send(master, "\003\r\177\004");
    EXPECT(slave, "\003\r\177\004");
    CHECK(nothing_to_read(master));

    counts(0, 0);
    CHECK_EQ(read(slave, buf, 4), 0);
    counts(0, 1);
    CHECK_EQ(read(slave, buf, 4), 0);
    counts(3, 0);
    send(master, "ab");
    for (int i = 0; i < PATIENCE && more != 2; i++) {
        ioctl(slave, FIONREAD, &more);
        usleep(1000);
    }
    CHECK_EQ(events_now(slave, POLLOUT), POLLOUT); /* too few */
    send(master, "c");
    CHECK_EQ(events_now(slave, POLLIN | POLLOUT), POLLIN | POLLOUT);
    CHECK_EQ(read(slave, buf, sizeof(buf)), 3);
    if (fork() == 0) {
        usleep(20000);
        send(master, "d");
        usleep(20000);
        send(master, "ef");
        _exit(0);
    }
    CHECK_EQ(read(slave, buf, sizeof(buf)), 3); /* waits for all three */
    wait(NULL);
    counts(5, 1);
    send(master, "gh");
    CHECK_EQ(events_now(slave, POLLIN | POLLOUT), POLLIN | POLLOUT);
    CHECK_EQ(read(slave, buf, sizeof(buf)), 2); /* until a pause */

    counts(1, 0);
    fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
    CHECK_ERRNO(read(slave, buf, sizeof(buf)), EAGAIN);
    fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
    CHECK_ERRNO(read(master, buf, sizeof(buf)), EAGAIN);
    /* Back to lines: what is there counts as one. */
    send(master, "ij");
    CHECK_EQ(events_now(slave, POLLIN | POLLOUT), POLLIN | POLLOUT);
    close_pair();
}

static void test_bounds(void)
{
    static char big[65536];
    ssize_t n, sum = 0;

    open_pair();
    change(raw);
    memset(big, 'x', sizeof(big));
    fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
    fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
    while (sum < 1 << 20 && (n = write(slave, big, sizeof(big))) > 0)
        sum += n;
    CHECK(sum >= 4096 && sum < 1 << 20);
    CHECK_ERRNO(write(slave, big, sizeof(big)), EAGAIN);
    while (sum > 0) {
        struct pollfd p = {.fd = master, .events = POLLIN};

        if (poll(&p, 1, PATIENCE) != 1)
            break;
        n = read(master, big, sizeof(big));
        if (n <= 0)
            break;
        sum -= n;
    }
    CHECK_EQ(sum, 0);
    CHECK(events_now(slave, POLLOUT) & POLLOUT);
    sum = 0;
    while (sum < 1 << 20 && (n = write(master, big, sizeof(big))) > 0)
        sum += n;
    CHECK(sum >= 4096 && sum < 1 << 20);
    while (sum > 0) {
        struct pollfd p = {.fd = slave, .events = POLLIN};

        if (poll(&p, 1, PATIENCE) != 1)
            break;
        n = read(slave, big, sizeof(big));
        if (n <= 0)
            break;
        sum -= n;
    }
    CHECK_EQ(sum, 0);
    close_pair();

    /* A line that does not fit is cut to 4096 bytes, its end included. */
    open_pair();
    change(no_echo);
    memset(big, 'y', sizeof(big));
    for (int i = 0; i < 10; i++) {
        struct pollfd p = {.fd = master, .events = POLLOUT};

        poll(&p, 1, PATIENCE);
        CHECK_EQ(write(master, big, 500), 500);
    }
    send(master, "\n");
    CHECK_EQ(read(slave, big, sizeof(big)), 4096);
    CHECK_EQ(big[4095], '\n');
    close_pair();
}

static void test_flow(void)
{
    int count;

    open_pair();
    change(no_echo);
    send(master, "\023");
    usleep(20000);
    fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
    CHECK_ERRNO(write(slave, "x", 1), EAGAIN);
    CHECK_EQ(events_now(slave, 0), 0);
    send(master, "\021");
    CHECK_EQ(events_now(slave, POLLOUT), POLLOUT);
    send(slave, "x");
    EXPECT(master, "x");
    CHECK_EQ(tcflow(slave, TCOOFF), 0);
    CHECK_ERRNO(write(slave, "x", 1), EAGAIN);
    CHECK_EQ(tcflow(slave, TCOON), 0);
    send(slave, "y");
    EXPECT(master, "y");
    CHECK_EQ(tcflow(slave, TCIOFF), 0);
    EXPECT(master, "\023");
    CHECK_EQ(tcflow(slave, TCION), 0);
    EXPECT(master, "\021");
    CHECK_ERRNO(ioctl(slave, TCXONC, 9), EINVAL);

    send(master, "lost\n");
    CHECK_EQ(events_now(slave, POLLIN | POLLOUT), POLLIN | POLLOUT);
    CHECK_EQ(tcflush(slave, TCIFLUSH), 0);
    CHECK_EQ(events_now(slave, POLLOUT), POLLOUT);
    CHECK_ERRNO(ioctl(slave, TCFLSH, 9), EINVAL);
    CHECK_EQ(ioctl(slave, TIOCOUTQ, &count), 0);
    CHECK_EQ(count, 0);
    CHECK_EQ(tcdrain(slave), 0);
    CHECK_EQ(tcsendbreak(slave, 0), 0);
    close_pair();
}

static void no_flow(struct termios *t)
{
    t->c_iflag &= ~(tcflag_t)IXON;
}

static void test_packets(void)
{
    int on = 1, got = 0;
    char c;

    open_pair();
    CHECK_EQ(ioctl(master, TIOCPKT, &on), 0);
    CHECK_EQ(ioctl(master, TIOCGPKT, &got), 0);
    CHECK_EQ(got, 1);
    send(slave, "ab");
    EXPECT(master, "\0ab");
    CHECK_EQ(tcflush(slave, TCIFLUSH), 0);
    CHECK_EQ(events_now(master, POLLIN | POLLPRI | POLLOUT), POLLIN | POLLPRI | POLLOUT);
    CHECK_EQ(read(master, &c, 1), 1);
    CHECK_EQ(c, TIOCPKT_FLUSHREAD);
    change(no_flow);
    CHECK_EQ(read(master, &c, 1), 1);
    CHECK_EQ(c, TIOCPKT_NOSTOP);
    CHECK_EQ(events_now(master, POLLOUT), POLLOUT);
    on = 0;
    CHECK_EQ(ioctl(master, TIOCPKT, &on), 0);
    send(slave, "z");
    EXPECT(master, "z");
    CHECK_ERRNO(ioctl(slave, TIOCPKT, &on), ENOTTY);
    close_pair();
}

static void test_hangup(void)
{
    char c, name[64];

    open_pair();
    CHECK_EQ(ptsname_r(master, name, sizeof(name)), 0);
    send(slave, "last");
    close(slave);
    EXPECT(master, "last");
    CHECK_ERRNO(read(master, &c, 1), EIO);
    CHECK_EQ(events_now(master, POLLHUP | POLLOUT), POLLHUP | POLLOUT);
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK_EQ(events_now(master, POLLOUT), POLLOUT);
    send(slave, "new");
    EXPECT(master, "new");
    close(master);
    CHECK_EQ(read(slave, &c, 1), 0);
    CHECK_ERRNO(write(slave, "x", 1), EIO);
    CHECK_EQ(events_now(slave, POLLIN | POLLOUT | POLLERR | POLLHUP),
             POLLIN | POLLOUT | POLLERR | POLLHUP);
    CHECK_ERRNO(tcgetattr(slave, &(struct termios){0}), EIO);
    close(slave);
}

static void test_epoll(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = 7};
    int ep = epoll_create1(0);

    open_pair();
    CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, slave, &event), 0);
    CHECK_EQ(epoll_wait(ep, &event, 1, 0), 0);
    send(master, "x\n");
    CHECK_EQ(epoll_wait(ep, &event, 1, PATIENCE), 1);
    CHECK_EQ(event.data.fd, 7);
    EXPECT(slave, "x\n");
    close(ep);
    close_pair();
}

/* Settings that are locked stay, whoever sets them and by whichever end. */
static void test_locked_settings(void)
{
    struct termios lock, t, now;
    int on = 5;

    open_pair();
    memset(&lock, 0x55, sizeof(lock));
    CHECK_EQ(ioctl(slave, TIOCGLCKTRMIOS, &lock), 0);
    CHECK_EQ(lock.c_lflag, 0);
    CHECK_EQ(lock.c_cc[VINTR], 0);
    if (geteuid() == 0) {
        lock.c_lflag = ECHO;
        lock.c_cc[VINTR] = 1;
        CHECK_EQ(ioctl(master, TIOCSLCKTRMIOS, &lock), 0);
        memset(&lock, 0, sizeof(lock));
        CHECK_EQ(ioctl(slave, TIOCGLCKTRMIOS, &lock), 0);
        CHECK_EQ(lock.c_lflag, ECHO);
        CHECK_EQ(tcgetattr(slave, &t), 0);
        t.c_lflag &= (tcflag_t) ~(ECHO | ISIG);
        t.c_cc[VINTR] = 'x';
        t.c_cc[VQUIT] = 'y';
        CHECK_EQ(tcsetattr(slave, TCSANOW, &t), 0);
        CHECK_EQ(tcgetattr(slave, &now), 0);
        CHECK_EQ(now.c_lflag & (ECHO | ISIG), ECHO);
        CHECK_EQ(now.c_cc[VINTR], 3);
        CHECK_EQ(now.c_cc[VQUIT], 'y');
    }
    CHECK_EQ(ioctl(slave, TIOCGSOFTCAR, &on), 0);
    CHECK_EQ(on, 0);
    on = 1;
    CHECK_EQ(ioctl(slave, TIOCSSOFTCAR, &on), 0);
    CHECK_EQ(tcgetattr(slave, &now), 0);
    CHECK((now.c_cflag & CLOCAL) != 0);
    close_pair();
}

int main(void)
{
    alarm(30);
    test_pair();
    test_canonical();
    test_flags();
    test_locked_settings();
    test_output();
    test_raw();
    test_bounds();
    test_flow();
    test_packets();
    test_hangup();
    test_epoll();
    return check_done();
}
