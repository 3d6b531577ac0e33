#!/usr/bin/env python3
"""Checks that what the documents name exists: files, functions in files, links between pages.

In README.md and docs/*.md a word in backquotes that begins with a top folder of the repository is a
path, which must exist; `path.c:name` also says that the file has that name in it. Markdown links to
files of the repository must lead somewhere.
"""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ANCHOR = re.compile(r"`([\w.+-]+/[\w./+-]*?)(?::(\w+)(?:\(\))?)?`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
GENERATED = ("build/",)


def pages():
    found = [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")))]
    return [page for page in found if os.path.exists(page)]


def check_anchor(path, name):
    """What is wrong with `path:name`, or None."""
    full = os.path.join(ROOT, path)
    if not os.path.exists(full):
        return f"no such file: {path}"
    if name:
        with open(full, encoding="utf-8") as source:
            if not re.search(rf"\b{name}\b", source.read()):
                return f"no {name} in {path}"
    return None


def problems():
    folders = {name for name in os.listdir(ROOT) if os.path.isdir(os.path.join(ROOT, name))}
    complaints = []
    for page in pages():
        shown = os.path.relpath(page, ROOT)
        with open(page, encoding="utf-8") as text:
            lines = text.read().splitlines()
        for number, line in enumerate(lines, 1):
            wrong = [
                check_anchor(path, name)
                for path, name in ANCHOR.findall(line)
                if path.split("/")[0] in folders and not path.startswith(GENERATED)
            ]
            for target in LINK.findall(line):
                if not os.path.exists(os.path.join(os.path.dirname(page), target)):
                    wrong.append(f"the link to {target} leads nowhere")
            complaints += [f"{shown}:{number}: {text}" for text in wrong if text]
    return complaints


if __name__ == "__main__":
    bad = problems()
    print("\n".join(bad) if bad else "all that the documents name exists")
    sys.exit(1 if bad else 0)
