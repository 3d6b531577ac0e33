"""The overlay: what a program changes in the host's tree is as if it had changed it, inside the
sandbox, and nothing is changed outside. tests/cli/writing.c does it all in a prepared tree,
natively in one copy of it and in the sandbox over another; both must print the same."""

import difflib
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile

TIMEOUT = 60


def write(path, text, mode=0o644):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)


def make_tree(top, build):
    """What writing.c expects to find."""
    for folder in ("a/sub/subsub", "b", "c", "d/in", "e", "full", "sticky"):
        os.makedirs(os.path.join(top, folder))
    join = lambda name: os.path.join(top, name)
    write(join("a/f1"), "first\n")
    write(join("a/f2"), "second file\n")
    write(join("a/sub/deep1"), "a longer text than what comes\n")
    write(join("a/sub/deep2"), "deep two\n")
    write(join("a/sub/subsub/x"), "x\n")
    os.symlink("f1", join("a/sym"))
    write(join("a/h1"), "linked")
    os.link(join("a/h1"), join("a/h2"))
    os.link(join("a/h1"), join("b/h3"))
    write(join("c/one"), "1\n")
    write(join("c/two"), "2\n")
    write(join("d/file"), "moved file\n")
    write(join("d/in/low"), "low")
    for number in range(300):
        write(join(f"full/n{number:03}"), "")
    write(join("big"), "0123456789" * 30000)
    write(join("mapped"), "abcdefghij" * 200000)
    with open(join("large"), "wb") as file:
        for piece in range(48):
            file.write(bytes([(piece * 7 + at // 4096) % 251 for at in range(0, 65536, 4096)]) * 4096)
        file.write(b"the end")
    with open(join("sparse"), "w", encoding="ascii") as file:
        file.truncate(1048576)
        file.seek(1048576)
        file.write("tail")
    write(join("suid"), "suid", 0o4777)
    write(join("sticky/roots"), "roots")
    os.chmod(join("sticky"), 0o1777)
    os.mkfifo(join("p"))
    shutil.copy(os.path.join(build, "tests", "guest", "hello"), join("hello"))
    shutil.copy(os.path.join(build, "tests", "cli", "writing"), join("writing"))


def snapshot(top):
    """Everything about a tree that a program could have changed."""
    result = {}
    for folder, folders, files in os.walk(top):
        for name in [".", *folders, *files]:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            text = None
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    text = file.read()
            result[path] = (st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size, st.st_ino,
                            st.st_mtime_ns, st.st_ctime_ns, text)
    return result


def run(words, folder):
    try:
        result = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                                capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        return None, "it hung"
    return result.returncode, (result.stdout + result.stderr).decode(errors="replace")


def compare(tally, label, native, outcome, unchanged):
    status, text = outcome
    if status == 0 and native == outcome and unchanged:
        tally.add("passed", label, "")
        return
    lines = list(difflib.unified_diff(native[1].splitlines(), text.splitlines(), "native",
                                      "sandbox", lineterm="", n=0))
    why = f"status {status}" if unchanged else "the tree outside is not what it should be"
    tally.add("failed", label, "\n    ".join([why, *lines[:20]]))


CHANGES = """
cd "$0"
echo more >> a/f1; chmod 600 a/f2; rm c/one; mv d moved; rm moved/in/low; mkdir new; touch new/x "new/line
end"; rm e -r; echo > e; echo x > b/h3
"""
CHANGED = r"""M /
M /a/f1
M /a/f2
M /b/h3
M /c
D /c/one
D /d
M /e
A /moved
M /moved/in
D /moved/in/low
A /new
A /new/line\012end
A /new/x
"""


def test_diff(command, platform, tree, tally):
    listing = tree + ".diff"
    status, text = run([command.program, f"--platform={platform}", f"--diff={listing}", "--", "/bin/sh", "-c",
                        CHANGES, tree], tree)
    with open(listing, encoding="utf-8") as file:
        lines = sorted(line.replace(tree, "").replace("M \n", "M /\n") for line in file if tree in line)
    good = status == 0 and lines == sorted(CHANGED.splitlines(keepends=True))
    tally.add("passed" if good else "failed", f"diff on {platform}", f"{status}: {text}{''.join(lines)}")


def test_trees_of_options(command, platform, tree, tally):
    """--read-only, --overlay=none, --tmpfs, --rootfs."""
    base = [command.program, f"--platform={platform}"]
    write_it = ["--", "/bin/sh", "-c", 'echo x > "$0/a/new"; echo x > /tmp/y && cat /tmp/y', tree]
    cases = [
        ("read-only", [*base, "--read-only", *write_it], 0, "x\n", "Read-only file system"),
        ("no overlay", [*base, "--overlay=none", *write_it], 0, "x\n", "Read-only file system"),
        ("tmpfs", [*base, "--tmpfs=/mnt/a/b:size=64k", "--", "/bin/sh", "-c",
                   "echo in > /mnt/a/b/f; cat /mnt/a/b/f; head -c 100000 /dev/zero > /mnt/a/b/g"],
         1, "in\n", "No space left"),
        ("rootfs", [*base, f"--rootfs={tree}", "--", "/hello"], 0, "Hello, world!\n", ""),
    ]
    for name, words, want, out, err in cases:
        status, text = run(words, tree)
        good = status == want and out in text and err in text
        tally.add("passed" if good else "failed", f"{name} on {platform}", f"{status}: {text}")


def contents(top):
    """What is in a tree, without what differs between two copies of it."""
    result = {}
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            text = None
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    text = file.read()
            size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
            result[os.path.relpath(path, top)] = (st.st_mode, st.st_nlink, size, text)
    return result


def test_bind(command, platforms, tally):
    """A folder that both sides change: what the program did is what is there afterwards."""
    build = os.path.dirname(command.program)
    with tempfile.TemporaryDirectory(dir=build) as top:
        trees = {name: os.path.join(top, name) for name in ("native", *platforms)}
        for tree in trees.values():
            os.mkdir(tree)
            make_tree(tree, build)
        native = run(["./writing", "kept"], trees["native"])
        if native[0] != 0:
            tally.add("failed", "bind natively", native[1])
            return
        for platform in platforms:
            base = [command.program, f"--platform={platform}", "--cwd=/shared"]
            before = snapshot(trees[platform])
            status, text = run([*base, f"--bind={trees[platform]}:/shared:ro", "--", "/bin/sh", "-c",
                                "cat a/f1; echo x > a/f1; chmod 600 a/f1; rm a/f1; mkdir x"], top)
            good = status == 1 and text.startswith("first\n") and text.count("Read-only file system") == 4
            good = good and before == snapshot(trees[platform])
            tally.add("passed" if good else "failed", f"bind read-only on {platform}", f"{status}: {text}")
            outcome = run([*base, f"--bind={trees[platform]}:/shared", "--", "./writing", "kept"], top)
            compare(tally, f"bind on {platform}", native, outcome,
                    contents(trees[platform]) == contents(trees["native"]))


def make_many(folder, count):
    """What listing.c expects to find."""
    os.makedirs(folder)
    for number in range(count):
        write(os.path.join(folder, f"k{number:05}" + ("" if number % 4 else "n" * 200)), "")


def test_listing(command, platforms, top, tally, count=3000):
    """A big folder is listed while it is changed; what lies below is unchanged."""
    program = os.path.join(os.path.dirname(command.program), "tests/cli/listing")
    folder = os.path.join(top, "many")
    make_many(folder, count)
    for platform in platforms:
        base = [command.program, f"--platform={platform}"]
        for where, options in (("memory", []), ("a folder", [f"--overlay=dir:{top}/kept-{platform}"])):
            outcome = run([*base, *options, "--", program, folder, str(count)], top)
            good = outcome == (0, "ok\n") and len(os.listdir(folder)) == count
            tally.add("passed" if good else "failed", f"listing over {where} on {platform}", str(outcome))
        shared = folder + platform
        shutil.copytree(folder, shared)
        outcome = run([*base, f"--bind={shared}:/shared", "--", program, "/shared", str(count)], top)
        tally.add("passed" if outcome == (0, "ok\n") and len(os.listdir(shared)) == 13 else "failed",
                  f"listing a share on {platform}", str(outcome))
    outcome = run([program, folder, str(count)], top)
    tally.add("passed" if outcome == (0, "ok\n") else "failed", "listing natively", str(outcome))


def test_attributes(command, platform, tree, tally):
    """Extended attributes of host files are seen, copied up with the file, and changed inside alone."""
    path = os.path.join(tree, "a/f1")
    try:
        os.setxattr(path, "user.kvmsentry", b"host")
        os.setxattr(os.path.join(tree, "a"), "user.folder", b"too")
    except OSError as error:
        tally.add("skipped", f"attributes on {platform}", str(error))
        return
    script = """import os
print(os.listxattr('a/f1'), os.getxattr('a/f1', 'user.kvmsentry'), os.listxattr('a'), os.listxattr('a/f2'))
f = os.open('a/f1', os.O_RDONLY)
print(os.getxattr(f, 'user.kvmsentry'))
os.setxattr('a/f1', 'user.more', b'1')
print(sorted(os.listxattr('a/f1')), os.getxattr('a/f1', 'user.kvmsentry'), open('a/f1').read())
os.removexattr('a/f1', 'user.kvmsentry')
print(os.listxattr(f))
os.chmod('a', 0o700)
print(os.getxattr('a', 'user.folder'))
"""
    want = ("['user.kvmsentry'] b'host' ['user.folder'] []\nb'host'\n['user.kvmsentry', 'user.more'] b'host' "
            "first\n\n['user.more']\nb'too'\n")
    status, text = run([command.program, f"--platform={platform}", "--", "/usr/bin/python3", "-c", script], tree)
    good = status == 0 and text == want and os.listxattr(path) == ["user.kvmsentry"]
    tally.add("passed" if good else "failed", f"attributes on {platform}", f"{status}: {text}")


PIECES = r"""
import hashlib, mmap, os
def room():
    st = os.statvfs('.')
    return st.f_blocks * st.f_frsize, st.f_bfree * st.f_frsize
size, free = room()
print('in use:', size - free >= 80 << 20)
fd = os.open('huge', os.O_RDWR)
old = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
shown = old[40000000], old[70000000]
os.pwrite(fd, b'X', 40000000)
with mmap.mmap(fd, 0) as m:
    m[70000000:70000003] = b'YYY'
    print(os.pread(fd, 4, 69999999), m[40000000:40000002], old[39999999:40000002], old[70000000:70000004])
print('took', (free - room()[1]) >> 20, 'MiB')
digest = hashlib.sha256()
for at in range(0, 80 << 20, 1 << 20): digest.update(os.pread(fd, 1 << 20, at))
print(digest.hexdigest())
"""


def test_pieces(command, platforms, top, tally):
    """One byte written into a big file takes little memory, and the rest stays what it was."""
    tree = os.path.join(top, "pieces")
    os.mkdir(tree)
    with open(os.path.join(tree, "huge"), "wb") as file:
        for number in range(80):
            file.write(number.to_bytes(4, "little") * (1 << 18))
    with open(os.path.join(tree, "huge"), "rb") as file:
        text = bytearray(file.read())
    text[40000000:40000001] = b"X"
    text[70000000:70000003] = b"YYY"
    want = f"in use: True\n{bytes(text[69999999:70000003])} {bytes(text[40000000:40000002])} " \
           f"{bytes(text[39999999:40000002])} {bytes(text[70000000:70000004])}\n" \
           f"took 0 MiB\n{hashlib.sha256(text).hexdigest()}\n"
    for platform in platforms:
        status, out = run([command.program, f"--platform={platform}", "--", "/usr/bin/python3", "-c", PIECES], tree)
        tally.add("passed" if (status, out) == (0, want) else "failed", f"pieces on {platform}", f"{status}: {out}")


def test_overlay(command, platforms, tally):
    if os.getuid() != 0:
        tally.add("skipped", "overlay", "changes owners: needs root")
        return
    build = os.path.dirname(command.program)
    # Not below /tmp, of which the sandbox has one of its own.
    with tempfile.TemporaryDirectory(dir=build) as top:
        trees = {name: os.path.join(top, name) for name in ("native", *platforms)}
        os.chmod(top, 0o755)
        for tree in trees.values():
            os.mkdir(tree)
            make_tree(tree, build)
        test_pieces(command, platforms, top, tally)
        test_listing(command, platforms, top, tally)
        native = run(["./writing"], trees["native"])
        if native[0] != 0:
            tally.add("failed", "overlay natively", native[1])
            return
        for platform in platforms:
            test_attributes(command, platform, trees[platform], tally)
            before = snapshot(trees[platform])
            test_diff(command, platform, trees[platform], tally)
            test_trees_of_options(command, platform, trees[platform], tally)
            outcome = run([command.program, f"--platform={platform}", "--", "./writing"],
                          trees[platform])
            compare(tally, f"overlay on {platform}", native, outcome,
                    before == snapshot(trees[platform]))
