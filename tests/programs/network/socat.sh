# packages: socat
serve() {
    seq 1 300000 >numbers
    socat "TCP$v-LISTEN:17004,bind=$host,reuseaddr,fork" EXEC:cat & echo=$!
    socat "TCP$v-LISTEN:17005,bind=$host,reuseaddr,fork" FILE:numbers,rdonly & file=$!
    socat "TCP$v-LISTEN:17008,bind=$host,reuseaddr,fork" EXEC:sha256sum & sum=$!
    socat "UDP$v-RECVFROM:17009,bind=$host,reuseaddr,fork" EXEC:cat & udp=$!
}
v=4; [ -z "$v6" ] || v=6
echoed() { echo hi | socat -t 10 - "TCP:$host:17004"; }
ask() {
    patiently echoed
    seq 1 300000 | socat -t 20 - "TCP:$host:17004" | sha256sum
    socat -u "TCP:$host:17005" - | sha256sum
    seq 1 300000 | socat -t 20 - "TCP:$host:17008"
    (for i in 1 2 3 4 5 6 7 8; do seq 1 20000 | socat -t 20 - "TCP:$host:17008" & done; wait)
    for i in 1 2 3; do echo "datagram $i" | timeout 20 socat -t 1 - "UDP:$host:17009"; done
    echo x | socat -t 1 - "TCP:$host:17099" 2>&1 | grep -o 'Connection refused'
}
stop() { for s in $echo $file $sum $udp; do finish $s; done; }
