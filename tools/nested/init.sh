#!/bin/busybox sh
# The first and only program of the nested tier's machine: loads KVM, runs the jobs, reports them.
#
# A job is the script /jobs/N. Its report is one line on the second serial port:
#     NONCE N EXIT-STATUS MILLISECONDS BASE64-STDOUT BASE64-STDERR
# Output is in base64 and the nonce is new for each boot, so what a job prints (it goes to files, the
# console is not its terminal) cannot pass for a report.

export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
busybox mkdir -p /proc /sys /dev /tmp /run /results
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mkdir -p /dev/shm
busybox mount -t tmpfs shm /dev/shm
busybox chmod 1777 /tmp
busybox ln -s /proc/self/fd /dev/fd
busybox --install -s /bin

. /nested.conf # NONCE, NPT, TIMEOUT, LIMIT

port=/dev/ttyS1
busybox stty -F $port raw

uptime_ms() {
    read -r up _ < /proc/uptime
    echo "${up%.*}${up#*.}0"
}

report() { # number, status, ms
    for stream in out err; do
        busybox head -c $LIMIT /results/$stream | busybox base64 -w 0 > /results/$stream.64
    done
    echo "$NONCE $1 $2 $3 =$(busybox cat /results/out.64) =$(busybox cat /results/err.64)" > $port
}

{
    status=0
    busybox insmod /modules/irqbypass.ko || status=1
    busybox insmod /modules/kvm.ko || status=1
    busybox insmod /modules/ccp.ko || status=1
    busybox insmod /modules/kvm-amd.ko npt=$NPT nested=0 || status=1
    [ -c /dev/kvm ] || status=1
    busybox dmesg | busybox grep -i kvm
} > /results/out 2> /results/err
report boot $status "$(uptime_ms)"

# KVM patches the kernel's code when the first virtual machine comes and when the last one goes: a static
# key in the scheduler, and one of its own. QEMU before 8.1 may translate a page of code while another
# emulated CPU changes it, and then goes on executing the old bytes, in which the patching's int3 stands:
# the CPU never leaves the scheduler. So one virtual machine is there all the time.
keeper=0
if [ -f /keeper ]; then
    busybox setsid busybox sh /keeper < /dev/null > /dev/null 2>&1 &
    keeper=$!
    busybox sleep 1
fi

# All processes but this one and the keeper's session: what a job left running.
kill_rest() {
    again=yes
    while [ $again = yes ]; do
        again=no
        for stat in /proc/[0-9]*/stat; do
            read -r line < $stat || continue
            pid=${line%% *}
            set -- ${line##*) } # state, parent, group, session; session 0 is the kernel's own
            case $1:$4:$pid in Z:* | *:0:* | *:$keeper:* | *:*:1) continue ;; esac
            kill -9 $pid && again=yes
        done
    done 2> /dev/null
}

number=0
while [ -f /jobs/$number ]; do
    begin=$(uptime_ms)
    busybox timeout -s KILL $TIMEOUT busybox sh /jobs/$number \
        < /dev/null > /results/out 2> /results/err
    status=$?
    kill_rest
    report $number $status $(($(uptime_ms) - begin))
    number=$((number + 1))
done
: > /results/out
: > /results/err
report end 0 "$(uptime_ms)"
busybox sync
busybox reboot -f
