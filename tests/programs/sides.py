"""Groups whose client and server are on different sides of a veth between two network namespaces.

Each NAME.sh in network/ has both sides (network/side.sh says how). Its native run, a server in one
namespace and a client in the other, is compared with runs in which a sandbox has the server, the
client, or both, on its own TCP/IP stack and on the host's.
"""

import os
import subprocess

from guest_outcome import Outcome
from namespaces import Cable, can_make
from program import Program

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "network")
SIDE = os.path.join(FOLDER, "side.sh")
NAMES = sorted(f[:-3] for f in os.listdir(FOLDER) if f.endswith(".sh") and f != "side.sh")
NEAR, FAR = ("10.9.0.2", "fd09::2"), ("10.9.0.1", "fd09::1")
SANDBOX, HOST = "--network=sandbox,dev=cable0", "--network=host"
# Which side is in a sandbox, its mode, 0: IPv4 or 1: IPv6. Each group runs so on each platform.
VARIANTS = (
    ("server inside", SANDBOX, 0), ("client inside", SANDBOX, 1), ("both inside", SANDBOX, 0),
    ("two sandboxes", SANDBOX, 1), ("server inside", HOST, 1), ("client inside", HOST, 0),
)
ALL = tuple((what, mode, 1 - version) for what, mode, version in VARIANTS)


def side(namespace, words, environment, prefix=()):
    """One side of a group, whose server stays until standard input ends."""
    return Program([*namespace.prefix, *prefix, "/bin/bash", SIDE, *words], environment, subprocess.PIPE)


def joined(client, server):
    """The outcome of both: it went well if both did."""
    status = None if None in (client.status, server.status) else client.status or server.status
    return Outcome(status, client.out + server.out, client.err + server.err, client.seconds)


class Runner:
    """Runs groups over a cable that is made for them."""

    def __init__(self, program, environment, timeout):
        self.program, self.environment, self.timeout = program, environment, timeout

    def pair(self, script, server_at, client_at, address, inside):
        """`server_at`, `client_at`: namespaces; `inside`: each one's prefix."""
        with side(server_at, ("serve", address, script), self.environment, inside[0]) as server:
            with side(client_at, ("ask", address, script), self.environment, inside[1]) as client:
                return joined(client.finish(self.timeout), server.finish(30))

    def native(self, cable, script):
        return self.pair(script, cable.near, cable.far, NEAR[0], ((), ()))

    def variant(self, cable, script, platform, what, mode, version):
        near = (self.program, f"--platform={platform}", mode, "--")
        far = (self.program, f"--platform={platform}", mode.replace("cable0", "cable1"), "--")
        if what == "server inside":
            return self.pair(script, cable.near, cable.far, NEAR[version], (near, ()))
        if what == "client inside":
            return self.pair(script, cable.far, cable.near, FAR[version], ((), near))
        if what == "two sandboxes":
            return self.pair(script, cable.near, cable.far, NEAR[version], (near, far))
        with side(cable.near, ("both", NEAR[version], script), self.environment, near) as both:
            return both.finish(self.timeout)


def run_all(names, runner, platforms, tally, judge, missing, both_versions):
    """`missing`: the packages that a script lacks; `judge(label, native, got)`."""
    variants = VARIANTS + ALL if both_versions else VARIANTS
    if not names:
        return
    if not can_make():
        tally.skip_all(len(names) * len(platforms) * len(variants), "runs between two namespaces",
                       "needs root to make network namespaces")
        return
    with Cable() as cable:
        cable.near.run("sleep", "2")  # until link-local addresses are no longer tentative
        for name in names:
            script = os.path.join(FOLDER, name + ".sh")
            absent = missing(script)
            if absent:
                tally.skip_all(len(platforms) * len(variants), f"runs of network/{name}",
                               f"not installed: {' '.join(absent)}")
                continue
            native = runner.native(cable, script)
            if native.status != 0:
                tally.add("failed", f"network/{name} natively", f"status {native.status}: {native.err[-500:]}")
                continue
            for platform in platforms:
                for what, mode, version in variants:
                    label = f"network/{name} on {platform}, {what}, {mode.split(',')[0]}, IPv{6 if version else 4}"
                    judge(tally, label, native, runner.variant(cable, script, platform, what, mode, version))
