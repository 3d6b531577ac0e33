"""Ways out of the tree that names give, tried by tests/cli/escaping.c, while a neighbour on the host
swaps folders, links and FIFOs in the root and in a shared folder. Nothing outside is seen or changed."""

import ctypes
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time

from overlay import run, write

RENAME_EXCHANGE = 2


class Racer:
    """Exchanges pairs of names, for ever."""

    def __init__(self, pairs):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.pairs, self.ended = pairs, threading.Event()
        self.thread = threading.Thread(target=self.race)

    def race(self):
        while not self.ended.is_set():
            for one, other in self.pairs:
                for _ in range(2):
                    self.libc.renameat2(-100, one, -100, other, RENAME_EXCHANGE)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def make_folder(top, name):
    """A folder full of ways out."""
    folder = os.path.join(top, name)
    join = lambda *words: os.path.join(folder, *words)
    os.makedirs(join("a/b"))
    write(join("file"), "inside")
    write(join("a/file"), "inside")
    os.symlink("../outside", join("out"))
    os.symlink(os.path.join(top, "outside/secret"), join("absolute"))
    os.symlink("../outside/secret", join("relative"))
    os.symlink("loop", join("loop"))
    os.mkfifo(join("fifo"))
    os.mkfifo(join("race"))
    return folder


def state(folder):
    """All of what is outside, and when it was changed last."""
    result = {}
    for name in ["", *os.listdir(folder)]:
        path = os.path.join(folder, name)
        st = os.lstat(path)
        text = b""
        if stat.S_ISREG(st.st_mode):
            with open(path, "rb") as file:
                text = file.read()
        result[name] = (st.st_mode, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns, text)
    return result


def test_attacks(command, platforms, tally, rounds=40):
    build = os.path.dirname(command.program)
    for platform in platforms:
        with tempfile.TemporaryDirectory(dir=build) as top:
            os.mkdir(os.path.join(top, "outside"))
            write(os.path.join(top, "outside/secret"), "outside")
            write(os.path.join(top, "outside/twin"), "inside as well")
            write(os.path.join(top, "secret"), "outside")
            root, shared = make_folder(top, "root"), make_folder(top, "shared")
            os.mkdir(os.path.join(root, "inner"))
            os.link(os.path.join(top, "outside/twin"), os.path.join(root, "hard"))  # written to, it is copied
            for name in ("out", "absolute", "relative"):
                os.symlink(os.readlink(os.path.join(root, name)), os.path.join(root, "inner", name))
            shutil.copy(os.path.join(build, "tests/cli/escaping"), root)
            if os.getuid() == 0:
                os.mknod(os.path.join(root, "device"), stat.S_IFCHR | 0o666, os.makedev(1, 1))
            server = socket.socket(socket.AF_UNIX)
            server.bind(os.path.relpath(os.path.join(shared, "socket")))
            server.listen()
            reader = os.open(os.path.join(shared, "fifo"), os.O_RDWR | os.O_NONBLOCK)
            os.write(reader, b"of the host")
            before = state(os.path.join(top, "outside"))
            pairs = [(os.fsencode(os.path.join(folder, one)), os.fsencode(os.path.join(folder, other)))
                     for folder in (root, shared)
                     for one, other in (("a", "out"), ("file", "absolute"), ("file", "race"), ("a/b", "relative"))]
            words = [command.program, f"--platform={platform}", f"--rootfs={root}", f"--bind={shared}:/shared"]
            status, text = run([*words, "--", "/escaping", "0"], top)
            calm = (status, text) == (0, "nothing was tried\nok\n")
            with Racer(pairs):
                outcome = run([*words, "--", "/escaping", str(rounds)], top)
            server.close()
            good = calm and outcome == (0, "tried\nok\n") and before == state(os.path.join(top, "outside"))
            good = good and os.read(reader, 100) == b"of the host"
            os.close(reader)
            with open(os.path.join(top, "secret"), encoding="ascii") as file:
                good = good and file.read() == "outside"
            tally.add("passed" if good else "failed", f"attacks on {platform}", f"{text} {outcome}")
            subprocess.run(["rm", "-rf", shared], check=False)


FREEZE = """
import os, time
os.mkdir('/sys/fs/cgroup/f')
for name, text in ('cgroup.procs', '0'), ('cgroup.freeze', '1'):
    with open('/sys/fs/cgroup/f/' + name, 'w') as file:
        if name == 'cgroup.freeze':
            print('freezes', flush=True)
        file.write(text)
time.sleep(1000)
"""


def test_frozen(command, platforms, tally):
    """A sandbox that has frozen itself ends when it is asked to, from outside."""
    for platform in platforms:
        words = [command.program, f"--platform={platform}", "--", "/usr/bin/python3", "-c", FREEZE]
        with subprocess.Popen(words, cwd=os.path.dirname(command.program), stdout=subprocess.PIPE) as process:
            line = process.stdout.readline()
            time.sleep(0.2)  # most times it is frozen by now; if not, it ends as any other
            process.terminate()
            try:
                status = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                status = "hung"
        tally.add("passed" if (line, status) == (b"freezes\n", -signal.SIGTERM) else "failed",
                  f"frozen on {platform}", f"{line} {status}")


MILLION = r"""
import os
def tell(what):
    print(what, flush=True)
    input()
tell('began')
assert sum(1 for _ in os.scandir('m')) == COUNT
tell('listed')
fd = os.open('m', os.O_PATH)
for n in range(0, COUNT, 10):
    os.stat('f%07d' % n, dir_fd=fd)
    try: os.stat('g%07d' % n, dir_fd=fd)
    except FileNotFoundError: pass
tell('looked up')
open('m/new', 'w').close()
os.unlink('m/f0000005')
with os.scandir('m') as names:
    seen = sum(1 for _ in zip(names, range(COUNT // 2)))
    tell('half listed with changes')
    assert seen + sum(1 for _ in names) in (COUNT - 1, COUNT)  # zip() drops one
    tell('listed with changes')
"""
CACHE_LIMIT = 64 << 10  # KiB, as docs/ARCHITECTURE.md has it


def own_memory(pid):
    """KiB that the process has for itself: the program's memory is a shared file."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


def test_million(command, platforms, tally, count=1000000):
    """A folder of a million files: what the Sentry remembers of it has a limit. Minutes; only by name."""
    build = os.path.dirname(command.program)
    with tempfile.TemporaryDirectory(dir=build) as top:
        os.mkdir(os.path.join(top, "m"))
        fd = os.open(os.path.join(top, "m"), os.O_PATH)
        for number in range(count):
            os.close(os.open(f"f{number:07}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        for platform in platforms:
            memory = {}
            words = [command.program, f"--platform={platform}", "--", "/usr/bin/python3", "-c",
                     MILLION.replace("COUNT", str(count))]
            with subprocess.Popen(words, cwd=top, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                for line in process.stdout:
                    memory[line.decode().strip()] = own_memory(process.pid)
                    process.stdin.write(b"\n")
                    process.stdin.flush()
            good = process.returncode == 0 and len(memory) == 5 and max(memory.values()) < CACHE_LIMIT
            tally.add("passed" if good else "failed", f"a million files on {platform}", f"{process.returncode} {memory}")
