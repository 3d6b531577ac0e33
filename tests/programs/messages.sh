# packages: dnsmasq-base mosquitto mosquitto-clients beanstalkd stunnel4 ncat nmap tcpdump iproute2
dnsmasq -k -p 17050 --listen-address=127.0.0.1 --bind-interfaces -u root --no-resolv --no-hosts --address=/a.test/1.2.3.4 --pid-file= >/dev/null 2>&1 & D=$!
cat >q.py <<'P'
import socket, struct, time
q = struct.pack(">HHHHHH", 1, 256, 1, 0, 0, 0) + b"\1a\4test\0" + struct.pack(">HH", 1, 1)
for kind in "udp", "tcp":
    for _ in range(50):
        try:
            if kind == "udp":
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect(("127.0.0.1", 17050)); s.send(q); r = s.recv(512)
            else:
                s = socket.create_connection(("127.0.0.1", 17050)); s.send(struct.pack(">H", len(q)) + q); r = s.recv(512)
            print(kind, r[-4:]); break
        except OSError: time.sleep(0.1)
P
python3 q.py; kill $D; wait $D; echo $?
mosquitto -p 17051 >/dev/null 2>&1 & M=$!; for i in $(seq 50); do mosquitto_pub -p 17051 -t a -r -m kept 2>/dev/null && break; sleep 0.1; done; mosquitto_sub -p 17051 -t a -C 1 -W 10; (mosquitto_sub -p 17051 -t b -C 3 -W 20 >sub & W=$!; while kill -0 $W 2>/dev/null; do mosquitto_pub -p 17051 -t b -q 1 -m x; sleep 0.1; done; wait $W; wc -l <sub); kill $M; wait $M; echo $?
beanstalkd -l 127.0.0.1 -p 17052 & B=$!; for i in $(seq 50); do printf 'put 1 0 9 3\r\nabc\r\nreserve\r\ndelete 1\r\nquit\r\n' | ncat 127.0.0.1 17052 2>/dev/null && break; sleep 0.1; done; kill $B; wait $B; echo $?
ncat -l -k 127.0.0.1 17053 -c 'read x; echo $x' & N=$!; for i in $(seq 50); do echo via ncat | ncat 127.0.0.1 17053 2>/dev/null && break; sleep 0.1; done
openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 9 -subj /CN=x 2>/dev/null; cat k c >kc; printf 'foreground = yes\npid =\n[s]\naccept = 127.0.0.1:17055\nconnect = 127.0.0.1:17053\ncert = %s/kc\n' $PWD >st.conf; stunnel st.conf 2>/dev/null & S=$!
for i in $(seq 50); do echo tunnel | openssl s_client -quiet -no_ign_eof -connect 127.0.0.1:17055 2>/dev/null | grep . && break; sleep 0.1; done; kill $S; wait $S; echo $?
nmap -sT -n -Pn -p 17053,17054 127.0.0.1 2>/dev/null | grep tcp; kill $N; wait $N; echo $?
ip -o link show lo | wc -l; ip addr show lo | grep -c 127.0.0.1; ss -ltn | wc -l | awk '{print $1 >= 1}'; ip route get 127.0.0.1 | head -n 1 | cut -d' ' -f1-4
tcpdump -i lo -c 2 -n -w cap udp port 17056 2>/dev/null & T=$!; while kill -0 $T 2>/dev/null; do echo x >/dev/udp/127.0.0.1/17056; sleep 0.1; done 2>/dev/null; wait $T; echo $?; tcpdump -n -r cap 2>/dev/null | wc -l
