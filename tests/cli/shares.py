"""--bind: a folder that both sides change, file by file: appending, holes, files of other owners, what is
there after SIGKILL, and what the options for the rest of the tree mean for it."""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import threading

from overlay import run, write

APPEND = r"""
import os
pids = []
for who in range(3):
    pid = os.fork()
    if pid == 0:
        fd = os.open('/shared/log', os.O_WRONLY | os.O_APPEND)
        for n in range(1000):
            os.write(fd, b'guest %d %04d\n' % (who, n))
        os._exit(0)
    pids.append(pid)
print([os.waitpid(pid, 0)[1] for pid in pids])
fd = os.open('/shared/log', os.O_RDWR | os.O_APPEND)
end = os.lseek(fd, 0, os.SEEK_END)
os.write(fd, b'last\n')
print(os.lseek(fd, 0, os.SEEK_CUR) - end, os.pwrite(fd, b'behind\n', 0), os.pread(fd, 7, end + 5))
"""

# What a program without capabilities may do with files that are not its own.
OWNERS = r"""
import errno, os, sys
def attempt(what, call):
    try:
        call()
        print(what, 'ok')
    except OSError as error:
        print(what, errno.errorcode[error.errno])
def put(path):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b'x')
for name in sorted(os.listdir('.')):
    if name == 'gone':
        continue
    path = os.path.join('.', name)
    attempt(name + ' read', lambda: os.read(os.open(path, os.O_RDONLY), 1) if not os.path.isdir(path) else os.listdir(path))
    attempt(name + ' write', lambda: put(path))
    attempt(name + ' chmod', lambda: os.chmod(path, 0o640))
    attempt(name + ' chown', lambda: os.chown(path, 0, 0))
    attempt(name + ' times', lambda: os.utime(path, (1, 1)))
    attempt(name + ' truncate', lambda: os.truncate(path, 0))
    attempt(name + ' xattr', lambda: os.setxattr(path, 'user.x', b'1'))
    attempt(name + ' trusted', lambda: os.setxattr(path, 'trusted.x', b'1'))
    attempt(name + ' trusted there', lambda: os.getxattr(path, 'trusted.x'))
    attempt(name + ' security', lambda: os.setxattr(path, 'security.x', b'1'))
    attempt(name + ' given', lambda: os.chown(path, 1000, 1000))
    attempt(name + ' make', lambda: os.mkdir(os.path.join(path, 'new')))
    attempt(name + ' link', lambda: os.link(path, path + '-linked'))
    attempt(name + ' remove', lambda: os.unlink(path))
"""

HOLES = r"""
import mmap, os, subprocess, sys
def show(what):
    print(what, m[0:1], m[8192:8193], m[20000:20001], os.pread(fd, 1, 8192), os.fstat(fd).st_size, m.size())
fd = os.open('file', os.O_RDWR)
m = mmap.mmap(fd, 65536)
show('before')
m[0:1] = b'M'
m[20000:20001] = b'M'
for words in (['-p', '-o', '4096', '-l', '8192'], ['-z', '-o', '16384', '-l', '100'], ['-c', '-o', '4096', '-l', '4096'],
              ['-i', '-o', '8192', '-l', '4096'], ['-l', '100000'], ['-n', '-o', '100000', '-l', '5000'],
              ['-c', '-o', '1', '-l', '4096'], ['-z', '-o', '50', '-l', '200000']):
    result = subprocess.run(['/usr/bin/fallocate', *words, 'file'], capture_output=True, text=True)
    print(result.returncode, result.stderr[-40:])
    show(words)
import hashlib
print(hashlib.sha256(open('file', 'rb').read()).hexdigest())
"""

# What a mapping stores behind the end is not in the file, however that grows (Linux: since 6.13).
TAIL = r"""
import ctypes, mmap, os
for grow in (lambda: os.truncate('tail', 300), lambda: os.pwrite(tail, b'e', 299), lambda: os.posix_fallocate(tail, 250, 50)):
    tail = os.open('tail', os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.write(tail, b'a' * 100)
    area = mmap.mmap(tail, 100)
    first = ctypes.c_char.from_buffer(area)
    address = ctypes.addressof(first)
    ctypes.memset(address + 99, 98, 120)
    grow()
    print(os.pread(tail, 300, 0)[98:250].strip(bytes(1)), ctypes.string_at(address + 98, 4))
    del first
"""

SYNCED = r"""
import mmap, os
fd = os.open('/shared/mapped', os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 1 << 20)
m = mmap.mmap(fd, 1 << 20)
for n in range(100000):
    text = b'%07d' % n
    new = os.open('/shared/file%d.new' % (n % 20), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(new, text * 3000)
    os.fsync(new)
    os.close(new)
    os.rename('/shared/file%d.new' % (n % 20), '/shared/file%d' % (n % 20))
    m[n % 100 * 8192:n % 100 * 8192 + 7] = text
    m.flush() if n % 2 else os.sync()
    os.write(1, text + b'\n')
"""


def test_append(words, shared, platform, tally):
    log = os.path.join(shared, "log")
    write(log, "")
    done = threading.Event()

    def append():
        with open(log, "ab", buffering=0) as file:
            count = 0
            while count < 1000 or not done.is_set():
                file.write(b"host %07d\n" % count)
                count += 1

    thread = threading.Thread(target=append)
    thread.start()
    status, text = run([*words, "--", "/usr/bin/python3", "-c", APPEND], shared)
    done.set()
    thread.join()
    with open(log, "rb") as file:
        lines = file.read().split(b"\n")
    guests = [[line for line in lines if line.startswith(b"guest %d" % who)] for who in range(3)]
    host = [line for line in lines if line.startswith(b"host")]
    good = (status == 0 and text.startswith("[0, 0, 0]\n") and b"last" in lines and b"behind" in lines
            and all(lines_of == [b"guest %d %04d" % (who, n) for n in range(1000)]
                    for who, lines_of in enumerate(guests))
            and host == [b"host %07d" % n for n in range(len(host))] and len(lines) == 3003 + len(host))
    tally.add("passed" if good else "failed", f"share: appending on {platform}", f"{status}: {text} {len(lines)}")


def make_owners(folder):
    os.mkdir(folder)
    for name, owner, mode in (("mine", 0, 0o600), ("other", 1234, 0o644), ("secret", 1234, 0o600),
                              ("writable", 1234, 0o666), ("group", 1234, 0o660)):
        write(os.path.join(folder, name), "text", mode)
        os.chown(os.path.join(folder, name), owner, 0 if name == "group" else owner)
    for name, mode in (("folder", 0o755), ("open", 0o777), ("closed", 0o700), ("sticky", 0o1777)):
        os.mkdir(os.path.join(folder, name))
        os.chown(os.path.join(folder, name), 1234, 1234)
        os.chmod(os.path.join(folder, name), mode)


def test_owners(command, top, platforms, tally):
    """The host's judgement counts, which is that of one without capabilities."""
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups"]
    folders = {name: os.path.join(top, "owners-" + name) for name in ("native", *platforms)}
    for folder in folders.values():
        make_owners(folder)
    native = run([*bare, "/usr/bin/python3", "-c", OWNERS], folders["native"])
    for platform in platforms:
        outcome = run([command.program, f"--platform={platform}", f"--bind={folders[platform]}:/mnt/o", "--cwd=/mnt/o",
                       "--", "/usr/bin/python3", "-c", OWNERS], top)
        good = native[0] == 0 and outcome == native
        wrong = [pair for pair in zip(native[1].splitlines(), outcome[1].splitlines()) if pair[0] != pair[1]]
        tally.add("passed" if good else "failed", f"share: owners on {platform}", f"{outcome[0]}: {wrong}")


def test_holes(command, top, platforms, tally):
    def make(name):
        folder = os.path.join(top, "holes-" + name)
        os.mkdir(folder)
        with open(os.path.join(folder, "file"), "wb") as file:
            file.write(b"".join(bytes([65 + n]) * 4096 for n in range(16)))
        return folder

    native = run(["/usr/bin/python3", "-c", HOLES], make("native"))
    for platform in platforms:
        folder = make(platform)
        outcome = run([command.program, f"--platform={platform}", f"--bind={folder}:/mnt/h", "--cwd=/mnt/h", "--",
                       "/usr/bin/python3", "-c", HOLES], top)
        tally.add("passed" if outcome == native else "failed", f"share: holes on {platform}", f"{native} {outcome}")
        outcome = run([command.program, f"--platform={platform}", f"--bind={folder}:/mnt/h", "--cwd=/mnt/h", "--",
                       "/usr/bin/python3", "-c", TAIL], top)
        tally.add("passed" if outcome == (0, "b'ab' b'ab\\x00\\x00'\n" * 3) else "failed",
                  f"share: behind the end on {platform}", f"{outcome}")


def test_killed(words, shared, platform, tally):
    with subprocess.Popen([*words, "--", "/usr/bin/python3", "-c", SYNCED], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as process:
        line = b" "
        while line and line != b"0000150\n":
            line = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
    last = int((rest or [line])[-1] or 0)
    with open(os.path.join(shared, "mapped"), "rb") as file:
        mapped = file.read()
    bad = [n for n in range(last - 99, last + 1)
           if not n <= int(mapped[n % 100 * 8192:n % 100 * 8192 + 7]) <= last + 100]
    for n in range(20):
        with open(os.path.join(shared, f"file{n}"), "rb") as file:
            text = file.read()
        newest = max(m for m in range(last - 19, last + 1) if m % 20 == n)
        if text != text[:7] * 3000 or int(text[:7]) < newest:
            bad.append((n, newest, text[:7], len(text)))
    tally.add("passed" if last >= 150 and not bad else "failed", f"share: killed on {platform}", f"{last} {bad}")


def test_options(command, shared, platform, tally):
    base = [command.program, f"--platform={platform}"]
    script = "echo x > /mnt/new; echo y > /mnt/y || true; echo z > /etc/new"
    cases = [
        ("with a read-only tree", ["--read-only", f"--bind={shared}:/mnt", "--", "/bin/sh", "-c", script], 2,
         "/etc/new: Read-only file system", True),
        ("read-only in a read-only tree", ["--read-only", f"--bind={shared}:/mnt:ro", "--", "/bin/sh", "-c", script], 2,
         "/mnt/new: Read-only file system", False),
        ("where nothing is", ["--read-only", f"--bind={shared}:/mnt/no/where", "--", "/bin/true"], 125,
         "/mnt/no/where", False),
        ("in a tmpfs", ["--read-only", f"--bind={shared}:/tmp/a/b", "--", "/bin/sh", "-c", "echo x > /tmp/a/b/new"], 0,
         "", True),
    ]
    for name, words, want, mention, made in cases:
        status, text = run([*base, *words], shared)
        there = os.path.exists(os.path.join(shared, "new"))
        if there:
            os.unlink(os.path.join(shared, "new"))
        good = status == want and mention in text and there == made
        tally.add("passed" if good else "failed", f"share: {name} on {platform}", f"{status}: {text} {there}")


GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602  # ioctl_iflags(2)
FLAGS = """
import errno, fcntl, os, struct, sys
GET, SET, NODUMP, NOATIME, IMMUTABLE = 0x80086601, 0x40086602, 0x40, 0x80, 0x10
def get(fd):
    return struct.unpack('l', fcntl.ioctl(fd, GET, struct.pack('l', 0)))[0]
def put(fd, flags):
    try:
        fcntl.ioctl(fd, SET, struct.pack('l', flags))
        return 0
    except OSError as error:
        return errno.errorcode[error.errno]
for name in ('/shared/flagged', '/shared'):
    fd = os.open(name, os.O_RDONLY)
    was = get(fd)
    print(name, was, put(fd, was | NODUMP), get(fd) == was | NODUMP, put(fd, was | NOATIME), get(fd) == was | NOATIME,
          put(fd, was | IMMUTABLE), get(fd) == was | NOATIME)
try:
    get(os.open('/fixed', os.O_RDONLY))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def own_flags(path):
    """None: the file system has none."""
    with open(path, "rb") as file:
        try:
            return struct.unpack("l", fcntl.ioctl(file, GET_FLAGS, struct.pack("l", 0)))[0]
        except OSError:
            return None


def test_flags(words, shared, platform, tally):
    """chattr(1) of what is the caller's own; what needs privileges over the host is refused."""
    path = os.path.join(shared, "flagged")
    write(path, "x")
    before = own_flags(path)
    if before is None:
        tally.add("skipped", f"share: flags on {platform}", "this file system has none")
        return
    folder = os.open(shared, os.O_RDONLY)
    of_folder = struct.unpack("l", fcntl.ioctl(folder, GET_FLAGS, struct.pack("l", 0)))[0]
    status, text = run([*words, f"--bind={shared}:/fixed:ro", "--", "/usr/bin/python3", "-c", FLAGS], shared)
    want = "".join(f"{name} {was} 0 True 0 True EPERM True\n"
                   for name, was in (("/shared/flagged", before), ("/shared", of_folder))) + "ENOTTY\n"
    after = own_flags(path)
    fcntl.ioctl(folder, SET_FLAGS, struct.pack("l", of_folder))
    os.close(folder)
    tally.add("passed" if (status, text, after) == (0, want, before | 0x80) else "failed",
              f"share: flags on {platform}", f"{status}: {text} {before} {after}")


def test_storm(command, top, platform, tally, steps="1500"):
    """The bytes of one file are what they must be, whatever was done to them, wherever it lies."""
    storming = os.path.join(os.path.dirname(command.program), "tests", "cli", "storming")
    folder = os.path.join(top, "storm-" + platform)
    os.mkdir(folder)
    with open(os.path.join(folder, "file"), "wb") as file:
        file.write(os.urandom(3 << 20))
    with open(os.path.join(folder, "file"), "rb") as file:
        before = file.read()
    base = [command.program, f"--platform={platform}"]
    for where, options, path in (("in memory", [], f"{folder}/file"), ("kept", [f"--overlay=dir:{folder}/kept"], f"{folder}/file"),
                                 ("shared", [f"--bind={folder}:/mnt/s"], "/mnt/s/file")):
        for seed in ("1", "2"):
            status, text = run([*base, *options, "--", storming, path, seed, steps], top)
            tally.add("passed" if (status, text) == (0, "ok\n") else "failed", f"storm {where} {seed} on {platform}",
                      f"{status}: {text}")
            with open(os.path.join(folder, "file"), "rb") as file:
                if where != "shared" and file.read() != before:
                    tally.add("failed", f"storm {where} on {platform}", "the file outside has changed")


def test_racing(command, top, platform, tally, steps="400"):
    """The same by several threads at once: none loses to another what is its own."""
    racing = os.path.join(os.path.dirname(command.program), "tests", "cli", "racing")
    folder = os.path.join(top, "racing-" + platform)
    os.mkdir(folder)
    base = [command.program, f"--platform={platform}"]
    for where, options, path in (("kept", [f"--overlay=dir:{folder}/kept"], f"{folder}/file"),
                                 ("shared", [f"--bind={folder}:/mnt/s"], "/mnt/s/file")):
        write(os.path.join(folder, "file"), "x" * 40000)
        status, text = run([*base, *options, "--", racing, path, steps], top)
        tally.add("passed" if (status, text) == (0, "ok\n") else "failed", f"racing {where} on {platform}",
                  f"{status}: {text}")


def test_shares(command, platforms, tally):
    build = os.path.dirname(command.program)
    with tempfile.TemporaryDirectory(dir=build) as top:
        for platform in platforms:
            shared = os.path.join(top, platform)
            os.mkdir(shared)
            words = [command.program, f"--platform={platform}", f"--bind={shared}:/shared"]
            test_append(words, shared, platform, tally)
            test_killed(words, shared, platform, tally)
            test_options(command, shared, platform, tally)
            test_flags(words, shared, platform, tally)
            test_storm(command, top, platform, tally)
            test_racing(command, top, platform, tally)
        test_holes(command, top, platforms, tally)
        if os.getuid() == 0 and shutil.which("setpriv"):
            test_owners(command, top, platforms, tally)
        else:
            tally.add("skipped", "share: owners", "makes files of others: needs root")
