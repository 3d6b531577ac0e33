# packages: util-linux procps psmisc
taskset -c 0 nproc; nice -n 7 ps -o ni= -p $$; setsid sh -c 'ps -o pid=,sid= -p $$ | awk "{ print \$1 == \$2 }"'; flock l -c 'echo locked'; nohup echo kept 2>/dev/null; cat nohup.out 2>/dev/null || true
seq 10 | xargs -P 4 -I{} sh -c 'echo {}' | sort -n | tr '\n' ' '; timeout -s KILL 0.2 sleep 9; echo $?; prlimit --nofile=64 sh -c 'ulimit -n'; getopt -o ab: -- -a -b c d
sleep 30 & until pgrep -P $$ -f '^sleep 30$' >/dev/null; do sleep 0.1; done; pgrep -c -P $$ -f '^sleep 30$'; kill $!; wait $! || echo $?; ps -e -o comm= | grep -c ps; free | wc -l; uptime | wc -l; pstree -A $$ | head -c 2; echo; mcookie | wc -c; renice -n 4 $$ | wc -l
unshare -r id -u; unshare -m sh -c 'mount -t tmpfs none /mnt && touch /mnt/x && ls /mnt'; unshare -pf --mount-proc sh -c 'echo $$; ps -e | wc -l'; nsenter -t $$ -u true; lsns -n | wc -l | awk '{ print $1 > 0 }'
script -qec 'tty | cut -c1-9' /dev/null | tr -d '\r'; column -t <<<'a b'; rev <<<abc; hexdump -C <<<abc; findmnt -n -o FSTYPE /proc | sort -u; logger -s x 2>&1 | wc -l
