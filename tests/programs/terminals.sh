# packages: screen expect parallel pv p7zip-full jq zsh fish ksh93u+m mksh tcsh moreutils entr inotify-tools fakeroot
expect -c 'log_user 0; spawn bash --norc; send "echo \$((6*7))\r"; expect -re 42 { puts ok }; send "exit 3\r"; expect eof; puts [lindex [wait] 3]'
export SCREENDIR=$PWD/sd; mkdir -m 700 sd; screen -c /dev/null -dmS s sh -c 'echo in screen >out; cat'; for i in $(seq 50); do [ -s out ] && break; sleep 0.1; done; cat out; screen -S s -X quit; echo $?
for sh in zsh fish 'ksh93' mksh tcsh; do $sh -c 'echo from $0 | cat; (exit 3); echo a | tr a b' 2>&1 | tail -n 1; done
zsh -fc 'zmodload zsh/zpty; zpty x "echo in zpty"; zpty -r x l; print -- ${l%%$'"'\r\n'"'}; setopt extendedglob; print -l /etc/host*(.N:t)'
fish -c 'for i in (seq 3); echo $i; end; sleep 0.2 &; wait; echo done; string upper abc; begin; echo x; echo y; end | wc -l'
seq 20 | parallel -k -j4 'echo {} {#}' | md5sum; seq 100000 | pv -q | sha256sum; seq 1000 >n; 7z a -bd -mmt=2 z.7z n >/dev/null; 7z t z.7z | grep -c Everything; 7z a -bd z.zip n >/dev/null; 7z l z.zip | grep -c ' n$'
echo '{"a":[1,2,{"b":3}]}' | jq -c '.a[2].b, (.a|length)'; echo a | sponge f; cat f; seq 3 | ifne wc -l; chronic sh -c 'echo quiet'; echo b >>f; seq 3 | tee >(wc -l >w) >/dev/null; until [ -s w ]; do sleep 0.1; done; cat w
inotifywait -e create . >ev 2>log & W=$!; until grep -q established log; do sleep 0.1; done; touch new; wait $W; echo $?; cat ev
fakeroot sh -c 'touch z; chown 5:6 z; stat -c "%u %g" z; mknod dev c 1 3; stat -c %F dev'; ls f | entr -n -z echo changed & E=$!; while kill -0 $E 2>/dev/null; do echo c >>f; sleep 0.2; done; wait $E; echo $?
