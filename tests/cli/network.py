"""--network: programs inside and outside talk, in network namespaces of the test's own where they can be made."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile

TIMEOUT = 30
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


class Namespace:
    """A network namespace with a loopback; without the right to make one, the host's own."""

    def __init__(self, name):
        self.name = f"kvmsentry-{name}-{os.getpid()}"
        self.prefix = []
        if os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter") and subprocess.run(
                ["ip", "netns", "add", self.name], capture_output=True, check=False).returncode == 0:
            self.prefix = ["nsenter", f"--net=/run/netns/{self.name}", "--"]
            self.run("ip", "link", "set", "lo", "up")
            self.run("ip", "route", "add", "default", "dev", "lo")  # so that broadcasts have a way

    def run(self, *words):
        return subprocess.run([*self.prefix, *words], capture_output=True, text=True, timeout=TIMEOUT,
                              stdin=subprocess.DEVNULL, check=False)

    def start(self, *words):
        return subprocess.Popen([*self.prefix, *words], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.prefix:
            subprocess.run(["ip", "netns", "delete", self.name], check=False)


class Server:
    """A program in the background; `ready`: the first line that it prints."""

    def __init__(self, namespace, words, ready=True):
        self.process = namespace.start(*words)
        if ready:
            self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def judge(tally, label, result, wanted):
    good = result.returncode == 0 and result.stdout == wanted
    tally.add("passed" if good else "failed", label,
              f"status {result.returncode}: {result.stdout[:500]}{result.stderr[:500]}")


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


def serve_programs(namespace, inside, platform, tally):
    """Servers inside, clients outside."""
    port = free_port()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        page = os.path.join(folder, "page")
        with open(page, "w", encoding="ascii") as file:
            file.write("page\n" * 20000)
        os.chmod(folder, 0o755)
        bind = [*inside[:-1], f"--bind={folder}:{folder}", "--"]
        with Server(namespace, [*bind, PYTHON, "-m", "http.server", "-b", "127.0.0.1", "-d", folder, port], False):
            retry(namespace, ["curl", "-s", f"http://127.0.0.1:{port}/page"], "page\n" * 20000, tally,
                  f"http.server inside, curl outside on {platform}")
        if shutil.which("nginx"):
            conf = os.path.join(folder, "nginx.conf")
            with open(conf, "w", encoding="ascii") as file:
                file.write(f"daemon off; pid {folder}/pid; error_log /dev/null; user root;\n"
                           "events {}\n"
                           f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n")
            with Server(namespace, [*bind, "nginx", "-c", conf], False):
                retry(namespace, ["curl", "-s", f"http://127.0.0.1:{port}/page"], "page\n" * 20000, tally,
                      f"nginx inside, curl outside on {platform}")
    if shutil.which("redis-server"):
        with Server(namespace, [*inside, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", ""]):
            retry(namespace, ["redis-cli", "-p", port, "ping"], "PONG\n", tally,
                  f"redis inside, redis-cli outside on {platform}")
            judge(tally, f"redis inside, a list from outside on {platform}",
                  namespace.run("sh", "-c", f"seq 1 2000 | sed 's/^/RPUSH l /' | redis-cli -p {port} >/dev/null && "
                                            f"redis-cli -p {port} LINDEX l 1999"), "2000\n")


def test_network_host(command, platforms, tally):
    """--network=host."""
    guests = os.path.join(os.path.dirname(command.hello))
    with Namespace("host") as namespace:
        for platform in platforms:
            inside = [command.program, f"--platform={platform}", "--network=host", "--"]
            for test in ("tcp", "tcp_data", "udp", "netlink"):
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
            # A namespace that a program makes has nothing but a loopback, and that in memory.
            port = free_port()
            with Server(namespace, [PYTHON, "-c", ECHO, "127.0.0.1", port]):
                judge(tally, f"a new network namespace inside on {platform}",
                      namespace.run(*inside, "unshare", "-n", "sh", "-c",
                                    f"ip -o link | wc -l; curl -s 127.0.0.1:{port} || echo $?"), "1\n7\n")
            serve_programs(namespace, inside, platform, tally)
