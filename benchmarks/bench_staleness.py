"""Which edits of code make a kept value stale: databacked and its peers on the same projects.

The cases are those of ``tests/fingerprint/cases.py``: chosen by the authors of databacked, which
was mended until it passed them, so they show what peers leave out and not how good databacked is
on code that nobody here thought of. For each case a function is called and its value kept. A new
process calls it again with nothing edited, and must not run it: what keeps nothing would see every
edit. Then one edit is made, and another process calls it: an edit that changes the value must make
it run, any other must not. Prints a table in Markdown.

    python benchmarks/bench_staleness.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fingerprint.cases import NOT_SEEN, SEEN, Case

Call = Callable[[], Any]


def databacked(function: Any, folder: Path) -> Call:
    """``@task(result=…, target=…)``."""
    from databacked import LocalResult, task
    from databacked.serializers.pickle import ToPickle

    kept = task(result=LocalResult("kept", ToPickle()), target="value.pickle")(function)
    return lambda: kept(3)


def checkpointer(function: Any, folder: Path) -> Call:
    """``@checkpoint``, with globals captured too: what sees most."""
    from checkpointer import Checkpointer

    kept = Checkpointer(directory=folder / "kept", capture=True, verbosity=0)(function)
    return lambda: kept(3)


def joblib(function: Any, folder: Path) -> Call:
    """``@memory.cache``."""
    from joblib import Memory

    kept = Memory(folder / "kept", verbose=0).cache(function)
    return lambda: kept(3)


def pipefunc(function: Any, folder: Path) -> Call:
    """``@pipefunc(cache=True)`` in a pipeline with a cache on disk."""
    from pipefunc import PipeFunc, Pipeline

    pipeline = Pipeline(
        [PipeFunc(function, "value_of_f", cache=True)],
        cache_type="disk",
        cache_kwargs={"cache_dir": folder / "kept", "lru_shared": False},
    )
    name = pipeline["value_of_f"].parameters[0]
    return lambda: pipeline("value_of_f", **{name: 3})


PEERS = {one.__name__: one for one in (databacked, checkpointer, joblib, pipefunc)}


def ran(keep: Callable[[Any, Path], Call], folder: Path) -> str:
    """Return whether ``f`` runs when its kept value is asked for; in a process of its own."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    import main  # type: ignore[import-not-found]

    calls = []

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code is main.f.__code__:
            calls.append(event)

    call = keep(main.f, folder)
    threading.setprofile(watch)
    sys.setprofile(watch)
    call()
    sys.setprofile(None)
    return "ran" if calls else "kept"


def apart(keep: Callable[[Any, Path], Call], folder: Path) -> str:
    """Do it in a fork: nothing of one case is loaded in another.

    The peer too is imported there, in the case's folder: checkpointer takes the folder that is the
    current one at its import for the user's own.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = ran(keep, folder)
        except BaseException as error:
            said = f"error: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said or "error: crashed"


def all_cases(peer: str, folders: list[str], hash_seed: str) -> dict[str, str]:
    """Return what happens in every folder, asked in a new process."""
    done = subprocess.run(
        [sys.executable, __file__, peer],
        input=json.dumps(folders),
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "DATABACKED_QUIET": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(peer: str, cases: list[Case], top: Path) -> list[str]:
    """Return the mark of every case for one peer."""
    folders = [top / peer / str(number) for number in range(len(cases))]
    said = []
    for number, edited in enumerate((False, False, True), start=1):
        for case, folder in zip(cases, folders, strict=True):
            for name, text in case.written(edited=edited).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8")
            (folder / "databacked.toml").touch()
        said.append(all_cases(peer, [str(one) for one in folders], hash_seed=str(number)))
    marks = []
    for case, folder in zip(cases, folders, strict=True):
        first, again, after = (one[str(folder)] for one in said)
        failed = [one for one in (first, again, after) if one.startswith("error")]
        if failed or first != "ran":
            print(f"{peer}: {case.name}: {failed or first}", file=sys.stderr)
            marks.append("error")
        elif again == "ran":
            marks.append("not kept")
        else:
            marks.append("✓" if (after == "ran") is case.seen else "✗")
    return marks


def main() -> None:
    """Print the table, one row a case."""
    cases = [case for case in SEEN + NOT_SEEN if sys.version_info >= case.python]
    with tempfile.TemporaryDirectory() as top:
        marks = {peer: measured(peer, cases, Path(os.path.realpath(top))) for peer in PEERS}
    line = "| {} | " + " | ".join(["{}"] * len(PEERS)) + " |"
    print(line.format("edit", *PEERS))
    print(line.format("---", *["---"] * len(PEERS)))
    for seen, title in ((True, "must be seen"), (False, "must not be seen")):
        rows = [number for number, case in enumerate(cases) if case.seen is seen]
        totals = [f"**{sum(marks[p][n] == '✓' for n in rows)} of {len(rows)}**" for p in PEERS]
        print(line.format(f"**{title}**", *totals))
        for number in rows:
            print(line.format(cases[number].name, *(marks[peer][number] for peer in PEERS)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.dont_write_bytecode = True
        import numpy  # noqa: F401  (once, and not in every fork)

        keep = PEERS[sys.argv[1]]
        print(json.dumps({one: apart(keep, Path(one)) for one in json.load(sys.stdin)}))
    else:
        main()
