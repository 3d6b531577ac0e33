/* The one network interface of a sandbox without a network: netdevice(7), as every place tells it.
 */
#ifndef ABI_LOOPBACK_H
#define ABI_LOOPBACK_H

#define LO_NAME     "lo"
#define LO_INDEX    1
#define LO_MTU      65536
#define LO_TX_QUEUE 1000
#define LO_TYPE     772         /* ARPHRD_LOOPBACK */
#define LO_FLAGS    0x49        /* IFF_UP | IFF_LOOPBACK | IFF_RUNNING */
#define LO_LOWER_UP 0x10000     /* IFF_LOWER_UP, where there is room for it */
#define LO_ADDRESS  0x7f000001u /* 127.0.0.1, in host order */
#define LO_PREFIX   8

#endif
