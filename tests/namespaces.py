"""Network namespaces for a test, which go with it, and a veth between two of them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

TIMEOUT = 30  # seconds, for one program


def can_make():
    return os.geteuid() == 0 and shutil.which("ip") and shutil.which("nsenter")


def leave_in_order():
    """From now on SIGTERM and SIGHUP end this program as an exception does, so that namespaces go with it then too."""
    def leave(number, _):
        for other in signal.SIGTERM, signal.SIGHUP, signal.SIGINT:
            signal.signal(other, signal.SIG_IGN)
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


class Namespace:
    """A network namespace with a loopback; without the right to make one, the host's own."""

    def __init__(self, name):
        self.name = f"kvmsentry-{name}-{os.getpid()}"
        self.prefix = []
        if can_make():
            try:
                self.make()
            except BaseException:
                self.__exit__()
                raise

    def make(self):
        self.prefix = ["nsenter", f"--net=/run/netns/{self.name}", "--"]
        if subprocess.run(["ip", "netns", "add", self.name], capture_output=True, check=False).returncode != 0:
            self.prefix = []
            return
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
        with contextlib.ExitStack() as undo:
            self.near, self.far = (undo.enter_context(Namespace(name)) for name in ("near", "far"))
            for words in self.plan():
                subprocess.run(["ip", *words.split()], check=True)
            self.undo = undo.pop_all()

    def plan(self):
        """What is asked of ip(8)."""
        yield f"link add cable0 netns {self.near.name} type veth peer name cable1 netns {self.far.name}"
        for words in ("addr add 10.9.0.2/24 dev cable0", "addr add fd09::2/64 dev cable0 nodad", "link set cable0 up",
                      "route del default", "route add default via 10.9.0.1", "-6 route add default via fd09::1"):
            yield f"-n {self.near.name} {words}"
        for words in ("addr add 10.9.0.1/24 dev cable1", "addr add fd09::1/64 dev cable1 nodad",
                      "addr add 10.8.0.1/32 dev lo", "addr add fd08::1/128 dev lo", "link set cable1 up"):
            yield f"-n {self.far.name} {words}"

    def __enter__(self):
        return self

    def __exit__(self, *words):
        self.undo.__exit__(*words)
