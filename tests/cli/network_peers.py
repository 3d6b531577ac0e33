"""Programs of the network tests that run beside each other, and judging what they say."""

import socket

from namespaces import TIMEOUT


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
