# packages: redis-server redis-tools
cli() { redis-cli -h "$address" -p 17001 "$@"; }
serve() { redis-server --bind "$address" --port 17001 --save '' --protected-mode no --daemonize no >log 2>&1 & server=$!; }
ask() {
    patiently cli ping; cli set a b; cli get a; cli eval 'return redis.call("incr", "n") + 1' 0
    seq 1 2000 | sed 's/^/RPUSH l /' | cli >/dev/null; cli lindex l 1999
    head -c 3000000 /dev/zero | tr '\0' x | cli -x set big; cli strlen big; cli get big | sha256sum
    redis-benchmark -h "$address" -p 17001 -n 2000 -t set,get -q 2>&1 | tr '\r' '\n' | grep -c 'requests per second'
    redis-benchmark -h "$address" -p 17001 -n 4000 -P 16 -d 1000 -t set,get -q 2>&1 | tr '\r' '\n' | grep -c 'requests per second'
    redis-cli -h "$address" -p 17001 subscribe c >heard & listener=$!; patiently test -s heard; cli publish c word; patiently grep -x word heard; kill $listener
}
stop() { finish $server; }
