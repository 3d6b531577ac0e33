"""Host files while a sandbox runs: what others change, whose files may be read, a gofer that dies."""

import difflib
import os
import random
import shutil
import signal
import subprocess
import tempfile

NOBODY = 65534
# Answers one line for each line of commands. Only what is built in: it stays one process.
LOOKER = r"""
while read -r what name; do
    case $what in
    kind) if [ -L "$name" ]; then echo link; elif [ -d "$name" ]; then echo folder
          elif [ -e "$name" ]; then echo file; else echo absent; fi ;;
    text) if read -r line < "$name"; then echo "$line"; else echo unreadable; fi ;;
    may) if [ -w "$name" ]; then echo write; elif [ -r "$name" ]; then echo read; else echo no; fi ;;
    esac
done 2>/dev/null
"""


class Looker:
    """A shell that looks at files, natively or in a sandbox."""

    def __init__(self, prefix):
        self.process = subprocess.Popen([*prefix, "/bin/sh", "-c", LOOKER], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, what, name):
        self.process.stdin.write(f"{what} {name}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)


def write(name, text):
    with open(name, "w", encoding="ascii") as file:
        file.write(text + "\n")


def changes(folder):
    """Steps of a host at work: a change, then what there is to see."""
    file, other, deep = (os.path.join(folder, name) for name in ("file", "other", "a/b/c"))
    inner = os.path.join(deep, "inner")
    yield lambda: None, "kind", file, "absent"
    yield lambda: None, "kind", file, "absent"
    yield lambda: write(file, "one"), "text", file, "one"
    yield lambda: write(file, "two"), "text", file, "two"
    yield lambda: (write(other, "new"), os.rename(other, file)), "text", file, "new"
    yield lambda: None, "kind", other, "absent"
    yield lambda: os.remove(file), "kind", file, "absent"
    yield lambda: os.makedirs(deep), "kind", deep, "folder"
    yield lambda: write(inner, "inner"), "text", inner, "inner"
    yield lambda: os.rename(os.path.join(folder, "a"), os.path.join(folder, "z")), "kind", inner, "absent"
    yield lambda: os.symlink("z", os.path.join(folder, "a")), "text", inner, "inner"
    yield lambda: (os.remove(os.path.join(folder, "a")), os.mkdir(os.path.join(folder, "a"))), "kind", inner, \
        "absent"
    yield lambda: shutil.rmtree(os.path.join(folder, "z")), "kind", os.path.join(folder, "z/b"), "absent"


def follow(looker, folder, rounds):
    """The first thing that was not seen as it is, or None."""
    for number, (change, what, name, want) in enumerate(changes(folder)):
        change()
        got = looker.ask(what, name)
        if got != want:
            return f"step {number}: {what} {os.path.basename(name)}: {got}, not {want}"
    chance = random.Random(7)
    names = [os.path.join(folder, name) for name in "uvwxyz"]
    for number in range(rounds):
        name = chance.choice(names)
        kind = chance.choice(("absent", "file", "folder"))
        shutil.rmtree(name, ignore_errors=True)
        if os.path.exists(name):
            os.remove(name)
        if kind == "file":
            write(name, "x")
        elif kind == "folder":
            os.mkdir(name)
        got = looker.ask("kind", name)
        if got != kind:
            return f"change {number}: {got}, not {kind}"
    return None


def workplace(command):
    """A folder that the sandbox shows as the host has it: not below /tmp."""
    return tempfile.TemporaryDirectory(dir=os.path.dirname(command.program))


def test_changes(command, platform, tally):
    with workplace(command) as folder, Looker([command.program, f"--platform={platform}"]) as looker:
        complaint = follow(looker, folder, 300)
        tally.add("failed" if complaint else "passed", f"hostfiles: changes are seen on {platform}",
                  complaint or "")
    prefix = [command.program, f"--platform={platform}", "--file-access=exclusive"]
    with workplace(command) as folder, Looker(prefix) as looker:
        name = os.path.join(folder, "kept")
        write(name, "kept")
        answers = [looker.ask("text", name), looker.ask("kind", name + "-absent")]
        os.remove(name)
        write(name + "-absent", "new")
        answers += [looker.ask("text", name), looker.ask("kind", name + "-absent")]
        good = answers == ["kept", "absent"] * 2
        tally.add("passed" if good else "failed", f"hostfiles: exclusive remembers on {platform}",
                  str(answers))


def gofer_of(process):
    """The gofer is the sandbox's first child."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as children:
        return int(children.read().split()[0])


def test_death(command, platform, tally):
    """Without its gofer a sandbox has no host files, and goes on."""
    with workplace(command) as folder, \
            Looker([command.program, f"--platform={platform}", "--log=/dev/null"]) as looker:
        name = os.path.join(folder, "file")
        write(name, "text")
        before = looker.ask("kind", name)
        os.kill(gofer_of(looker.process), signal.SIGKILL)
        after = looker.ask("text", name + "-never-asked-before"), looker.ask("kind", "/dev/null")
        good = before == "file" and after == ("unreadable", "file")
        tally.add("passed" if good else "failed", f"hostfiles: a dead gofer on {platform}",
                  f"{before} {after}")


RIGHTS = r"""
look() {
    for name in . open secret folder folder/f shut shut/f group group/f; do
        ls -ld "$name" >/dev/null && echo "seen $name"
        ls "$name" >/dev/null && echo "listed $name"
        [ -d "$name" ] || cat "$name"
        for how in r x; do [ -$how "$name" ] && echo "$how $name"; done
        (cd "$name" && echo "entered $name")
    done
    cat shut/absent/f
    find . | sort
}
look
"""


def make_rights(folder):
    """Files and folders of several users, as only root can make them."""
    for name, mode, owner in (("folder", 0o750, 4321), ("shut", 0o700, 4321), ("group", 0o750, 1234)):
        inner = os.path.join(folder, name)
        os.mkdir(inner)
        write(os.path.join(inner, "f"), name)
        os.chmod(inner, mode)
        os.chown(inner, owner, owner)
    for name, mode, owner in (("open", 0o644, 0), ("secret", 0o600, 4321)):
        write(os.path.join(folder, name), name)
        os.chmod(os.path.join(folder, name), mode)
        os.chown(os.path.join(folder, name), owner, owner)
    os.chmod(folder, 0o755)


def outcome(words, folder):
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=60,
                            stdin=subprocess.DEVNULL)
    return result.returncode, result.stdout, result.stderr


def test_rights(command, platform, tally):
    """Root, who it becomes inside, and an ordinary user see what they see natively."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        tally.add("skipped", f"hostfiles: rights on {platform}", "needs root and setpriv")
        return
    ordinary = ["setpriv", "--reuid=65534", "--regid=1234", "--clear-groups"]
    with workplace(command) as folder:
        make_rights(folder)
        program = shutil.copy(command.program, folder)
        look = os.path.join(folder, "look")
        write(look, RIGHTS)
        script = ["sh", look]
        root_script = ["sh", "-c", f'sh {look}; exec "$@"', "-", *ordinary, *script]
        sandbox = [program, f"--platform={platform}", "--overlay=none"]
        sandbox_over = [program, f"--platform={platform}"]
        runs = [("root", root_script, ([], sandbox, sandbox_over))]
        if platform != "kvm" or os.stat("/dev/kvm").st_mode & 0o006 == 0o006:
            runs.append(("another user", script, (ordinary, ordinary + sandbox)))
        for label, words, prefixes in runs:
            native, *inside = [outcome([*prefix, *words], folder) for prefix in prefixes]
            for got, prefix in zip(inside, prefixes[1:]):
                difference = "" if got[1:] == native[1:] else "\n".join(difflib.unified_diff(
                    (native[1] + native[2]).splitlines(), (got[1] + got[2]).splitlines(), lineterm=""))
                if "folder" not in native[1] or native[0] != 0:
                    difference = f"natively: {native}"
                tally.add("failed" if difference else "passed",
                          f"hostfiles: {label}, {prefix[-1]} on {platform}", difference)


# Names as bytes; what a name cannot be, a folder cannot hold either.
ODD_NAMES = [b"new\nline", b"\xff\xfe not UTF-8 \x80", b" ", b"\\", b"*", b"-rf", b"...", b"tab\there", b"\x7f\x01",
             b"n" * 255, "\u00e9\u4e16".encode()]
MANY = 10000
DEPTH = 100
PATH_MAX = 4096

LISTING = r"""
find . -printf '%p|%y|%s|%m|%n|%l\\0' | LC_ALL=C sort -z | cksum
ls -U many | wc -l
ls -aU many | LC_ALL=C sort | uniq -d
cat "$1" && cat "$1x"
cat "$2"
for name in odd/*; do cat "$name" && [ ! -e "$name-" ] && echo; done
"""


def make_names(folder):
    """Odd names, a folder of many, a deep one: the longest path there can be, and a file at its end."""
    folder = os.fsencode(folder)
    odd, many, deep = (os.path.join(folder, name) for name in (b"odd", b"many", b"deep"))
    os.mkdir(odd)
    os.mkdir(many)
    for name in ODD_NAMES:
        with open(os.path.join(odd, name), "wb") as file:
            file.write(b"text of " + name)
    for number in range(MANY):
        os.close(os.open(os.path.join(many, b"entry %d" % number), os.O_CREAT | os.O_WRONLY))
    os.symlink(b"many/entry 1", os.path.join(folder, b"link"))
    step = (PATH_MAX - 1 - len(deep)) // DEPTH - 1
    for _ in range(DEPTH - 1):
        deep = os.path.join(deep, b"d" * step)
    os.makedirs(deep)
    longest = os.path.join(deep, b"f" * (PATH_MAX - 2 - len(deep)))
    assert len(longest) == PATH_MAX - 1
    with open(longest, "wb") as file:
        file.write(b"deep\n")
    return longest, os.path.relpath(longest, folder)


def test_names(command, platform, tally):
    """All that a name can be, many of them, and far down."""
    with workplace(command) as folder:
        words = ["sh", "-c", LISTING, "sh", *map(os.fsdecode, make_names(folder))]
        answers = [subprocess.run([*prefix, *words], cwd=folder, capture_output=True, check=False, timeout=60,
                                  stdin=subprocess.DEVNULL)
                   for prefix in ([], [command.program, f"--platform={platform}"])]
        native, inside = ((answer.stdout, answer.stderr) for answer in answers)
        good = native == inside and native[0].count(b"deep\n") == 2 and b"too long" in native[1]
        tally.add("passed" if good else "failed", f"hostfiles: names on {platform}",
                  f"{inside[0][:600]} {inside[1][:600]}, natively {native[0][:600]} {native[1][:600]}")


def test_host_files(command, platforms, tally):
    """What others change, whose files may be read, how they may be named, and a gofer that dies."""
    for platform in platforms:
        test_changes(command, platform, tally)
        test_death(command, platform, tally)
        test_rights(command, platform, tally)
        test_names(command, platform, tally)
