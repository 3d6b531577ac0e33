/* /sys/devices/virtual and what leads there by /sys/class and /sys/dev: tty and mem devices. */
#include "sentry/fs/sys/internal.h"

#define DEVICE(name_, number_, uevent_)                                                            \
    static const struct tree_node name_##_nodes[] = {                                              \
        TREE_FIXED("dev", number_ "\n"),                                                           \
        TREE_FIXED("uevent", uevent_),                                                             \
    }
#define UEVENT(major_, minor_, name_, mode_)                                                       \
    "MAJOR=" major_ "\nMINOR=" minor_ "\nDEVNAME=" name_ "\nDEVMODE=" mode_ "\n"

DEVICE(null, "1:3", UEVENT("1", "3", "null", "0666"));
DEVICE(zero, "1:5", UEVENT("1", "5", "zero", "0666"));
DEVICE(full, "1:7", UEVENT("1", "7", "full", "0666"));
DEVICE(random, "1:8", UEVENT("1", "8", "random", "0666"));
DEVICE(urandom, "1:9", UEVENT("1", "9", "urandom", "0666"));
DEVICE(kmsg, "1:11", UEVENT("1", "11", "kmsg", "0644"));
DEVICE(tty, "5:0", UEVENT("5", "0", "tty", "0666"));
DEVICE(console, "5:1", "MAJOR=5\nMINOR=1\nDEVNAME=console\n");
DEVICE(ptmx, "5:2", UEVENT("5", "2", "ptmx", "0666"));

const struct tree_node sys_virtual_mem_nodes[SYS_MEM_DEVICES] = {
    TREE_DIR("full", full_nodes),       TREE_DIR("kmsg", kmsg_nodes),
    TREE_DIR("null", null_nodes),       TREE_DIR("random", random_nodes),
    TREE_DIR("urandom", urandom_nodes), TREE_DIR("zero", zero_nodes),
};
const struct tree_node sys_virtual_tty_nodes[SYS_TTY_DEVICES] = {
    TREE_DIR("console", console_nodes),
    TREE_DIR("ptmx", ptmx_nodes),
    TREE_DIR("tty", tty_nodes),
};

#define CLASS(kind_, name_) TREE_LINK(name_, "../../devices/virtual/" kind_ "/" name_)

const struct tree_node sys_class_mem_nodes[SYS_MEM_DEVICES] = {
    CLASS("mem", "full"),   CLASS("mem", "kmsg"),    CLASS("mem", "null"),
    CLASS("mem", "random"), CLASS("mem", "urandom"), CLASS("mem", "zero"),
};
const struct tree_node sys_class_tty_nodes[SYS_TTY_DEVICES] = {
    CLASS("tty", "console"),
    CLASS("tty", "ptmx"),
    CLASS("tty", "tty"),
};

#define NUMBER(number_, kind_, name_) TREE_LINK(number_, "../../devices/virtual/" kind_ "/" name_)

const struct tree_node sys_dev_char_nodes[SYS_MEM_DEVICES + SYS_TTY_DEVICES] = {
    NUMBER("1:3", "mem", "null"),   NUMBER("1:5", "mem", "zero"),    NUMBER("1:7", "mem", "full"),
    NUMBER("1:8", "mem", "random"), NUMBER("1:9", "mem", "urandom"), NUMBER("1:11", "mem", "kmsg"),
    NUMBER("5:0", "tty", "tty"),    NUMBER("5:1", "tty", "console"), NUMBER("5:2", "tty", "ptmx"),
};
