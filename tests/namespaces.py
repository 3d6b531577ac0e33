"""Network namespaces for a test, which go with it, and a veth between two of them."""

import os
import shutil
import subprocess

TIMEOUT = 30  # seconds, for one program


def can_make():
    return os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter")


class Namespace:
    """A network namespace with a loopback; without the right to make one, the host's own."""

    def __init__(self, name):
        self.name = f"kvmsentry-{name}-{os.getpid()}"
        self.prefix = []
        if can_make() and subprocess.run(
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


class Cable:
    """Two namespaces with a veth between them: `near` is for a sandbox, `far` a Linux of its own."""

    def __init__(self):
        self.near, self.far = Namespace("near"), Namespace("far")
        for words in ([f"link add cable0 netns {self.near.name} type veth peer name cable1 netns {self.far.name}"] +
                      [f"-n {self.near.name} {words}" for words in
                       ("addr add 10.9.0.2/24 dev cable0", "addr add fd09::2/64 dev cable0 nodad",
                        "link set cable0 up", "route del default", "route add default via 10.9.0.1",
                        "-6 route add default via fd09::1")] +
                      [f"-n {self.far.name} {words}" for words in
                       ("addr add 10.9.0.1/24 dev cable1", "addr add fd09::1/64 dev cable1 nodad",
                        "addr add 10.8.0.1/32 dev lo", "addr add fd08::1/128 dev lo", "link set cable1 up")]):
            subprocess.run(["ip", *words.split()], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *words):
        self.near.__exit__(*words)
        self.far.__exit__(*words)
