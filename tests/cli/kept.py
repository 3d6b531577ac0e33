"""--overlay=dir:PATH: what a program changes is there for the next sandbox with the same PATH, whoever
started it and however the one before ended; `kvmsentry diff PATH` lists it."""

import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile

from overlay import compare, make_tree, run, snapshot

# Everything about the tree that must last, one object a line. Times of reading are not kept exactly.
LOOK = r"""
import os, sys
def look(path):
    st = os.lstat(path)
    text = b''
    if os.path.islink(path):
        text = os.readlink(os.fsencode(path))
    elif os.path.isfile(path):
        text = open(path, 'rb').read()
    attributes = {} if os.path.islink(path) else {n: os.getxattr(path, n) for n in sorted(os.listxattr(path))}
    size = 0 if os.path.isdir(path) else st.st_size
    print(ascii(path), oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_ino, st.st_rdev, size,
          st.st_mtime_ns, st.st_ctime_ns, text[:64], attributes)
for folder, folders, files in os.walk('.'):
    folders.sort()
    for name in ['.', *sorted([*folders, *files])]:
        look(os.path.join(folder, name))
"""

CHANGE = r"""
import os
def put(name, text):
    with open(name, 'w') as file:
        file.write(text)
put('a/f1', 'changed\n')
os.chmod('a/f2', 0o4711)
os.setxattr('a/f2', 'user.kept', b'yes\0no')
os.rename('d', 'moved'); os.unlink('moved/in/low'); put('moved/in/new', 'in a folder that was moved')
os.unlink('c/one'); os.unlink('a/h2'); os.rename('c/two', 'two'); os.rmdir('c'); os.mkdir('c'); put('c/two', 'another')
with open('b/h3', 'a') as file: file.write(' by one of three names')
os.link('a/f1', 'b/of f1'); os.symlink('nowhere', 'b/link'); os.mkfifo('b/fifo', 0o640)
put('new\nline', ''); put(b'bytes\xff\xfe', 'x'); put('n' * 255, 'long')
if os.getuid() == 0:
    os.chown('a/f2', 7, 8); os.lchown('b/link', 9, 10); os.chmod('a/f2', 0o4711)
os.truncate('big', 5000)
with open('sparse', 'r+b') as file: file.seek(3 << 20); file.write(b'far')
os.utime('a/sub', ns=(1234567890123456789, 987654321987654321))
for n in range(300):
    put(f'full/m{n}', str(n))
    os.unlink(f'full/n{n:03}')
os.rename('full', 'a/full'); os.unlink('a/full/m7')
deep = '.'
for n in range(40):
    deep += '/' + 'd' * 90
    os.mkdir(deep) if len(deep) < 3900 else None
held = open('e/held', 'w'); held.write('gone'); os.unlink('e/held'); held.flush()
"""

SYNCED = r"""
import os
fd = os.open('log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for n in range(1000000):
    os.write(fd, b'%07d\n' % n)
    new = os.open('file%d' % (n % 50), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(new, b'%07d' % n * 1000)
    os.fsync(new); os.close(new); os.fsync(fd)
    os.write(1, b'%07d\n' % n)
"""


class Kept:
    """Runs python programs in a tree, over one folder that keeps what they change."""

    def __init__(self, command, platform, tree, store, prefix=()):
        self.words = [*prefix, command.program, f"--platform={platform}", f"--overlay=dir:{store}", "--"]
        self.command, self.tree, self.store = command, tree, store

    def python(self, script):
        return run([*self.words, "/usr/bin/python3", "-c", script], self.tree)

    def diff(self, *options):
        return run([self.command.program, "diff", *options, self.store], self.tree)


def test_lasting(kept, platform, who, tally):
    label = f"kept {who} on {platform}"
    status, text = kept.python(CHANGE + LOOK)
    if status != 0 or not text:
        tally.add("failed", label, f"{status}: {text[-500:]}")
        return
    for again in ("once more", "and again"):
        outcome = kept.python(LOOK)
        compare(tally, f"{label}, {again}", (0, text), outcome, True)
    left = [name for name in os.listdir(os.path.join(kept.store, "data"))]
    status, listed = kept.diff("--json")
    lines = [json.loads(line) for line in listed.splitlines()]
    paths = {os.fsencode(line["path"].removeprefix(kept.tree)): line["change"] + " " + line["kind"] for line in lines}
    want = {b"/a/f1": "M file", b"/a/h2": "D file", b"/moved": "A folder", b"/moved/in/low": "D file",
            b"/d": "D folder", b"/b/link": "A link", b"/b/fifo": "A fifo", b"/new\nline": "A file",
            b"/bytes\xff\xfe": "A file", b"/a/full": "A folder", b"/full": "D folder", b"/c": "M folder",
            b"/a/full/n001": "D file", b"/a/full/m8": "A file"}
    wrong = {path: (change, paths.get(path)) for path, change in want.items() if paths.get(path) != change}
    good = status == 0 and not wrong and b"/a/full/m7" not in paths and b"/e/held" not in paths
    tally.add("passed" if good else "failed", f"{label}: diff", f"{status}: {wrong} {listed[:300]}")
    status, text = kept.diff()
    good = status == 0 and f"D file {kept.tree}/a/h2\n" in text and f"A file {kept.tree}/new\\012line\n" in text
    tally.add("passed" if good else "failed", f"{label}: diff as text", f"{status}: {text[:500]}")
    # The file that was removed while it was open left nothing behind, at the latest now.
    files = sum(1 for line in lines if line["kind"] == "file" and line["change"] != "D")
    good = len(left) <= files + 3
    tally.add("passed" if good else "failed", f"{label}: leftovers", f"{len(left)} files for {files}")


def test_killed(kept, platform, tally):
    """All that was synced is there after SIGKILL, and a journal that ends anywhere is one."""
    label = f"kept, killed on {platform}"
    with subprocess.Popen([*kept.words, "/usr/bin/python3", "-c", SYNCED], cwd=kept.tree, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as process:
        last = ""
        while last != "0000120\n":
            last = process.stdout.readline().decode()
            if not last:
                break
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().decode()
    last = int((rest.splitlines() or [last])[-1] or -1)
    check = r"""
import os
lines = open('log').read().splitlines()
whole = lines == ['%07d' % n for n in range(len(lines))]
files = [open('file%d' % n).read() for n in range(50)]
newest = max(int(text[:7]) for text in files if len(text) == 7000)
same = sum(1 for text in files if text and text == text[:7] * 1000)
print(len(lines), whole, newest, same)
"""
    status, text = kept.python(check)
    good = status == 0 and last >= 120
    if good:
        count, whole, newest, same = text.split()
        good = int(count) > last and whole == "True" and int(newest) >= last and int(same) >= 49
    tally.add("passed" if good else "failed", label, f"{status}, {last} synced: {text}")


def test_torn(kept, platform, tally):
    """A journal that is cut off, or is not one."""
    journal = os.path.join(kept.store, "journal")
    with open(journal, "rb") as file:
        whole = file.read()
    before = kept.diff()[1].splitlines()
    bad = []
    for size in [0, 1, 31, 33, len(whole) // 3, len(whole) // 2, len(whole) - 1]:
        with open(journal, "wb") as file:
            file.write(whole[:size])
        status, text = kept.diff()
        if status != 0 or not set(text.splitlines()) <= set(before):
            bad.append((size, status, text[:200]))
    # A batch that is whole and says nonsense: a name in a folder that does not exist.
    with open(journal, "wb") as file:
        file.write(b"\0" * 500)
    status, text = kept.python("print('fine')")
    if (status, text) != (0, "fine\n"):
        bad.append(("zeroes", status, text))
    with open(journal, "wb") as file:
        file.write(whole)
    tally.add("failed" if bad else "passed", f"kept, torn journals on {platform}", str(bad))


def test_one_at_a_time(kept, platform, tally):
    with subprocess.Popen([*kept.words, "/bin/sh", "-c", "echo runs; read line"], cwd=kept.tree,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        status, text = kept.python("pass")
        process.stdin.close()
    good = status == 125 and "another sandbox" in text
    tally.add("passed" if good else "failed", f"kept, one at a time on {platform}", f"{status}: {text}")


def test_words(kept, platform, tally):
    """`diff` is a verb of ours and the name of a program."""
    base = [kept.command.program, f"--platform={platform}"]
    cases = [([*base, "--", "diff", "a/f1", "a/f1"], 0), ([*base, "run", "diff", "a/f1", "a/f2"], 1),
             ([*base, "diff", "a/f1", "a/f2"], 125), ([*base, "diff"], 125), ([*base, "diff", "a"], 125)]
    bad = [(words, run(words, kept.tree)) for words, want in cases if run(words, kept.tree)[0] != want]
    tally.add("failed" if bad else "passed", f"kept, words of diff on {platform}", str(bad))


def test_long(kept, platform, tally):
    """A journal that grows is written anew while the program runs."""
    script = """import os
os.mkdir('many')
for n in range(40000):
    os.close(os.open('many/x' + 'y' * 200, os.O_CREAT | os.O_WRONLY))
    os.rename('many/x' + 'y' * 200, 'many/z' + 'y' * 200)
    if n % 4000 == 0: os.rename('many/z' + 'y' * 200, 'many/%d' % n)
    else: os.unlink('many/z' + 'y' * 200)
"""
    status, text = kept.python(script)
    size = os.path.getsize(os.path.join(kept.store, "journal"))
    again = kept.python("import os; print(sorted(os.listdir('many'), key=int))")
    good = status == 0 and size < 24 << 20 and again == (0, str([str(n) for n in range(0, 40000, 4000)]) + "\n")
    tally.add("passed" if good else "failed", f"kept, a long journal on {platform}", f"{status} {text} {size} {again}")


def test_kept(command, platforms, tally, long=False):
    build = os.path.dirname(command.program)
    with tempfile.TemporaryDirectory(dir=build) as top:
        os.chmod(top, 0o755)
        trees = {name: os.path.join(top, name) for name in ("native", *platforms)}
        for tree in trees.values():
            os.mkdir(tree)
            make_tree(tree, build)
        native = run(["./writing", *([] if os.getuid() == 0 else ["kept"])], trees["native"])
        for platform in platforms:
            tree = trees[platform]
            before = snapshot(tree)
            store = lambda name: os.path.join(top, f"{platform}-{name}")
            outcome = run([command.program, f"--platform={platform}", f"--overlay=dir:{store('writing')}", "--",
                           "./writing", *([] if os.getuid() == 0 else ["kept"])], tree)
            compare(tally, f"kept overlay on {platform}", native, outcome, before == snapshot(tree))
            kept = Kept(command, platform, tree, store("lasting"))
            test_lasting(kept, platform, "as the caller", tally)
            test_torn(kept, platform, tally)
            test_killed(Kept(command, platform, tree, store("killed")), platform, tally)
            test_one_at_a_time(Kept(command, platform, tree, store("lock")), platform, tally)
            test_words(kept, platform, tally)
            if long:
                test_long(Kept(command, platform, tree, store("long")), platform, tally)
            same = before == snapshot(tree)
            tally.add("passed" if same else "failed", f"kept: the tree outside on {platform}", "it has changed")
        if os.getuid() == 0 and shutil.which("setpriv"):
            prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            tree = os.path.join(top, "user")
            os.mkdir(tree)
            make_tree(tree, build)
            for folder, folders, files in os.walk(tree):
                for name in [".", *folders, *files]:
                    os.lchown(os.path.join(folder, name), 65534, 65534)
            store = os.path.join(top, "user-store")
            os.mkdir(store)
            os.chown(store, 65534, 65534)
            test_lasting(Kept(command, "ptrace", tree, store, prefix), "ptrace", "as an ordinary user", tally)
