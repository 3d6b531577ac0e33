/* AF_VSOCK where nothing carries it: sockets are made and bound, and lead nowhere. */
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "check.h"

static struct sockaddr_vm name_of(unsigned cid, unsigned port)
{
    return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

static int bind_to(int fd, unsigned cid, unsigned port)
{
    struct sockaddr_vm name = name_of(cid, port);

    return bind(fd, (struct sockaddr *)&name, sizeof(name));
}

static int connect_to(int fd, unsigned cid)
{
    struct sockaddr_vm name = name_of(cid, 1234);

    return connect(fd, (struct sockaddr *)&name, sizeof(name));
}

static void test_making(void)
{
    CHECK_ERRNO(socket(AF_VSOCK, SOCK_DGRAM, 0), ENODEV);
    CHECK_ERRNO(socket(AF_VSOCK, SOCK_RAW, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_VSOCK, SOCK_STREAM, 6), EPROTONOSUPPORT);
}

static void test_names(int type)
{
    int a = socket(AF_VSOCK, type, 0), b = socket(AF_VSOCK, type, 0);
    struct sockaddr_vm name;
    socklen_t size = sizeof(name);

    CHECK_EQ(getsockname(a, (struct sockaddr *)&name, &size), 0);
    CHECK_EQ(size, sizeof(name));
    CHECK_EQ(name.svm_port, VMADDR_PORT_ANY);
    CHECK_ERRNO(getpeername(a, (struct sockaddr *)&name, &size), ENOTCONN);
    CHECK_ERRNO(listen(a, 1), EINVAL);
    CHECK_EQ(bind_to(a, VMADDR_CID_ANY, 70000), 0);
    CHECK_ERRNO(bind_to(b, VMADDR_CID_ANY, 70000), EADDRINUSE);
    CHECK_ERRNO(bind_to(a, VMADDR_CID_ANY, 70001), EINVAL);
    CHECK_ERRNO(bind_to(b, 1000, 70001), EADDRNOTAVAIL);
    CHECK_EQ(bind_to(b, VMADDR_CID_ANY, VMADDR_PORT_ANY), 0);
    CHECK_EQ(getsockname(b, (struct sockaddr *)&name, &size), 0);
    CHECK(name.svm_port > 1023 && name.svm_port != VMADDR_PORT_ANY);
    close(a);
    close(b);
}

static void test_leading_nowhere(int type)
{
    int fd = socket(AF_VSOCK, type | SOCK_NONBLOCK, 0);
    char byte = 0;

    CHECK_ERRNO(connect_to(fd, 1000), ENODEV);
    CHECK_ERRNO(connect_to(fd, VMADDR_CID_HOST), ENODEV);
    CHECK_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
    CHECK_ERRNO(recv(fd, &byte, 1, 0), ENOTCONN);
    CHECK_ERRNO(shutdown(fd, SHUT_RDWR), ENOTCONN);
    CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
    close(fd);
    fd = socket(AF_VSOCK, type | SOCK_NONBLOCK, 0);
    CHECK_EQ(bind_to(fd, VMADDR_CID_ANY, 70002), 0);
    CHECK_EQ(listen(fd, 1), 0);
    CHECK_ERRNO(accept(fd, NULL, NULL), EAGAIN);
    close(fd);
}

static void test_device(void)
{
    unsigned cid = 0;
    int fd = open("/dev/vsock", O_RDWR);

    CHECK(fd >= 0);
    CHECK_EQ(ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid), 0);
    CHECK_EQ(cid, VMADDR_CID_ANY);
    CHECK_ERRNO(ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, 8), EFAULT);
    CHECK_ERRNO(ioctl(fd, TCGETS, &cid), ENOTTY);
    close(fd);
}

int main(void)
{
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    struct sockaddr_vm name = name_of(VMADDR_CID_LOCAL, 1234);

    /* A kernel without it, or one where it is carried, says nothing about this. */
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0 || errno != ENODEV)
        return CHECK_SKIPPED;
    close(fd);
    test_device();
    test_making();
    test_names(SOCK_STREAM);
    test_names(SOCK_SEQPACKET);
    test_leading_nowhere(SOCK_STREAM);
    test_leading_nowhere(SOCK_SEQPACKET);
    return check_done();
}
