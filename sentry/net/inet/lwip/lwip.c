/* The stack's thread, and how the first network namespace comes to have it. */
#include "sentry/net/inet/lwip/lwip.h"

#include <errno.h>
#include <poll.h>

#include "host/io.h"
#include "host/poll.h"
#include "host/thread.h"
#include "sentry/net/inet/internal.h"
#include "sentry/net/inet/lwip/bridge.h"
#include "sentry/net/inet/lwip/stack.h"
#include "sentry/net/netns.h"

#define FINISH_STEP_MS 5
#define STALLED_MS     2000  /* nothing has left for so long: nobody takes it */
#define FINISH_MS      30000 /* in all */

static struct net_ns *net;
static int kick_fd = -1;

static void stack_main(void *arg)
{
    struct pollfd fds[] = {{.fd = stack_config()->fd, .events = POLLIN},
                           {.fd = kick_fd, .events = POLLIN}};

    bridges_own_thread();
    for (;;) {
        uint32_t timeout;
        uint64_t kicks;
        bool idle;

        lock_acquire(&stack_lock);
        idle = stack_input();
        idle &= bridges_look();
        timeout = stack_timers();
        lock_release(&stack_lock);
        if (host_poll(fds, ARRAY_COUNT(fds), idle ? (int)MIN(timeout, 60000U) : 0) > 0 &&
            (fds[1].revents & POLLIN))
            host_read(kick_fd, &kicks, sizeof(kicks));
    }
}

static void attach(struct net_ns *first)
{
    static struct inet_outward outward = {
        .owns = stack_owns,
        .is_broadcast = stack_is_broadcast,
        .route = stack_route,
        .connect = bridge_connect,
        .cancel = bridge_cancel,
        .listening_changed = bridge_listening_changed,
        .send = exchange_send,
        .groups_changed = exchange_groups_changed,
        .has_way = stack_has_way,
    };

    net = first;
    outward.index = stack_config()->index;
    if (stack_config()->raw)
        outward.send_packet = exchange_send_packet;
    inet_ns_of(first)->outward = &outward;
}

int lwip_prepare(const struct lwip_config *config, const char **ret_why)
{
    static const struct net_outward outward = {
        .attach = attach,
        .interface_ioctl = about_interface_ioctl,
        .route = about_route,
        .adds_to_loopback = true,
        .proc_text = about_proc_text,
        .device = about_device,
        .send_frame = exchange_send_frame,
    };
    int err = stack_load(ret_why);

    if (err < 0)
        return err;
    *ret_why = "the device could not be set up";
    err = stack_add_device(config);
    kick_fd = err < 0 ? err : host_eventfd();
    if (kick_fd < 0)
        return kick_fd;
    net_set_outward(&outward);
    return 0;
}

int lwip_start(void)
{
    int err;

    bridges_start(net, kick_fd);
    err = exchange_start(net);
    return err < 0 ? err : host_thread_start("network", stack_main, NULL);
}

void lwip_finish(void)
{
    uint64_t bytes = 0;
    bool busy = true;

    for (int all = 0, stalled = 0; all < FINISH_MS && stalled < STALLED_MS;
         all += FINISH_STEP_MS, stalled += FINISH_STEP_MS) {
        uint64_t now = __atomic_load_n(&stack_counts.out_bytes, __ATOMIC_RELAXED);

        lock_acquire(&stack_lock);
        busy = bridges_ending() || stack_streams_ending();
        lock_release(&stack_lock);
        if (!busy)
            return;
        if (now != bytes)
            stalled = 0;
        bytes = now;
        host_poll(NULL, 0, FINISH_STEP_MS);
    }
}
