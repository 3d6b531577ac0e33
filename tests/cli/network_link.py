"""What is between a sandbox and who is on its link: neighbours, groups, windows."""

import sys

from network_peers import Server, free_port, judge

PYTHON = sys.executable
# Those that answer and those that do not, as told by rtnetlink and by /proc; and that nothing is changed.
NEIGHBOURS = r"""
ask() { python3 -c "import socket; s = socket.socket($1, socket.SOCK_DGRAM); s.sendto(b'x', ('$2', 9))"; }
ask socket.AF_INET 10.9.0.1; ask socket.AF_INET 10.9.0.77; ask socket.AF_INET6 fd08::1; ask socket.AF_INET6 fd09::77
n=0
while [ $(ip neigh | grep -c REACHABLE) != 2 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
ip neigh | sort
ip neigh get 10.9.0.1 dev cable0
ip neigh get 10.9.0.99 dev cable0 2>&1 | sed 's/Error: Neighbour entry not found./RTNETLINK answers: No such file or directory/'
ip neigh show dev lo
sort /proc/net/arp | tr -s ' '
"""


def test_neighbours(cable, inside, platform, tally):
    """The tables of ARP and neighbour discovery; Linux's in the same namespace says the same."""
    cable.near.run("ip", "neigh", "flush", "all")
    want = cable.near.run("sh", "-c", NEIGHBOURS)
    judge(tally, f"neighbours on {platform}", cable.near.run(*inside, "sh", "-c", NEIGHBOURS), want.stdout)
    tally.add("passed" if len(want.stdout.splitlines()) == 9 else "failed", "neighbours on Linux", want.stdout)
    got = cable.near.run(*inside, "ip", "neigh", "replace", "10.9.0.9", "lladdr", "02:00:00:00:00:01", "dev", "cable0")
    tally.add("passed" if got.returncode and "not supported" in got.stderr else "failed",
              f"no neighbours by hand on {platform}", got.stdout + got.stderr)


# Sends to a group, then to the asker, whenever it is asked; and answers what comes to the group itself.
FAR_GROUP = r"""
import select, socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in group else socket.AF_INET
index = socket.if_nametoindex("cable1")
asked, heard = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
asked.bind(("", port))
heard.bind(("", port + 1))
if family == socket.AF_INET:
    name = socket.inet_aton(group) + bytes(4) + struct.pack("i", index)
    asked.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, name)
    heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, name)
else:
    asked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    heard.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(family, group) + struct.pack("i", index))
print("ready", flush=True)
while True:
    for s in select.select([asked, heard], [], [])[0]:
        data, sender = s.recvfrom(100)
        if s is asked:
            asked.sendto(data, (group, sender[1]))
            asked.sendto(b"end", sender)
        else:
            heard.sendto(data.upper(), sender)
"""
# Not a member, a member, no member any more; then what leaves: to those outside, by lo, with no hops.
NEAR_GROUP = r"""
import socket, struct, sys
group, port, far = sys.argv[1], int(sys.argv[2]), sys.argv[3]
v6 = ":" in group
family, level = (socket.AF_INET6, socket.IPPROTO_IPV6) if v6 else (socket.AF_INET, socket.IPPROTO_IP)
def make():
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.bind(("", 0))
    s.setsockopt(level, socket.IPV6_RECVPKTINFO if v6 else 8, 1)
    return s
def name(index):
    if v6:
        return socket.inet_pton(family, group) + struct.pack("i", index)
    return socket.inet_aton(group) + bytes(4) + struct.pack("i", index)
def ask(text):
    s.sendto(text, (far, port))
    while True:
        data, control, _, sender = s.recvmsg(100, 200)
        print(text, data, [c[2] for c in control], sender[0] == far or sender[0][:4], flush=True)
        if data == b"end":
            return
s = make()
join, leave = (socket.IPV6_JOIN_GROUP, socket.IPV6_LEAVE_GROUP) if v6 else (socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP)
device = socket.if_nametoindex("cable0")
ask(b"before")
s.setsockopt(level, join, name(0))
ask(b"member")
try:
    s.setsockopt(level, join, name(device))
except OSError as error:
    print(error)
s.setsockopt(level, leave, name(device))
ask(b"after")
out = make()
out.setsockopt(level, socket.IPV6_MULTICAST_IF if v6 else socket.IP_MULTICAST_IF, device if v6 else name(device))
out.sendto(b"outward", (group, port + 1))
print(out.recv(100))
if not v6:  # of IPv6, Linux's lo has no route for groups
    lo = socket.if_nametoindex("lo")
    s.setsockopt(level, join, name(lo))
    out.setsockopt(level, socket.IP_MULTICAST_IF, name(lo))
    out.sendto(b"inward", (group, s.getsockname()[1]))
    print(s.recvmsg(100, 200)[0])
    ask(b"member on lo")
for index in 99, -1:
    try:
        s.setsockopt(level, join, name(index))
    except OSError as error:
        print(error)
"""


def test_groups(cable, inside, platform, tally):
    """Multicast: what a Linux in the same place hears and says, a program in the sandbox does."""
    for group, far in ("239.1.2.3", "10.9.0.1"), ("ff05::77", "fd09::1"):
        port = free_port()
        with Server(cable.far, [PYTHON, "-c", FAR_GROUP, group, port]):
            want = cable.near.run(PYTHON, "-c", NEAR_GROUP, group, port, far)
            tally.add("passed" if want.returncode == 0 and "OUTWARD" in want.stdout else "failed",
                      f"the group {group} on Linux", want.stdout + want.stderr)
            judge(tally, f"the group {group} on {platform}",
                  cable.near.run(*inside, PYTHON, "-c", NEAR_GROUP, group, port, far), want.stdout)


# SO_BINDTODEVICE: what passes the interface alone.
BOUND = r"""
import socket, sys
far, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in far else socket.AF_INET
own = "::1" if ":" in far else "127.0.0.1"
def make(name):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
    s.bind(("", 0))
    return s
device, lo, none = make(b"cable0"), make(b"lo\0"), make(b"")
for s in device, lo, none:
    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16), s.getsockopt(socket.SOL_SOCKET, 62) > 1)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"nowhere")
    except OSError as error:
        print(error)
for s in device, none:
    s.sendto(b"ask", (far, port))
    print(s.recv(100))
if ":" in far:  # IPv4 would send it over lo, where it is lost
    try:
        lo.sendto(b"ask", (far, port))
    except OSError as error:
        print(error)
for s in device, lo, none:
    none.sendto(b"from lo", (own, s.getsockname()[1]))
print(lo.recv(100), none.recv(100))
device.setblocking(False)
try:
    device.recv(100)
except BlockingIOError:
    print("nothing")
device.settimeout(20)
device.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"")
none.sendto(b"from lo", (own, device.getsockname()[1]))
print(device.recv(100))
for address in far, own:
    none.connect((address, port))
    print(none.getsockopt(*((41, 24) if ":" in far else (0, 14))))  # IPV6_MTU, IP_MTU
stream = socket.socket(family)
stream.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"cable0")
stream.settimeout(20)
try:
    stream.connect((far, 1))
except OSError as error:
    print(error)
"""


def test_bound(cable, inside, platform, tally):
    """Sockets of one interface."""
    for far in "10.9.0.1", "fd09::1":
        port = free_port()
        with Server(cable.far, [PYTHON, "-c", FAR_GROUP, "239.1.2.3" if "." in far else "ff05::77", port]):
            want = cable.near.run(PYTHON, "-c", BOUND, far, port)
            tally.add("failed" if want.returncode else "passed", f"bound to an interface on Linux, {far}", want.stderr)
            judge(tally, f"bound to an interface on {platform}, {far}",
                  cable.near.run(*inside, PYTHON, "-c", BOUND, far, port), want.stdout)


# A stream of 32 MiB each way, by its hash; and what TCP was told of the other side's window.
FAR_STREAM = r"""
import hashlib, socket, struct, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
while True:
    client, _ = server.accept()
    seed, size, widest = b"far", 32 << 20, 0
    with client:
        while size:
            seed = hashlib.sha512(seed).digest()
            block = seed * 1024
            client.sendall(block)
            size -= len(block)
            info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            if len(info) >= 232:
                widest = max(widest, struct.unpack_from("=I", info, 228)[0])
        whole = hashlib.sha512()
        got = 0
        while got < 32 << 20:
            data = client.recv(1 << 20)
            whole.update(data)
            got += len(data)
        client.sendall(whole.digest() + bytes([info[6] & 15, widest > 65535 or len(info) < 232]))
"""
NEAR_STREAM = r"""
import hashlib, socket, sys
near = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
seed, size, same = b"far", 32 << 20, True
with near.makefile("rb") as stream:
    while size:
        seed = hashlib.sha512(seed).digest()
        same &= stream.read(len(seed) * 1024) == seed * 1024
        size -= len(seed) * 1024
    whole = hashlib.sha512()
    for n in range(512):
        seed = hashlib.sha512(seed).digest()
        near.sendall(seed * 1024)
        whole.update(seed * 1024)
    print(same, stream.read(64) == whole.digest(), list(stream.read(2)))
"""


# A reader with the smallest window there is, which begins late.
FAR_TINY = r"""
import hashlib, socket, sys, time
server = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
server.bind((sys.argv[1], int(sys.argv[2])))
server.listen()
print("ready", flush=True)
while True:
    client, _ = server.accept()
    time.sleep(0.3)
    whole = hashlib.sha512()
    while data := client.recv(1 << 16):
        whole.update(data)
    client.sendall(whole.digest())
    client.close()
"""
NEAR_TINY = r"""
import hashlib, socket, sys
near = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
data = bytes(range(251)) * 100
near.sendall(data)
near.shutdown(socket.SHUT_WR)
print(near.makefile("rb").read() == hashlib.sha512(data).digest())
"""


def test_windows(cable, inside, platform, tally):
    """More is under way at once than 64 KiB, where it comes quickly, and comes whole."""
    for address in "10.9.0.1", "fd09::1":
        port = free_port()
        with Server(cable.far, [PYTHON, "-c", FAR_STREAM, address, port]):
            judge(tally, f"32 MiB to and from {address} on {platform}",
                  cable.near.run(*inside, PYTHON, "-c", NEAR_STREAM, address, port), "True True [7, 1]\n")
        port = free_port()
        with Server(cable.far, [PYTHON, "-c", FAR_TINY, address, port]):
            judge(tally, f"a tiny window at {address} on {platform}",
                  cable.near.run(*inside, PYTHON, "-c", NEAR_TINY, address, port), "True\n")


# Its side of a connection stays open.
STAYS = r"""
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=64)
print("ready", flush=True)
kept = []
while True:
    kept.append(server.accept()[0])
"""
FEW_PORTS = r"""
import socket, struct, sys
def one():
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 51, struct.pack("HH", 50000, 50007))  # IP_LOCAL_PORT_RANGE
    client.connect((sys.argv[1], int(sys.argv[2])))
    return client
for _ in range(4):
    one().close()
print(len([one() for _ in range(4)]))
"""


def test_lingering(cable, inside, platform, tally):
    """A port whose connection has not quite ended yet is not chosen for another one."""
    port = free_port()
    with Server(cable.far, [PYTHON, "-c", STAYS, "10.9.0.1", port]):
        judge(tally, f"connections beside such as have not quite ended on {platform}",
              cable.near.run(*inside, PYTHON, "-c", FEW_PORTS, "10.9.0.1", port), "4\n")
