# packages: strace gdb gcc
printf 'int g = 5; int f(int x) { return x + g; }\nint main(void) { return f(2) - 7; }\n' >a.c; gcc -g -O0 a.c -o a
strace -f -e trace=execve -o log sh -c '/bin/true; /bin/true'; grep -c execve log; strace -c -o sum ls / >/dev/null; grep -c total sum
strace -e inject=getppid:retval=77 sh -c 'echo $PPID' 2>/dev/null | wc -l; strace -qq -e signal=USR1 sh -c 'kill -USR1 $$' 2>&1 | head -n 1 | cut -c1-14 || true
gdb -batch -nx -ex 'break f' -ex run -ex 'print x' -ex bt -ex 'watch g' -ex 'set var g = 9' -ex finish -ex 'info inferiors' a 2>&1 | grep -E '^\$|^#|Value' | sed 's/0x[0-9a-f]*/ADDR/g'
gdb -batch -nx -ex 'set follow-fork-mode child' -ex 'catch exec' -ex run -ex c --args sh -c /bin/true 2>&1 | grep -c 'executing new program'
