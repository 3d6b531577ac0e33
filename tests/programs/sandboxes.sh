# packages: bubblewrap valgrind ltrace gdbserver gdb fio gcc
bwrap --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp --unshare-all --die-with-parent sh -c 'echo $$; ls /tmp | wc -l; touch /etc/x 2>&1 | grep -o "Read-only.*"; cat /proc/self/comm; ls /proc | grep -c "^[0-9]"; hostname; exit 4'; echo $?
bwrap --bind / / --unshare-user --uid 1000 --gid 1000 --unshare-pid --proc /proc --hostname box --unshare-uts sh -c 'id -u; hostname; echo $$'
bwrap --ro-bind /usr /usr --symlink usr/lib64 /lib64 --symlink usr/lib /lib --symlink usr/bin /bin --dir /x --chdir /x --setenv A b --clearenv --new-session sh -c 'pwd; ls /; echo $A'
printf '#include <stdlib.h>\nint main(void) { char *p = malloc(10); p[10] = 1; int *q = malloc(4); return *q ? 0 : 0; }\n' >v.c; gcc -g -O0 v.c -o v; valgrind -q --error-exitcode=9 ./v 2>&1 | grep -cE 'Invalid write|uninitialised'; valgrind -q ls / >/dev/null; echo $?
valgrind --tool=cachegrind --cachegrind-out-file=cg.out true 2>&1 | grep -c 'I *refs'
ltrace -e malloc -o lt ./v; grep -c malloc lt
printf 'int g = 5; int f(int x) { return x + g; }\nint main(void) { return f(2) - 7; }\n' >a.c; gcc -g -O0 a.c -o a
gdbserver --once 127.0.0.1:17040 ./a 2>/dev/null >/dev/null & for i in $(seq 30); do gdb -batch -nx -ex 'target remote 127.0.0.1:17040' -ex 'break f' -ex c -ex 'print x' -ex c a 2>&1 | grep -E '^\$' && break; sleep 0.2; done; wait
fio --name=t --size=4m --rw=randrw --bs=4k --ioengine=psync --verify=crc32c --output-format=terse >/dev/null 2>&1; echo $?
for e in sync pvsync2 mmap libaio splice; do fio --name=$e --size=2m --rw=randwrite --bs=4k --iodepth=8 --ioengine=$e --verify=crc32c --thread --output=fio.$e >/dev/null 2>&1; echo $e $?; done
