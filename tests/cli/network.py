"""--network: programs inside and outside talk, in network namespaces of the test's own where they can be made."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from namespaces import TIMEOUT, Cable, Namespace, can_make
from network_link import test_bound, test_groups, test_lingering, test_neighbours, test_windows
from network_peers import Server, free_port, judge

PYTHON = sys.executable
# Answers each line of a connection in capitals, once for each of its arguments' ports.
ECHO = r"""
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
tcp = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
udp = socket.socket(family, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    client, _ = tcp.accept()
    with client, client.makefile("rwb") as stream:
        for line in stream:
            stream.write(line.upper())
            stream.flush()
    data, sender = udp.recvfrom(2000)
    udp.sendto(data.upper(), sender)
"""
ASK = r"""
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as tcp, tcp.makefile("rwb") as stream:
    big = b"b" * 300000 + b"\n"
    for line in b"hello\n", big, b"end\n":
        stream.write(line)
        stream.flush()
        answer = stream.readline()
        print(len(answer), answer[:10], answer == line.upper())
udp = socket.socket(family, socket.SOCK_DGRAM)
udp.settimeout(20)
udp.connect((sys.argv[1], int(sys.argv[2])))
udp.send(b"datagram")
print(udp.recv(100))
"""
ASKED = "6 b'HELLO\\n' True\n300001 b'BBBBBBBBBB' True\n4 b'END\\n' True\nb'DATAGRAM'\n"


FILTER = r"""
import ctypes, socket
program = ctypes.create_string_buffer(b"\x06\0\0\0\xff\xff\0\0")  # return 65535
fprog = ctypes.c_uint64 * 2
try:
    socket.socket().setsockopt(socket.SOL_SOCKET, 26, bytes(fprog(1, ctypes.addressof(program))))
except OSError as error:
    print(error.strerror)
"""


def talk(tally, label, server, client, address, server_prefix, client_prefix):
    """An echo server here, a client there, over TCP and UDP."""
    port = free_port()
    with Server(server, [*server_prefix, PYTHON, "-c", ECHO, address, port]):
        judge(tally, label, client.run(*client_prefix, PYTHON, "-c", ASK, address, port), ASKED)


def retry(namespace, words, wanted, tally, label):
    """A server that does not say when it is ready is asked until it answers."""
    for _ in range(100):
        result = namespace.run(*words)
        if result.returncode == 0:
            break
        namespace.run("sleep", "0.1")
    judge(tally, label, result, wanted)


def serve_programs(namespace, outside, address, inside, platform, tally):
    """Servers inside, clients outside."""
    port = free_port()
    mode = inside[-2].split("=")[1].split(",")[0]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        page = os.path.join(folder, "page")
        with open(page, "w", encoding="ascii") as file:
            file.write("page\n" * 20000)
        os.chmod(folder, 0o755)
        bind = [*inside[:-1], f"--bind={folder}:{folder}", "--"]
        with Server(namespace, [*bind, PYTHON, "-m", "http.server", "-b", address, "-d", folder, port], False):
            retry(outside, ["curl", "-s", f"http://{address}:{port}/page"], "page\n" * 20000, tally,
                  f"http.server inside, curl outside with --network={mode} on {platform}")
        if shutil.which("nginx"):
            conf = os.path.join(folder, "nginx.conf")
            with open(conf, "w", encoding="ascii") as file:
                file.write(f"daemon off; pid {folder}/pid; error_log /dev/null; user root;\n"
                           "events {}\n"
                           f"http {{ access_log off; server {{ listen {address}:{port}; root {folder}; }} }}\n")
            with Server(namespace, [*bind, "nginx", "-c", conf], False):
                retry(outside, ["curl", "-s", f"http://{address}:{port}/page"], "page\n" * 20000, tally,
                      f"nginx inside, curl outside, --network={mode}, on {platform}")
    if shutil.which("redis-server"):
        with Server(namespace, [*inside, "redis-server", "--port", port, "--bind", address, "--save", "", "--protected-mode", "no"]):
            retry(outside, ["redis-cli", "-h", address, "-p", port, "ping"], "PONG\n", tally,
                  f"redis inside, redis-cli outside, --network={mode}, on {platform}")
            judge(tally, f"redis inside, a list from outside, --network={mode}, on {platform}",
                  outside.run("sh", "-c", f"seq 1 2000 | sed 's/^/RPUSH l /' | redis-cli -h {address} -p {port} >/dev/null "
                                          f"&& redis-cli -h {address} -p {port} LINDEX l 1999"), "2000\n")


def test_network_host(command, platforms, tally):
    """--network=host."""
    guests = os.path.join(os.path.dirname(command.hello))
    with Namespace("host") as namespace:
        for platform in platforms:
            inside = [command.program, f"--platform={platform}", "--network=host", "--"]
            for test in ("tcp", "tcp_data", "udp", "netlink", "sock_random"):
                native = namespace.run(os.path.join(guests, test))
                got = namespace.run(*inside, os.path.join(guests, test))
                judge(tally, f"{test} over the host's sockets on {platform}", got, native.stdout)
            for address in "127.0.0.1", "::1":
                talk(tally, f"server inside, client outside, {address} on {platform}", namespace, namespace,
                     address, inside, [])
                talk(tally, f"client inside, server outside, {address} on {platform}", namespace, namespace,
                     address, [], inside)
            for words in (["ip", "-o", "addr"], ["ip", "route", "show", "table", "all"],
                          ["ip", "route", "get", "127.0.0.1"], ["cat", "/proc/net/dev"],
                          ["cat", "/proc/net/if_inet6"]):
                if namespace.prefix:
                    judge(tally, f"{' '.join(words)} on {platform}", namespace.run(*inside, *words),
                          namespace.run(*words).stdout)
            judge(tally, f"no filters on the host's sockets on {platform}", namespace.run(*inside, PYTHON, "-c", FILTER),
                  "Protocol not available\n")
            # A namespace that a program makes has nothing but a loopback, and that in memory.
            port = free_port()
            with Server(namespace, [PYTHON, "-c", ECHO, "127.0.0.1", port]):
                judge(tally, f"a new network namespace inside on {platform}",
                      namespace.run(*inside, "unshare", "-n", "sh", "-c",
                                    f"ip -o link | wc -l; curl -s 127.0.0.1:{port} || echo $?"), "1\n7\n")
            serve_programs(namespace, namespace, "127.0.0.1", inside, platform, tally)


def addresses(namespace):
    """What the device has of its own, without what changes by itself."""
    lines = namespace.run("ip", "-o", "addr", "show", "dev", "cable0").stdout.splitlines()
    routes = namespace.run("ip", "route").stdout.splitlines()
    return sorted(line.split()[3] for line in lines) + sorted(line.strip() for line in routes)


def wait_for(wanted, namespace, tally, label):
    """What a sandbox has taken over comes back when it has ended."""
    for _ in range(100):
        if addresses(namespace) == wanted:
            break
        namespace.run("sleep", "0.05")
    tally.add("passed" if addresses(namespace) == wanted else "failed", label, str(addresses(namespace)))


def test_sandbox_on(cable, inside, platform, tally):
    near, far = cable.near, cable.far
    for address in "10.9.0.1", "fd09::1", "10.8.0.1", "fd08::1":
        talk(tally, f"sandbox to {address} on {platform}", far, near, address, [], inside)
    for bound, address in ("0.0.0.0", "10.9.0.2"), ("10.9.0.2", "10.9.0.2"), ("::", "fd09::2"), ("::", "10.9.0.2"):
        port = free_port()
        with Server(near, [*inside, PYTHON, "-c", ECHO, bound, port]):
            if ":" not in bound or ":" in address:
                judge(tally, f"{address} to {bound} in a sandbox on {platform}",
                      far.run(PYTHON, "-c", ASK, address, port), ASKED)
            got = far.run("ping", "-c", "2", "-i", "0.2", "-W", "5", address)
            tally.add("failed" if got.returncode else "passed", f"ping {address} on {platform}", got.stdout[-200:])
            refused = far.run("curl", "-s", f"http://{address}:1/".replace("fd09::2", "[fd09::2]"))
            tally.add("passed" if refused.returncode == 7 else "failed", f"{address}, a closed port on {platform}",
                      f"curl: {refused.returncode}")
    judge(tally, f"a refused connection, then 127.0.0.1 and the own address on {platform}",
          near.run(*inside, PYTHON, "-c", SELF), "refused\nudp refused\n127.0.0.1 b'x'\n10.9.0.2 b'x'\n")
    raw = [*inside[:-1], "--net-raw", "--"]
    for address in "10.9.0.1", "fd08::1":
        got = near.run(*raw, "ping", "-c", "2", "-i", "0.2", "-W", "5", address)
        tally.add("failed" if got.returncode else "passed", f"ping from inside, {address} on {platform}",
                  got.stdout[-200:] + got.stderr[-200:])
    got = near.run(*inside, "ping", "-c", "1", "-W", "1", "10.9.0.1")
    tally.add("passed" if got.returncode else "failed", f"no ping without --net-raw on {platform}", got.stdout[-200:])
    judge(tally, f"packet sockets on {platform}", near.run(*raw, PYTHON, "-c", PACKETS), PACKETS_SEEN)
    got = near.run(*inside, PYTHON, "-c", PACKETS)
    tally.add("passed" if got.returncode == 1 and got.stderr == "Operation not permitted\n" else "failed",
              f"no packets of the device without --net-raw on {platform}", got.stdout + got.stderr)
    got = near.run(*inside, "sh", "-c", "ip -s -o link show cable0; curl -s -m 1 10.9.0.1:1; ip -s -o link show cable0")
    lines = got.stdout.splitlines()
    tally.add("passed" if len(lines) == 2 and lines[0] != lines[1] else "failed",
              f"counters of the device on {platform}", got.stdout + got.stderr)
    judge(tally, f"interfaces in /sys on {platform}",
          near.run(*inside, "sh", "-c", "cd /sys/class/net && ls && cat cable0/operstate && [ $(cat cable0/ifindex) = "
                                        f"{index_of(near)} ] && [ $(cat cable0/statistics/rx_packets) -ge 0 ]"),
          "cable0\nlo\nup\n")
    judge(tally, f"addresses inside on {platform}",
          near.run(*inside, "sh", "-c", "ip -o -4 addr; ip route; cat /proc/net/route | wc -l"),
          "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
          f"{index_of(near)}: cable0    inet 10.9.0.2/24 scope global cable0\\       valid_lft forever "
          "preferred_lft forever\n"
          "default via 10.9.0.1 dev cable0 \n10.9.0.0/24 dev cable0 proto kernel scope link src 10.9.0.2 \n3\n")


def test_frames(cable, inside, platform, tally):
    """Whatever frames come, a server goes on to serve."""
    link = cable.near.run("ip", "-o", "link", "show", "cable0").stdout.split()
    mac = link[link.index("link/ether") + 1]
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "frames.py")
    port = free_port()
    with Server(cable.near, [*inside, PYTHON, "-c", ECHO, "10.9.0.2", port]) as server:
        for seed in range(3):
            cable.far.run(PYTHON, script, "cable1", mac, str(seed), "2")
            cable.far.run("ip", "neigh", "flush", "dev", "cable1")
            judge(tally, f"served after odd frames, seed {seed}, on {platform}",
                  cable.far.run(PYTHON, "-c", ASK, "10.9.0.2", port), ASKED)
        tally.add("passed" if server.process.poll() is None else "failed", f"odd frames on {platform}", "it ended")


SELF = r"""
import socket
try:
    socket.create_connection(("10.9.0.1", 1))
except ConnectionRefusedError:
    print("refused")
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("10.9.0.1", 1))
udp.send(b"x")
udp.settimeout(20)
try:
    udp.recv(1)
except ConnectionRefusedError:
    print("udp refused")
server = socket.create_server(("0.0.0.0", 0))
for address in "127.0.0.1", "10.9.0.2":
    client = socket.create_connection((address, server.getsockname()[1]))
    made, name = server.accept()
    made.send(b"x")
    print(name[0], client.recv(1))
"""


# A frame by hand asks who has an address, and the answer is seen; so is what a ping sends.
PACKETS = r"""
import socket, struct, subprocess
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
try:
    packets.bind(("cable0", 0))
except OSError as error:
    raise SystemExit(error.strerror)
packets.settimeout(20)
mine = packets.getsockname()[4]
packets.send(b"\xff" * 6 + mine + struct.pack("!HHHBBH", 0x806, 1, 0x800, 6, 4, 1) + mine +
             socket.inet_aton("10.9.0.2") + bytes(6) + socket.inet_aton("10.9.0.1"))
while True:
    frame, name = packets.recvfrom(2000)
    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and name[2] == socket.PACKET_HOST:
        print("arp", socket.inet_ntoa(frame[28:32]), frame[0:6] == mine)
        break
subprocess.run(["ping", "-c", "1", "10.9.0.1"], stdout=subprocess.DEVNULL)
seen = set()
while len(seen) < 2:
    frame, name = packets.recvfrom(2000)
    if frame[12:14] == b"\x08\0" and frame[23] == 1:
        seen.add((name[2], frame[34]))
print(sorted(seen))
"""
PACKETS_SEEN = f"arp 10.9.0.1 True\n[({socket.PACKET_HOST}, 0), ({socket.PACKET_OUTGOING}, 8)]\n"


def index_of(namespace):
    return namespace.run("ip", "-o", "link", "show", "cable0").stdout.split(":")[0]


def test_tap(command, platforms, tally):
    """A tap device, whose other side is the sandbox."""
    with Namespace("tap") as namespace:
        if namespace.run("ip", "tuntap", "add", "tap0", "mode", "tap").returncode != 0:
            tally.add("skipped", "network tap", "no tap device can be made here")
            return
        for words in "addr add 10.7.0.1/24 dev tap0", "addr add fd07::1/64 dev tap0 nodad", "link set tap0 up":
            namespace.run("ip", *words.split())
        status, out, err = command.run("--network=sandbox,dev=tap0", command.hello, prefix=namespace.prefix)
        tally.add("passed" if status == 125 and "address=" in err and not out else "failed",
                  "a tap without addresses", err)
        for platform in platforms:
            inside = [command.program, f"--platform={platform}",
                      "--network=sandbox,dev=tap0,address=10.7.0.2/24,address=fd07::2/64,gateway=10.7.0.1", "--"]
            for address in "10.7.0.2", "fd07::2":
                talk(tally, f"to {address} over a tap on {platform}", namespace, namespace, address, inside, [])
            talk(tally, f"from inside over a tap on {platform}", namespace, namespace, "10.7.0.1", [], inside)
            got = namespace.run(*inside, "ip", "-o", "-4", "addr")
            tally.add("passed" if "tap0    inet 10.7.0.2/24" in got.stdout else "failed",
                      f"the tap seen from inside on {platform}", got.stdout)


# Datagrams of all sizes, each sent back reversed.
REVERSE = r"""
import socket, sys
udp = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 400000)
udp.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, sender = udp.recvfrom(70000)
    udp.sendto(data[::-1], sender)
"""
ASK_REVERSE = r"""
import os, socket, sys
udp = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(2)
udp.connect((sys.argv[1], int(sys.argv[2])))
for size in 1, 1472, 1473, 9000, 14500, 30000, 65487:
    data = os.urandom(size)
    for _ in range(10):  # what is lost on the way is sent again
        udp.send(data)
        try:
            answer = udp.recv(70000)
        except TimeoutError:
            continue
        if len(answer) == size:
            break
    print(size, answer[::-1] == data)
"""
REVERSED = "".join(f"{size} True\n" for size in (1, 1472, 1473, 9000, 14500, 30000, 65487))


def test_datagrams(cable, inside, platform, tally):
    """As long as IP allows, by fragments, both ways."""
    for address in "10.9.0.2", "fd09::2":
        port = free_port()
        with Server(cable.near, [*inside, PYTHON, "-c", REVERSE, address, port]):
            judge(tally, f"datagrams of all sizes to {address} on {platform}",
                  cable.far.run(PYTHON, "-c", ASK_REVERSE, address, port), REVERSED)


# Sends more than any queue holds at once, and ends.
LEAVE = r"""
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
client, _ = server.accept()
client.sendall(b"x" * 1000000)
"""
SLOWLY = r"""
import socket, sys, time
client = socket.socket()
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
client.settimeout(20)
client.connect((sys.argv[1], int(sys.argv[2])))
time.sleep(0.5)
size = 0
while data := client.recv(50000):
    size += len(data)
print(size)
"""


def test_leave(cable, inside, platform, tally):
    """What a program sent arrives, though it has ended, and the sandbox with it."""
    port = free_port()
    with Server(cable.near, [*inside, PYTHON, "-c", LEAVE, "10.9.0.2", port]):
        judge(tally, f"bytes of a program that has ended on {platform}",
              cable.far.run(PYTHON, "-c", SLOWLY, "10.9.0.2", port), "1000000\n")


COUNT = r"""
import socket, sys
udp = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
data, sender = udp.recvfrom(70000)
sizes = [len(data)]
while sizes[-1] != 500:
    sizes.append(len(udp.recv(70000)))
udp.sendto(repr(sizes).encode(), sender)
"""
SEGMENTS = r"""
import socket, sys
udp = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_UDP if hasattr(socket, "SOL_UDP") else 17, 103, 1000)  # UDP_SEGMENT
udp.settimeout(20)
udp.connect((sys.argv[1], int(sys.argv[2])))
udp.send(b"x" * 4500)
print(udp.recv(1000).decode())
"""


def test_segments(cable, inside, platform, tally):
    """Datagrams that are handed to a device as one are several, which way ever they go."""
    sizes = "[1000, 1000, 1000, 1000, 500]\n"
    for address in "10.9.0.2", "fd09::2":
        port = free_port()
        with Server(cable.near, [*inside, PYTHON, "-c", COUNT, address, port]):
            judge(tally, f"datagrams sent as one to {address} on {platform}",
                  cable.far.run(PYTHON, "-c", SEGMENTS, address, port), sizes)
    for address in "10.9.0.1", "fd09::1":
        port = free_port()
        with Server(cable.far, [PYTHON, "-c", COUNT, address, port]):
            judge(tally, f"datagrams sent as one from inside to {address} on {platform}",
                  cable.near.run(*inside, PYTHON, "-c", SEGMENTS, address, port), sizes)


# Answers every name with 192.0.2.53.
NAMES = r"""
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    question, sender = udp.recvfrom(512)
    end = question.index(b"\0", 12) + 5
    found = question[end - 4:end - 2] == b"\0\1"  # type A
    udp.sendto(question[:2] + b"\x81\x80\0\1\0" + bytes([found]) + b"\0\0\0\0" + question[12:end] +
               (b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xc0\0\2\x35" if found else b""), sender)
"""
RESOLV = 'printf "nameserver 10.9.0.1\n" >"$1" && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


def test_names(cable, inside, platform, tally):
    """The resolver that the sandbox's surroundings name is asked over the sandbox's own stack."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Server(cable.far, [PYTHON, "-c", NAMES, "10.9.0.1"]):
        os.chmod(folder, 0o755)
        got = cable.near.run("unshare", "-m", "sh", "-c", RESOLV, "sh", os.path.join(folder, "resolv.conf"), *inside,
                             "getent", "ahostsv4", "some.test")
        judge(tally, f"a name by DNS on {platform}", got,
              "".join(f"{'192.0.2.53':15} {kind}\n" for kind in ("STREAM some.test", "DGRAM  ", "RAW    ")))


# Connections that stay, each of which is asked once.
KEEP = r"""
import resource, select, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=4096)
poll, clients = select.epoll(), {}
poll.register(server, select.EPOLLIN)
print("ready", flush=True)
while True:
    for fd, _ in poll.poll():
        if fd == server.fileno():
            client, _ = server.accept()
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
        elif data := clients[fd].recv(100):
            clients[fd].send(data.upper())
        else:
            clients.pop(fd).close()
"""
MANY = r"""
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
clients = [socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) for _ in range(2000)]
for client in clients:
    client.send(b"x")
print(sum(client.recv(1) == b"X" for client in clients), flush=True)
"""


def test_many(cable, inside, platform, tally):
    """2,000 connections from outside at once."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2500:
        tally.add("skipped", f"2,000 connections from outside on {platform}", "the limit of open files is too low here")
        return
    port = free_port()
    with Server(cable.near, [*inside, PYTHON, "-c", KEEP, "10.9.0.2", port]):
        judge(tally, f"2,000 connections from outside on {platform}",
              cable.far.run(PYTHON, "-c", MANY, "10.9.0.2", port), "2000\n")


# More connections than are kept half-open, each begun by one frame alone, from addresses that never answer.
FLOOD = r"""
import random, socket, struct, sys
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def total(data):
    value = sum(struct.unpack(f">{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff
target = socket.inet_aton(sys.argv[1])
for n in range(3000):
    source = socket.inet_aton(f"203.0.113.{n % 250 + 1}")
    tcp = struct.pack(">HHIIBBHHH", 20000 + n, int(sys.argv[2]), random.getrandbits(32), 0, 0x50, 2, 1000, 0, 0)
    tcp = tcp[:16] + struct.pack(">H", total(source + target + struct.pack(">HH", 6, len(tcp)) + tcp)) + tcp[18:]
    out.sendto(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, n, 0, 64, 6, 0, source, target) + tcp, (sys.argv[1], 0))
"""


# A port is used again at once by who binds it, though the connection before has just ended.
AGAIN = r"""
import socket, sys
for n in range(20):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("10.9.0.2", 20999))
        s.connect((sys.argv[1], int(sys.argv[2])))
        s.sendall(b"a\n")
        assert s.recv(2) == b"A\n"
        s.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""
print("done")
"""
ANSWER = r"""
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    client, _ = server.accept()
    with client, client.makefile("rwb") as stream:
        for line in stream:
            stream.write(line.upper())
            stream.flush()
"""


def test_again(cable, inside, platform, tally):
    """A connection of the same names as one that has just ended."""
    port = free_port()
    with Server(cable.far, [PYTHON, "-c", ANSWER, "10.9.0.1", port]):
        judge(tally, f"the same port again and again on {platform}",
              cable.near.run(*inside, PYTHON, "-c", AGAIN, "10.9.0.1", port), "done\n")


def test_half_open(cable, inside, platform, tally):
    """While others only begin connections, who goes on with his is served."""
    port = free_port()
    with Server(cable.near, [*inside, PYTHON, "-c", ECHO, "10.9.0.2", port]):
        flood = cable.far.run(PYTHON, "-c", FLOOD, "10.9.0.2", port)
        tally.add("failed" if flood.returncode else "passed", f"3,000 begun connections on {platform}", flood.stderr[-300:])
        judge(tally, f"served after 3,000 connections were begun on {platform}",
              cable.far.run(PYTHON, "-c", ASK, "10.9.0.2", port), ASKED)


MORE_NEAR = ("addr add 10.9.1.2/24 dev cable0", "addr add 10.9.0.22/24 dev cable0", "addr add 192.0.2.7/32 dev cable0",
             "addr add fd19::2/64 dev cable0 nodad", "route add 10.20.0.0/16 via 10.9.1.1",
             "route add 198.51.100.0/24 dev cable0 src 192.0.2.7", "-6 route add fd20::/16 via fd19::1",
             "-6 route add fd77::/64 dev cable0", "-6 route add fd78:1::/32 via fd77::1")
MORE_FAR = ("addr add 10.9.1.1/24 dev cable1", "addr add 10.20.0.1/32 dev lo", "addr add 198.51.100.1/24 dev cable1",
            "route add 192.0.2.7/32 dev cable1", "addr add fd19::1/64 dev cable1 nodad", "addr add fd20::1/128 dev lo",
            "addr add fd77::1/64 dev cable1 nodad", "addr add fd78:1::1/128 dev lo")


def test_routes(command, platforms, tally):
    """Several addresses and routes, as the namespace has them."""
    with Cable() as cable:
        for namespace, more in (cable.near, MORE_NEAR), (cable.far, MORE_FAR):
            for words in more:
                namespace.run("ip", *words.split())
        cable.near.run("sleep", "2")
        before = addresses(cable.near)
        shown = ["sh", "-c", "ip -o addr | cut -d' ' -f2-7; ip route; ip -6 route"]
        for platform in platforms:
            inside = [command.program, f"--platform={platform}", "--network=sandbox,dev=cable0", "--"]
            native = cable.near.run(*shown).stdout
            judge(tally, f"all addresses and routes inside on {platform}", cable.near.run(*inside, *shown), native)
            wait_for(before, cable.near, tally, f"all addresses are there again after {platform}")
            for address in "10.9.0.2", "10.9.1.2", "10.9.0.22", "192.0.2.7", "fd09::2", "fd19::2":
                talk(tally, f"to {address}, one of several, on {platform}", cable.near, cable.far, address, inside, [])
            for bound, named in ("0.0.0.0", ("10.9.0.2", "10.9.0.22", "192.0.2.7")), ("::", ("fd19::2", "fd09::2")):
                port = free_port()
                with Server(cable.near, [*inside, PYTHON, "-c", ANYWHERE, bound, port]):
                    judge(tally, f"answers from the address that was asked, {bound} on {platform}",
                          cable.far.run(PYTHON, "-c", ASK_AT, port, *named), "b'DATAGRAM'\n" * len(named))
            for address in "fd77::1", "fd78:1::1":  # near, though no address of the device's is in that network
                talk(tally, f"to {address} by a route alone on {platform}", cable.far, cable.near, address, [], inside)
            for address, source in (("10.20.0.1", "10.9.1.2"), ("198.51.100.1", "192.0.2.7"), ("10.9.0.1", "10.9.0.2"),
                                    ("10.8.0.1", "10.9.0.2"), ("fd20::1", "fd19::2"), ("fd08::1", "fd09::2")):
                talk(tally, f"by a route to {address} on {platform}", cable.far, cable.near, address, [], inside)
                judge(tally, f"the address that one sends from to {address} on {platform}",
                      cable.near.run(*inside, PYTHON, "-c", SOURCE, address), source + "\n")


# Answers from whichever address it was asked at.
ANYWHERE = r"""
import socket, sys
v6 = ":" in sys.argv[1]
udp = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, socket.IPV6_RECVPKTINFO if v6 else 8, 1)
udp.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, control, _, sender = udp.recvmsg(2000, 200)
    udp.sendmsg([data.upper()], control, 0, sender)
"""
ASK_AT = r"""
import socket, sys
for address in sys.argv[2:]:
    udp = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(20)
    udp.connect((address, int(sys.argv[1])))
    udp.send(b"datagram")
    print(udp.recv(100))
"""


SOURCE = r"""
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9))
print(s.getsockname()[0])
"""


def test_network_sandbox(command, platforms, tally):
    """--network=sandbox between two network namespaces."""
    if not can_make():
        tally.add("skipped", "network sandbox", "needs root to make network namespaces")
        return
    test_tap(command, platforms, tally)
    test_routes(command, platforms, tally)
    with Cable() as cable:
        cable.near.run("sleep", "2")  # until the link-local address is no longer tentative
        before = addresses(cable.near)
        for platform in platforms:
            inside = [command.program, f"--platform={platform}", "--network=sandbox,dev=cable0", "--"]
            test_sandbox_on(cable, inside, platform, tally)
            test_datagrams(cable, inside, platform, tally)
            test_half_open(cable, inside, platform, tally)
            test_again(cable, inside, platform, tally)
            test_segments(cable, inside, platform, tally)
            test_leave(cable, inside, platform, tally)
            test_names(cable, inside, platform, tally)
            test_neighbours(cable, inside, platform, tally)
            test_groups(cable, inside, platform, tally)
            test_bound(cable, inside, platform, tally)
            test_windows(cable, inside, platform, tally)
            test_lingering(cable, inside, platform, tally)
            test_many(cable, inside, platform, tally)
            serve_programs(cable.near, cable.far, "10.9.0.2", inside, platform, tally)
            wait_for(before, cable.near, tally, f"the device has its addresses again after {platform}")
        test_frames(cable, inside, platform, tally)
        # Killed, it leaves nothing else either.
        with Server(cable.near, [*inside, PYTHON, "-c", ECHO, "10.9.0.2", "7000"]) as server:
            server.process.kill()
        wait_for(before, cable.near, tally, "the device has its addresses again after SIGKILL")
