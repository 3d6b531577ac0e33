/* What kvmsentry calls itself. The guest sees the Linux release through uname(2). */
#ifndef RUNTIME_VERSION_H
#define RUNTIME_VERSION_H

#define KVMSENTRY_VERSION       "0.1.0"
#define KVMSENTRY_UNAME_RELEASE "6.18.0-kvmsentry"

#define KVMSENTRY_UNAME_VERSION "#1 SMP PREEMPT_DYNAMIC kvmsentry " KVMSENTRY_VERSION

#endif
