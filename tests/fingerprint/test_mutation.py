"""What real packages do, as small projects: each with one edit, and what must come of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).with_name("mutation")
EVALUATE = """
import importlib, json, sys
from pathlib import Path
from databacked.fingerprint.code import code_fingerprint
from databacked.fingerprint.files import content_of
folder, then = Path(sys.argv[1]), sys.argv[2:]
sys.path.insert(0, str(folder))
for name in then if then[:1] != ["run"] else ():
    importlib.import_module(name)
f = importlib.import_module("main").f

def take():
    found = code_fingerprint(f, root=folder)
    return {
        "digest": found.digest,
        "files": sorted(content_of(path) for path in found.paths.values()),
        "opaque": list(found.opaque),
        "symbols": dict(found.symbols),
    }

before = take()
try:
    value = repr(f(3))
except Exception as error:
    value = repr(error)
print(json.dumps({**before, "value": value, "after": take()["digest"]}))
"""


@dataclass(frozen=True)
class Case:
    """A project of a few lines, one edit, and what must come of it."""

    what: str
    must: str
    """``seen``, ``fresh``, or ``said WORDS``: listed among what is not followed."""

    how: str
    """``edit``, ``process`` (another one), ``after the run``, ``loaded MODULES`` before or not."""

    files: dict[str, str]
    edit: tuple[str, str, str] | None


def read(file: Path) -> Case:
    """Return the case in a file."""
    text = file.read_text(encoding="utf-8")
    said = dict(re.findall(r"^# (what|must|how): (.*)$", text, re.MULTILINE))
    files: dict[str, str] = {}
    edit = None
    for head, body in re.findall(r"^=== (.*)\n((?:(?!=== ).*\n?)*)", text, re.MULTILINE):
        if head.startswith("edit "):
            old, new = body.rstrip("\n").split("\n--->\n")
            edit = head.removeprefix("edit "), old, new
        else:
            files[head] = body
    return Case(said["what"], said["must"], said["how"], files, edit)


def write(folder: Path, case: Case, *, edited: bool) -> None:
    """Write the project, before or after its edit."""
    for name, text in case.files.items():
        if edited and case.edit is not None and case.edit[0] == name:
            assert text.count(case.edit[1]) == 1
            text = text.replace(case.edit[1], case.edit[2])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def evaluate(folder: Path, *then: str) -> dict[str, Any]:
    """Return fingerprint and value of ``f`` in a process of its own."""
    command = [sys.executable, "-B", "-c", EVALUATE, str(folder), *then]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    found: dict[str, Any] = json.loads(said.stdout)
    return found


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.case")), ids=lambda file: file.stem)
def test_an_edit_comes_to_what_it_must(file, tmp_path):
    case = read(file)
    folder = tmp_path / "project"
    write(folder, case, edited=False)
    before = evaluate(folder)
    if case.how.startswith("loaded "):
        after = evaluate(folder, *case.how.split()[1:])
    elif case.how == "after the run":
        after = {**before, "digest": before["after"]}
    else:
        write(folder, case, edited=case.edit is not None)
        after = evaluate(folder)
    same = [before[name] == after[name] for name in ("digest", "files")] == [True, True]
    if case.must == "fresh":
        assert same, {
            name: (before["symbols"].get(name), after["symbols"].get(name))
            for name in before["symbols"] | after["symbols"]
            if before["symbols"].get(name) != after["symbols"].get(name)
        }
    elif case.must == "seen":
        assert before["value"] != after["value"]
        assert not same
    else:
        words = case.must.removeprefix("said ")
        assert any(words in line for line in before["opaque"]), before["opaque"]
