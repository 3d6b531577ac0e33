# packages: memcached socat iperf3 curl python3
# again: --network=host
memcached -u root -p 17003 -l 127.0.0.1 & S=$!; for i in $(seq 50); do printf 'set k 0 0 3\r\nabc\r\nget k\r\nquit\r\n' | socat - TCP:127.0.0.1:17003 2>/dev/null && break; sleep 0.1; done; kill $S; wait $S || echo $?
socat TCP-LISTEN:17004,reuseaddr,fork EXEC:cat & S=$!; for i in $(seq 50); do echo hi | socat - TCP:localhost:17004 2>/dev/null && break; sleep 0.1; done
socat UNIX-LISTEN:s.sock,fork EXEC:cat & U=$!; for i in $(seq 50); do [ -S s.sock ] && break; sleep 0.1; done; echo unix | socat - UNIX:s.sock; kill $S $U; wait || true
echo hello >index.html; python3 -m http.server 17002 --bind 127.0.0.1 >/dev/null 2>&1 & S=$!; for i in $(seq 50); do curl -sf localhost:17002/index.html && break; sleep 0.1; done; kill $S; wait $S || echo $?
for u in '' -u; do iperf3 -s -p 17007 -1 >/dev/null 2>&1 & for i in $(seq 50); do iperf3 $u -c 127.0.0.1 -p 17007 -t 1 >log 2>&1 && break; sleep 0.1; done; grep -c receiver log; wait; done
