# packages: redis-server redis-tools
# again: --network=host
redis-server --port 17001 --save '' --daemonize no --dir . >log 2>&1 & S=$!; for i in $(seq 100); do redis-cli -p 17001 ping >/dev/null 2>&1 && break; sleep 0.1; done
redis-cli -p 17001 set a b; redis-cli -p 17001 get a; redis-cli -p 17001 eval 'return redis.call("incr", "n") + 1' 0; redis-cli -p 17001 lpush l 1 2 3
redis-benchmark -p 17001 -n 2000 -t set,get -q 2>&1 | tr '\r' '\n' | grep -c 'requests per second'; redis-cli -p 17001 bgsave; for i in $(seq 50); do [ -s dump.rdb ] && break; sleep 0.1; done; ls *.rdb
redis-cli -p 17001 shutdown nosave; wait $S; echo $?
