# packages: memcached python3 socat
serve() { memcached -u root -p 17003 -U 0 -l "$address" & server=$!; }
try() { printf 'set k 0 0 3\r\nabc\r\nget k\r\nquit\r\n' | socat - "TCP:$host:17003"; }
ask() {
    patiently try
    python3 - "$address" <<'P'
import socket, sys, threading
def work(n):
    with socket.create_connection((sys.argv[1], 17003), 60) as s, s.makefile("rwb") as f:
        for i in range(50):
            value = (b"%d,%d " % (n, i)) * (i * 40)
            f.write(b"set key%d-%d 0 0 %d\r\n%s\r\nget key%d-%d\r\n" % (n, i, len(value), value, n, i))
            f.flush()
            assert f.readline() == b"STORED\r\n" and f.readline().startswith(b"VALUE")
            assert f.read(len(value) + 2) == value + b"\r\n" and f.readline() == b"END\r\n"
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
with socket.create_connection((sys.argv[1], 17003), 60) as s, s.makefile("rwb") as f:
    f.write(b"stats\r\nquit\r\n")
    f.flush()
    print([l for l in f.read().split(b"\r\n") if b"curr_items" in l or b"cmd_set" in l])
P
}
stop() { finish $server; }
