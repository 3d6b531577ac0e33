/*
 * A socket: a file with the operations of its family beside those of files. What socket(2) makes
 * is chosen from a table of families; AF_UNIX, the internet families and netlink are rooms below
 * this one, and the runtime registers them.
 *
 *   file_operations      socket.c: read, write, poll, stat for all of them
 *   socket_operations    the family's
 *   socket_options       SOL_SOCKET, options.c: kept here, heeded by the families
 *
 * As files do, sockets never sleep: they answer -EAGAIN (or -EINPROGRESS), and the system calls
 * wait on `queue`, or on the queue that the operation names, with the time limits of SO_RCVTIMEO
 * and SO_SNDTIMEO.
 *
 * A socket outlives its file: a peer, a queued message or a waiter may hold it. Locks: `lock` is
 * innermost among a family's; it is never held while user memory is copied.
 */
#ifndef SENTRY_NET_SOCKET_H
#define SENTRY_NET_SOCKET_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/net/caller.h"
#include "sentry/net/info.h"
#include "sentry/vfs/attr/ownattr.h"
#include "sentry/vfs/file.h"
#include "sentry/wait/wait.h"

struct mappable;
struct mm;
struct nlmsghdr;
struct net_ns;
struct net_rights;
struct socket_filter;
struct uio;

#define SOCKET_FAMILIES    46 /* AF_MAX of Linux 6.18 */
#define SOCKET_ADDRESS_MAX sizeof(struct sockaddr_storage)
#define SOCKET_TIMEO_MAX   UINT64_MAX /* no limit */

/* Defaults and ceilings of /proc/sys/net/core; the kernel doubles what programs ask for. */
#define SOCKET_BUF_DEFAULT   212992
#define SOCKET_BUF_MAX       212992
#define SOCKET_SNDBUF_MIN    4608
#define SOCKET_RCVBUF_MIN    2304
#define SOCKET_SOMAXCONN     4096
#define SOCKET_OPTMEM_MAX    131072
#define SOCKET_PRIORITY_FREE 6   /* up to this, anybody's */
#define SOCKET_MESSAGE_COST  576 /* what a message is counted for beside its bytes */
/* What all queues together may hold: it is the Sentry's memory, not the program's. */
#define SOCKET_MEMORY_MAX (1UL << 30)

struct socket_address {
    uint32_t size; /* bytes that count; 0: none */
    union {
        sa_family_t family;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_storage storage;
        uint8_t bytes[SOCKET_ADDRESS_MAX];
    };
};

/* Who sent a message: SCM_CREDENTIALS, SCM_PIDFD. */
struct net_creds {
    bool known;
    int32_t pid;
    uint64_t serial; /* of the process: pids are used again */
    uint32_t uid, gid;
};

/* Control messages on their way to the program, as it will see them: socket_control_put(). */
#define SOCKET_CONTROL_MAX 1024
struct socket_control {
    uint32_t size;
    uint8_t bytes[SOCKET_CONTROL_MAX] __aligned_to(8);
};

/* One message of sendmsg(2) or recvmsg(2). */
struct socket_message {
    struct uio *uio;
    int flags;                      /* MSG_* of the caller */
    bool to_address;                /* send: `address` is given */
    struct socket_address *address; /* receive: filled in; NULL: not wanted */
    int out_flags;                  /* receive: MSG_TRUNC, MSG_OOB, MSG_EOR... */
    bool boundary;                  /* receive: a stream has to stop here */
    bool started;                   /* not the first attempt of this call */
    struct net_creds creds;         /* send: if known, claimed; receive: if wanted */
    struct net_rights *rights;      /* owned; send: gone once taken */
    const uint8_t *control;         /* send: what is for the family, cmsg(3) by cmsg(3) */
    size_t control_size;
    struct socket_control *control_out; /* receive: NULL: not wanted */
    struct socket *wait;                /* owned; -EAGAIN: the room that is wanted is its */
};

/* What a message carries of SOL_SOCKET: SO_MARK and SO_PRIORITY. */
struct socket_marks {
    int32_t mark, priority;
};

struct socket_options {
    uint32_t sndbuf, rcvbuf; /* bytes, doubled */
    uint32_t sndbuf_locked, rcvbuf_locked;
    int32_t rcvlowat;
    int32_t priority, mark, peek_off;
    int32_t busy_poll, incoming_cpu;
    int32_t device; /* SO_BINDTODEVICE's interface; 0: none */
    uint32_t linger_seconds;
    uint64_t pacing_rate;
    uint64_t rcvtimeo_ns, sndtimeo_ns; /* SOCKET_TIMEO_MAX: none */
    bool debug, reuse_addr, reuse_port, dont_route, broadcast, keep_alive, oob_inline, no_check;
    bool linger, pass_cred, pass_sec, pass_pidfd, no_rights, rxq_ovfl, nofcs, select_err_queue;
    bool zero_copy, prefer_busy_poll, inq, lock_filter, wifi_status, rcvmark, rcvpriority;
    bool txtime;
    uint8_t timestamp; /* 0, or SO_TIMESTAMP_OLD and its kin */
    uint8_t buf_lock, txrehash;
    int32_t busy_poll_budget, txtime_clock;
    uint32_t txtime_flags;
};

struct socket;

/* Members may be NULL: the call is then -EOPNOTSUPP, or as said. */
struct socket_operations {
    int (*bind)(struct socket *s, const struct socket_address *addr);
    int (*listen)(struct socket *s, int backlog);
    /*
     * Called again until it says something else than -EAGAIN (wait on *ret_wait's room, an owned
     * reference, or for own events if it is NULL) or -EINPROGRESS (wait for own POLLOUT). `first`:
     * the first time in this call.
     */
    int (*connect)(struct socket *s, const struct socket_address *addr, bool first,
                   struct socket **ret_wait);
    /* A new socket, its file's reference the caller's; -EAGAIN: none is waiting. */
    int (*accept)(struct socket *s, struct socket **ret);
    int (*pair)(struct socket *a, struct socket *b);
    int (*getname)(struct socket *s, bool peer, struct socket_address *ret);
    /* Bytes taken, -EAGAIN; -EPIPE. */
    ssize_t (*sendmsg)(struct socket *s, struct socket_message *msg);
    /* Bytes given, 0 at the end, -EAGAIN. With MSG_TRUNC in flags a datagram's real length. */
    ssize_t (*recvmsg)(struct socket *s, struct socket_message *msg);
    int (*shutdown)(struct socket *s, int how); /* SHUT_* */
    /* Levels and options that the base does not know; -ENOPROTOOPT. */
    int (*setsockopt)(struct socket *s, int level, int name, const void *value, size_t size);
    /* *size: room in `value`, and what is used of it. */
    int (*getsockopt)(struct socket *s, int level, int name, void *value, size_t *size);
    /* Of SOL_SOCKET, before the base's turn, which comes after 0. 1: done; or an error. */
    int (*set_base_option)(struct socket *s, int name, const void *value, size_t size);
    /* Likewise; the base's turn comes after -ENOPROTOOPT. */
    int (*get_base_option)(struct socket *s, int name, void *value, size_t *size);
    /* An option of SOL_SOCKET was changed; told after it. */
    void (*option_changed)(struct socket *s, int name);
    /*
     * It ends with that error (positive), as SOCK_DESTROY of sock_diag(7) asks. -ENOENT: it has
     * ended. NULL: -EOPNOTSUPP. No lock is held.
     */
    int (*abort)(struct socket *s, int error);
    /*
     * SO_ATTACH_REUSEPORT_CBPF, PACKET_FANOUT_DATA: the program, whose reference is taken over,
     * chooses among the sockets that share a port, or frames; NULL takes it away. -EINVAL: no such
     * sharing; -ENOENT.
     */
    int (*set_chooser)(struct socket *s, struct socket_filter *program);
    /*
     * SIOCINQ, SIOCOUTQ for the kernel's own use: what waits to be read, or to be sent. -ENOTTY for
     * another request, -EINVAL. NULL: that is not known.
     */
    int (*queued)(struct socket *s, uint32_t cmd, int *ret);
    /* -ENOTTY: the base's turn. */
    long (*ioctl)(struct socket *s, struct mm *mm, uint32_t cmd, uint64_t arg);
    uint32_t (*poll)(struct socket *s);
    /* What mmap(2) maps, a reference. NULL: -ENODEV. */
    int (*mmap)(struct socket *s, struct mappable **ret);
    /* What /proc/net and SO_PEER* ask; NULL: none. A reference. */
    struct net_peer *(*peer)(struct socket *s);
    /* SCM_CREDENTIALS of a write(2), too: a family that carries them. */
    bool carries_rights;
    bool no_filter;                  /* packets are not seen here: SO_ATTACH_FILTER is refused */
    bool stream;                     /* of this type: bytes, not messages */
    bool listening;                  /* unused where accept is NULL */
    void (*flush)(struct socket *s); /* a descriptor of it is being closed */
    /* The file is closed: everybody else has to be told. Then drop_ref() by the base. */
    void (*close)(struct socket *s);
    void (*free)(struct socket *s); /* after the last reference */
};

struct socket {
    struct file file;
    refcount_t refs; /* the file's is one of them */
    const struct socket_operations *ops;
    int domain, type, protocol;
    struct net_ns *net; /* owned reference */
    uint64_t ino;
    struct own_attr attr;    /* whoever made it owns it */
    struct wait_queue queue; /* its own events */
    struct wait_queue room;  /* others that want to send to it, or connect */
    struct lock lock;
    struct socket_options opt;    /* single words; written under lock, read freely */
    struct socket_filter *filter; /* owned reference; NULL: none (filter.h) */
    /* Likewise: chooses among the sockets of a port; guarded by who has the ports. */
    struct socket_filter *chooser;
    int error;         /* atomic: SO_ERROR, positive; 0: none */
    int32_t accepting; /* atomic: SO_ACCEPTCONN */
};

struct socket_family {
    int family;
    /* socket(2): type without flags. -ESOCKTNOSUPPORT, -EPROTONOSUPPORT, -EPERM... */
    int (*create)(struct net_ns *net, int type, int protocol, struct socket **ret);
    /* What a network namespace has of this family; may be NULL. */
    int (*ns_init)(struct net_ns *net, void **ret);
    void (*ns_fini)(void *data);
    /* Tells of the sockets of a namespace until `show` says false, which makes no sockets and
     * closes none. May be NULL. */
    void (*list)(struct net_ns *net, socket_info_fn show, void *arg);
    /* The same of the internet families, for one protocol of theirs (inet_for_each()). */
    void (*report)(struct net_ns *net, int protocol, inet_report_fn show, void *arg);
    /* The answers of sock_diag(7) to a question of this family: each message to `each`, without
     * NLMSG_DONE. NULL: -ENOENT, or others know. */
    int (*diag)(struct net_ns *net, const struct nlmsghdr *question,
                void (*each)(void *arg, const struct nlmsghdr *answer), void *arg);
};

/* Before the first namespace is made; `family` is static. */
void socket_register_family(const struct socket_family *family);
const struct socket_family *socket_family_find(int family); /* NULL: there is none */

/* socket(2) without its flags: -EAFNOSUPPORT, -EINVAL, what the family says. */
int socket_create(struct net_ns *net, int domain, int type, int protocol, struct socket **ret);
/* For families: fills a zeroed socket, with one reference, which is the file's. */
void socket_init(struct socket *s, struct net_ns *net, const struct socket_operations *ops,
                 int domain, int type, int protocol);

struct socket_filter *socket_filter_unref(struct socket_filter *filter); /* takes NULL */

bool socket_is(const struct file *f);
static inline struct socket *socket_of(struct file *f)
{
    return container_of(f, struct socket, file);
}
/* The object, not its file. */
struct socket *socket_ref(struct socket *s);
struct socket *socket_unref(struct socket *s); /* takes NULL, returns NULL */
/* Whether the file is still there: a reference on it, or NULL. */
struct file *socket_get_file(struct socket *s);

/* Something has changed: POLL* bits. */
static inline void socket_wake(struct socket *s, uint32_t events)
{
    wait_queue_wake(&s->queue, events);
}
/* Urgent bytes came: SIGURG to its owner. No lock held. */
void socket_tell_urgent(struct socket *s);
/* Keeps an error (positive) for SO_ERROR and the next call, and wakes. */
void socket_set_error(struct socket *s, int error);
/* The pending error as -errno, taken; 0. */
int socket_take_error(struct socket *s);
static inline int socket_error(const struct socket *s)
{
    return __atomic_load_n(&s->error, __ATOMIC_ACQUIRE);
}
uint32_t socket_sockets_alive(void);

/* Takes from SOCKET_MEMORY_MAX, and gives back. -ENOBUFS. */
int socket_memory_take(uint64_t size);
void socket_memory_give(uint64_t size);

/*
 * Gives a datagram's bytes as far as there is room, which may be marked by MSG_TRUNC. What
 * recvmsg(2) says then: how many, or with MSG_TRUNC in flags how many there were. -EFAULT.
 */
ssize_t socket_message_give(struct socket_message *msg, const void *bytes, size_t size);
/* Adds a control message if there is room for it, else MSG_CTRUNC. */
void socket_control_put(struct socket_message *msg, int level, int type, const void *data,
                        size_t size);

/* SO_TIMESTAMP and its kin, if the socket wants them: when it came, by CLOCK_REALTIME. */
void socket_put_timestamp(struct socket *s, struct socket_message *msg, uint64_t ns);

/* marks.c: who may set SO_MARK, and that SO_PRIORITY. */
bool socket_may_mark(const struct socket *s);
bool socket_may_set_priority(const struct socket *s, int priority);
/*
 * The next control message of one that is sent, `*at` bytes into them (0 at first): its head, and
 * where the cmsg_len - CMSG_LEN(0) bytes in it begin. 1; 0: there are no more; -EINVAL.
 */
int socket_next_control(const struct socket_message *msg, size_t *at, struct cmsghdr *ret,
                        const uint8_t **ret_data);
/* One of SOL_SOCKET: sock_cmsg_send(). -EINVAL, -EPERM. */
int socket_take_marks(const struct socket *s, int type, const void *data, size_t size,
                      struct socket_marks *ret);
/* SO_RCVMARK, SO_RCVPRIORITY, if the socket wants them. */
void socket_put_marks(struct socket *s, struct socket_message *msg,
                      const struct socket_marks *marks);

/* SO_TXTIME: struct sock_txtime. -EINVAL, -EPERM. */
int socket_set_txtime(struct socket *s, const void *value, size_t size);
int socket_get_txtime(const struct socket *s, void *value, size_t *size);

/* options.c: SOL_SOCKET; host buffers. -ENOPROTOOPT, -EINVAL, -EDOM, -EPERM. */
int socket_set_option(struct socket *s, int name, const void *value, size_t size);
int socket_get_option(struct socket *s, int name, void *value, size_t *size);
void socket_options_init(struct socket_options *opt);
/* setsockopt(2)'s usual argument. -EINVAL when it is shorter than an int. */
int socket_option_int(const void *value, size_t size, int *ret);
/* Copies `source` as far as there is room. */
int socket_option_put(void *value, size_t *size, const void *source, size_t source_size);
int socket_option_put_int(void *value, size_t *size, int number);

#endif
