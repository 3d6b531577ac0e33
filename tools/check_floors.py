#!/usr/bin/env python3
"""Checks the floors of docs/ARCHITECTURE.md from the #include lines.

A room is a folder. A file includes from its own room and from rooms on lower floors; a room inside
another (platform/kvm in platform) may use the outer one's headers too. Rooms beside each other do
not see each other, and no headers include each other in a circle. The folders in some large
rooms are shelves of that one room, whose objects all know each other. Includes with quotes are root-relative, so
that the line names the room.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The longest prefix counts. "fs" and "net" on floor 5 stand for each folder in them.
FLOORS = {
    "base": 0,
    "abi": 0,
    "host": 1,
    "gofer": 2,
    "ring0": 2,
    "vdso": 2,
    "platform": 3,
    "sentry/wait": 4,
    "sentry/mm": 4,
    "sentry/vfs": 4,
    "sentry/fs": 5,
    "sentry/net": 5,
    "loader": 6,
    "sentry/kernel": 7,
    "sentry/fs/proc": 8,
    "sentry/fs/cgroup": 8,
    "sentry/syscalls": 9,
    "runtime": 10,
}
SHELVES = ("sentry/kernel", "sentry/syscalls", "sentry/vfs", "sentry/fs/proc")
# Shelves of rooms whose other folders do not see each other.
LONE_SHELVES = {"sentry/fs/loop": "sentry/fs"}
FREE = ("tests", "tools", "bench")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
SOURCES = (".c", ".h", ".S", ".def")


def source_files():
    """All sources, relative to the root."""
    for folder, names, files in os.walk(ROOT):
        names[:] = [n for n in names if not n.startswith(".") and not n.startswith("build")]
        for name in files:
            if name.endswith(SOURCES):
                yield os.path.relpath(os.path.join(folder, name), ROOT)


def room(path):
    folder = os.path.dirname(path)
    folder = LONE_SHELVES.get(folder, folder)
    return next((whole for whole in SHELVES if folder.startswith(whole + "/")), folder)


def floor(path):
    """The floor of a file; None if it stands in no known room."""
    folder = room(path)
    while folder:
        if folder in FLOORS:
            return FLOORS[folder]
        folder = os.path.dirname(folder)
    return None


def includes(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as source:
        return INCLUDE.findall(source.read())


def check_include(path, target):
    """The complaint about one #include line, or None."""
    if path.startswith(FREE):
        return None
    if not os.path.exists(os.path.join(ROOT, target)):
        # Generated headers are in the build folder under the same root-relative name.
        return None if "/" in target else f'{path}: "{target}" is not relative to the root'
    mine, theirs = floor(path), floor(target)
    if mine is None or theirs is None:
        return f"{path} includes {target}: no floor is known for one of them"
    if room(path) == room(target) or theirs < mine:
        return None
    if theirs == mine and room(path).startswith(room(target) + "/"):
        return None
    if path.startswith("abi/") and target.startswith("base/"):
        return None
    return f"{path} (floor {mine}) includes {target} (floor {theirs})"


def circles(graph):
    """Each include circle, as the list of its files."""
    found, state, stack = [], {}, []

    def visit(node):
        state[node] = "open"
        stack.append(node)
        for target in graph.get(node, ()):
            if state.get(target) == "open":
                found.append(stack[stack.index(target):] + [target])
            elif target not in state:
                visit(target)
        stack.pop()
        state[node] = "done"

    for node in sorted(graph):
        if node not in state:
            visit(node)
    return found


def problems():
    graph, complaints = {}, []
    for path in sorted(source_files()):
        targets = includes(path)
        graph[path] = [t for t in targets if os.path.exists(os.path.join(ROOT, t))]
        complaints += filter(None, (check_include(path, target) for target in targets))
    return complaints + ["circle: " + " -> ".join(circle) for circle in circles(graph)]


if __name__ == "__main__":
    bad = problems()
    print("\n".join(bad) if bad else "every include goes down")
    sys.exit(1 if bad else 0)
