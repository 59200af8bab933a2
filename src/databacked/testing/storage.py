"""What every storage has to pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from databacked.errors import StorageError
from databacked.project.folders import STATE
from databacked.storage.base import Storage
from databacked.storage.looks import Stat

# ---------------------------------------------------------------- storage


def check_storage(
    make: Callable[[], Storage],
    scratch: Path,
    read: Callable[[str], bytes] | None = None,
    *,
    conditional: bool = True,
) -> None:
    """Raise AssertionError unless a storage keeps its contract.

    Looks agree whether few or many are asked for; what is published is there as a whole; nothing
    is replaced, moved or taken away but what was judged; of two writers one wins.

    Parameters
    ----------
    make
        Returns the storage of one place, which is empty; called several times, as processes would.
    scratch
        An empty local folder for temporary files; for a local storage on the same disk.
    read
        Returns the bytes at a target, or at what `Storage.move_aside` returned, by another way than
        the storage's own `read`, where there is one.
    conditional
        False where the system can only look and then replace: of two writers that replace the same
        file at once both may think that they won.

    Raises
    ------
    AssertionError
        With a sentence that says what is not kept.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from databacked.storage.local import LocalStorage
    >>> with TemporaryDirectory() as folder:
    ...     place, scratch = Path(folder, "place"), Path(folder, "scratch")
    ...     check_storage(
    ...         lambda: LocalStorage(place), scratch, lambda name: (place / name).read_bytes()
    ...     )
    """
    scratch.mkdir(parents=True, exist_ok=True)
    for check in (
        _nothing_is_there,
        _looks_agree,
        _names_of_all_kinds,
        _what_is_there_can_be_read,
        _what_was_judged_is_replaced,
        _what_was_not_judged_stays,
        _what_is_moved_aside_is_kept,
        _only_what_was_judged_is_withdrawn,
        _one_of_two_writers_wins,
    ):
        check(_Place(make, scratch / check.__name__, read or make().read, conditional))


class _Place:
    """A storage, and how the checks write to it and read from it."""

    def __init__(
        self,
        make: Callable[[], Storage],
        scratch: Path,
        read: Callable[[str], bytes],
        conditional: bool,
    ) -> None:
        scratch.mkdir()
        self.conditional = conditional
        self.make, self.storage, self.read = make, make(), read
        self._scratch, self._count = scratch, 0

    def temporary(self, data: bytes | None = None) -> str:
        """Return the name of a temporary file, with some bytes in it or not yet there."""
        self._count += 1
        path = self._scratch / f"{self._count}.tmp"
        if data is not None:
            path.write_bytes(data)
        return str(path)

    def publish(self, target: str, data: bytes) -> Stat:
        """Make bytes visible at a target, whatever is there, and return how they look."""
        judged = self.storage.stat(target)
        done = self.storage.publish(self.temporary(data), target, judged)
        assert done is True, f"{target}: not published, though what was judged lies there"
        self.holds(target, data)
        stat = self.storage.stat(target)
        assert stat is not None, f"{target}: published, and not there"
        assert stat != judged, f"{target}: looks as it did before it was replaced"
        return stat

    def holds(self, target: str, data: bytes) -> None:
        """Check which bytes lie at a target."""
        try:
            found = self.read(target)
        except Exception as error:
            raise AssertionError(f"{target} cannot be read: {error!r}") from error
        assert found == data, f"{target} holds {found!r}; {data!r} was expected"

    def looks(self, targets: Sequence[str], expected: Mapping[str, Stat | None]) -> None:
        """Check that a look at few, a look at many and single looks agree."""
        there = {target: stat for target, stat in expected.items() if stat is not None}
        asked = [target for target in targets if target in there]
        few, many = [*asked[:2], "no/such", "none"], [*targets, *targets]
        for name, ask in (("few", few), ("many", many)):
            found = self.make().find(iter(ask))
            known = {target: there[target] for target in ask if target in there}
            assert found == known, (
                f"a look at {name} targets differs from single ones: {_difference(found, known)}"
            )


def _difference(found: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    for target in sorted({*found, *known}):
        if found.get(target) != known.get(target):
            return f"{target!r} is {found.get(target)}, not {known.get(target)}"
    return "nothing"


def _nothing_is_there(place: _Place) -> None:
    targets = [f"missing/deep/{n}.txt" for n in range(40)]
    odd = ["n" * 5000, "missing.txt"]
    for target in targets[:2] + odd:
        try:
            found = place.storage.stat(target)
        except Exception as error:
            raise AssertionError(f"a look at what is missing raised {error!r}") from error
        assert found is None, f"{target[:40]!r} is missing, and looks as {found}"
    place.looks(targets, {})
    assert place.storage.find([]) == {}, "a look at nothing found something"
    assert isinstance(place.storage.ignores_case(), bool), "ignores_case() is no yes or no"


def _looks_agree(place: _Place) -> None:
    targets = [f"{folder}{n}.txt" for folder in ("", "in/", "in/deep/er/") for n in range(40)]
    stats: dict[str, Stat | None] = {}
    for number, target in enumerate(targets):
        if number % 3:
            data = b"x" * number
            stats[target] = place.publish(target, data)
            size = stats[target].size  # type: ignore[union-attr]
            assert size == number, f"{target} has {number} bytes, and looks like {size}"
    place.looks(targets, stats)
    below = [f"1.txt/{n}.txt" for n in range(40)]  # below a file there is nothing
    place.looks(below, {})
    for target, stat in stats.items():
        assert place.make().stat(target) == stat, f"{target} looks different for another process"


def _names_of_all_kinds(place: _Place) -> None:
    names = ["a b", "a+b", "50%", "%20", "a#b", "a?b", "a&b=c", "é", "e\u0301x", "細胞", "😀", "-x"]
    targets = [f"of all kinds/{name}.ome.tiff" for name in names]
    stats: dict[str, Stat | None] = {
        target: place.publish(target, target.encode()) for target in targets
    }
    place.looks([*targets, *(f"of all kinds/{n}" for n in range(40))], stats)
    for target in targets:
        place.holds(target, target.encode())


def _what_is_there_can_be_read(place: _Place) -> None:
    place.publish("read/a.bin", b"\0\xff" * 1000)
    assert place.storage.read("read/a.bin") == b"\0\xff" * 1000, "read() gives other bytes"
    assert place.make().read("read/a.bin") == b"\0\xff" * 1000, "another process reads others"
    try:
        place.storage.read("read/none.bin")
    except OSError:
        pass
    else:
        raise AssertionError("what is missing can be read")


def _what_was_judged_is_replaced(place: _Place) -> None:
    target = "judged/a.txt"
    place.publish(target, b"first")
    place.publish(target, b"the second one")
    place.publish(target, b"third")


def _what_was_not_judged_stays(place: _Place) -> None:
    target = "stays/a.txt"
    old = place.publish(target, b"old")
    new = place.publish(target, b"newer")
    gone = Stat(3, 12345)
    for judged, what in ((None, "nothing"), (old, "an older file"), (gone, "another file")):
        temporary = place.temporary(b"mine is longer")
        done = place.storage.publish(temporary, target, judged)
        place.holds(target, b"newer")
        assert done is False, f"judged was {what}, something else lies there: it said published"
        assert place.storage.stat(target) == new, "what was not to be replaced looks different now"
        with suppress(FileNotFoundError):
            if Path(temporary).read_bytes() == b"mine is longer":
                continue
        raise AssertionError("what was not published is lost")
    temporary = place.temporary(b"mine")
    done = place.storage.publish(temporary, "stays/b.txt", old)
    assert done is False, "a file was judged, nothing lies there: it said published"
    assert place.storage.stat("stays/b.txt") is None, "published where something else was judged"


def _what_is_moved_aside_is_kept(place: _Place) -> None:
    target = "aside/deep/a.txt"
    kept: dict[str, bytes] = {}
    for number in range(3):
        data = b"x" * (number + 1)
        place.publish(target, data)
        where = place.storage.move_aside(target, "run-1")
        assert f"{STATE}/replaced/run-1/" in where.replace(os.sep, "/"), (
            f"moved to {where}; a place in {STATE}/replaced/run-1/ was expected"
        )
        assert place.storage.stat(target) is None, "what was moved aside is still there"
        assert where not in kept, f"two files were moved to {where}"
        kept[where] = data
    place.publish(target, b"of another run")
    kept[place.storage.move_aside(target, "run-2")] = b"of another run"
    for where, data in kept.items():
        place.holds(where, data)
    try:
        place.storage.move_aside(target, "run-3")
    except StorageError:
        return
    raise AssertionError("nothing was there to be moved aside, and no StorageError said so")


def _only_what_was_judged_is_withdrawn(place: _Place) -> None:
    target = "withdrawn/a.txt"
    old = place.publish(target, b"old")
    new = place.publish(target, b"newer")
    done = place.storage.withdraw(target, old, place.temporary())
    place.holds(target, b"newer")
    assert done is False, "something else was judged: it said withdrawn"
    assert place.storage.withdraw(target, new, place.temporary()) is True, "not withdrawn"
    assert place.storage.stat(target) is None, "withdrawn, and still there"
    done = place.storage.withdraw(target, new, place.temporary())
    assert done is False, "nothing lies there any more: it said withdrawn"


def _one_of_two_writers_wins(place: _Place) -> None:
    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            target = f"race/{number // (2 if place.conditional else 1)}.txt"
            judged = place.storage.stat(target)
            data = [b"x" * (2 * number + 1), b"y" * (2 * number + 2)]
            ready = [(place.make(), place.temporary(one)) for one in data]
            done = list(
                pool.map(lambda one: one[0].publish(one[1], target, judged), ready)  # noqa: B023
            )
            assert sorted(done) == [False, True], f"of two writers at once {sum(done)} won"
            place.holds(target, data[done.index(True)])
