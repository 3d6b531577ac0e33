# packages: coreutils
seq 20 >n; printf 'b 2\na 1\nc 3\n' >t; umask 022
run() { echo "== $*"; "$@" 2>&1 || echo "status $?"; }
run arch; run base32 n; run base64 n; run basename /a/b.c .c; run basenc --base16 t; run cat -n t; run chmod 640 n
run stat -c '%a %s %F' n; run cksum n; run b2sum t; run md5sum t; run sha1sum t; run sha224sum t; run sha256sum t
run sha384sum t; run sha512sum t; run comm t t; run cp -a t u; run csplit -s n 5 10; run ls; run cut -d' ' -f2 t
run date -u -d @86400 +%F; run dd if=n of=o bs=3 count=4 status=none; run dircolors -b; run dirname /a/b; run du -b n
run echo -e 'a\tb'; run env -i A=b env; run expand t; run expr 6 '*' 7; run factor 360360 1000003; run false
run fmt -w 10 n; run fold -w 5 n; run groups; run head -n 2 n; run tail -n 2 n; run id -u; run install -D -m 700 t p/q/r
run stat -c %a p/q/r; run join t t; run link t l; run ln -s t s; run readlink s; run ls -1F; run mkdir -p x/y; run mkfifo f
run stat -c %F f; run mknod g p; run mv u v; run nice -n 3 nice; run nl t; run nohup true; run nproc --all; run numfmt --to=si 12345
run od -c t; run paste t t; run pathchk a/b; run pr -t -2 n; run printenv HOME; run printf '%05d %s\n' 7 x; run ptx t; run pwd -P
run realpath -s ../x; run rm -rf x; run rmdir p/q/r; run seq -w 8 11; run shred -u l; run shuf -i 1-3 -n 0; run sleep 0.01
run sort -r t; run sort -k2n t; run split -n 3 n k; run ls; run stdbuf -o0 cat t; run sum n; run sync n; run tac t; run tee w <t
run test -f n; run timeout 0.1 sleep 9; run touch -d @100 n; run stat -c '%Y %h' n; run tr a-z A-Z <t; run true; run truncate -s 7 n
run tsort t; run tty; run uname -s; run unexpand -a t; run uniq -c t; run unlink w; run users; run wc t; run who; run whoami
run yes n | head -n 3; run dd if=/dev/zero bs=1M count=8 status=none | sha256sum; run chown 0:0 t; run chgrp 0 t; run chroot / true
run cp --sparse=always n sparse; run cp -r --reflink=auto . ../copy; rm -rf ../copy; run ls -la --time-style=+%s t | wc -w
run df --output=target /proc; run stty -a </dev/null; run hostid | wc -c; run pinky -l root; run runcon true; run chcon x t
