"""--host-uds: sockets of the host in a folder of --bind, and programs inside that connect to them."""

import os
import socket
import subprocess
import tempfile
import threading

KINDS = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET}
SAID = "6 hello\n/stream\n300000 the same\n0\n8\n6\n3 two\n"
REFUSED = "Connection refused\n" * 3


def echo(listener, stop):
    """Serves one connection after the other until it is told to stop."""
    while not stop.is_set():
        try:
            peer, _ = listener.accept()
        except socket.timeout:
            continue
        with peer:
            while data := peer.recv(65536):
                peer.sendall(data)


class Host:
    """A folder with a socket of each kind; two of them echo."""

    def __init__(self, folder):
        self.stop = threading.Event()
        self.sockets, self.threads = {}, []
        for name, kind in KINDS.items():
            s = self.sockets[name] = socket.socket(socket.AF_UNIX, kind)
            s.bind(os.path.join(folder, name))
            s.settimeout(0.2)
            if name != "dgram":
                s.listen(4)
                self.threads.append(threading.Thread(target=echo, args=(s, self.stop)))
                self.threads[-1].start()

    def close(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        for s in self.sockets.values():
            s.close()

    def datagram(self):
        try:
            return self.sockets["dgram"].recv(100)
        except socket.timeout:
            return b""


def test_uds(command, platforms, tally):
    """Connections go out where the operator allows it, and nowhere else."""
    program = os.path.join(os.path.dirname(command.busy), "uds")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        host = Host(folder)
        native = subprocess.run([program, *(os.path.join(folder, name) for name in KINDS)],
                                capture_output=True, text=True, timeout=20, check=False).stdout
        good = native == SAID and host.datagram() == b"datagram"
        tally.add("passed" if good else "failed", "uds natively", native)
        for platform in platforms:
            for way, want, datagram in (("open", SAID, b"datagram"), ("none", REFUSED, b"")):
                status, out, err = command.run(
                    f"--platform={platform}", f"--host-uds={way}", f"--bind={folder}:/mnt", "--",
                    program, *(f"/mnt/{name}" for name in KINDS))
                good = status == 0 and out == want and not err and host.datagram() == datagram
                tally.add("passed" if good else "failed", f"uds: {way} on {platform}",
                          f"{status}: {out}{err}")
        host.close()
