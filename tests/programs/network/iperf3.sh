# packages: iperf3 python3
serve() { iperf3 -s -p 17007 >log 2>&1 & server=$!; }
one() { iperf3 -c "$address" -p 17007 -n 65536 >/dev/null 2>&1; }
ask() {
    patiently one
    # Between two tests the server closes its socket and makes another: who comes meanwhile is reset, and
    # with -J that is status 0.
    for options in '-n 20M' '-n 20M -R' '-n 8M -P 4' '-n 8M -P 4 -R' '-n 4M -l 100' '-u -n 2M -b 20M -l 1400' '-u -n 2M -b 20M -l 1400 -R' '-u -n 512K -b 10M -l 8000'; do
        for i in $(seq 10); do iperf3 $options -c "$address" -p 17007 -J >out; status=$?; grep '"error"' out >&2 || [ $status != 0 ] || break; sleep 1; done; echo "status of $options: $status"
        python3 - "$options" <<'P'
import json, sys
end = json.load(open("out"))["end"]
if "-u" in sys.argv[1]:
    total = end["sum"]
    print("enough" if total["packets"] - total["lost_packets"] > 20 else end)
else:
    print("bytes", end["sum_sent"]["bytes"] > 1 << 20, end["sum_received"]["bytes"] > 1 << 16)
P
    done
}
stop() { kill $server; wait $server; echo stopped; }
