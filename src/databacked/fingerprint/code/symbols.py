"""What is reached, in the order in which it is met; and what of it is said."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from databacked.fingerprint.hashes import hash_texts

MARK = "\x00"
"""Stands around the number of a symbol in a token: its name is put in at the end."""

SHOWN = 80
"""Characters of a constant, or of a call, that a reason shows."""

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types of values that are nothing but themselves."""

_WORTH_SHOWING = frozenset({*PLAIN, tuple, list, dict, set, frozenset, range})

_MARKED = re.compile(f"{MARK}(\\d+){MARK}")

_NUMBER = re.compile(r"#\d+$")
"""What tells apart symbols of one name."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 120
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = _repr.maxfrozenset = 24


@dataclass
class Symbol:
    """Something of the project that is reached."""

    name: str
    """File, and name in it."""

    parts: list[str] = field(default_factory=list)
    """What it counts by; numbers of other symbols stand between marks."""

    shown: str = ""
    """A constant as a short text."""

    home: Symbol | None = None
    """Of an object that a constant holds: what it was met in, and is told with."""

    @property
    def at(self) -> str:
        """The name without what tells apart symbols of one name."""
        return _NUMBER.sub("", self.name)

    def add(self, what: str, token: str) -> None:
        """Have a token count, with what it is the token of."""
        self.parts.append(f"{what}{token}")


class Symbols:
    """All that was met so far, and what could not be followed."""

    def __init__(self) -> None:
        self.all: list[Symbol] = []
        self.unfollowed: dict[str, None] = {}
        self._counts: dict[str, int] = {}

    def new(self, name: str) -> tuple[Symbol, str]:
        """Return a new symbol, and what stands for it in the parts of others."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        symbol = Symbol(name if count == 1 else f"{name}#{count}")
        self.all.append(symbol)
        return symbol, f"{MARK}{len(self.all) - 1}{MARK}"

    def inner(self, symbol: Symbol) -> tuple[Symbol, str]:
        """Return a new symbol of what another one holds, and what stands for it."""
        home = symbol.home or symbol
        self.all.append(Symbol(f"in {home.name}", home=home))
        return self.all[-1], f"{MARK}{len(self.all) - 1}{MARK}"

    def say(self, symbol: Symbol, text: str) -> None:
        """Note what a symbol reaches and is not followed; the same words once."""
        self.unfollowed.setdefault(f"{(symbol.home or symbol).at}: {text}")

    def name_of(self, token: str) -> str:
        """Return the name of the symbol that a token stands for, if it stands for one."""
        found = _MARKED.fullmatch(token)
        return token if found is None else self.all[int(found[1])].name

    def digests(self) -> dict[str, str]:
        """Return the digest of each symbol by its name, with all that it holds."""
        names = [one.name for one in self.all]
        digests = [_hash(one, names) for one in self.all]
        inner: dict[str, list[str]] = {}
        for one, digest in zip(self.all, digests, strict=True):
            if one.home is not None:
                inner.setdefault(one.home.name, []).append(digest)
        return {
            one.name: hash_texts([digest, *inner[one.name]]) if one.name in inner else digest
            for one, digest in zip(self.all, digests, strict=True)
            if one.home is None
        }

    def nameless(self) -> list[str]:
        """Return the digests in the order in which symbols are met, whatever they are called."""
        numbers = [f"#{number}" for number in range(len(self.all))]
        return [_hash(one, numbers) for one in self.all]


def _hash(symbol: Symbol, names: Sequence[str]) -> str:
    return hash_texts(
        [_MARKED.sub(lambda found: names[int(found[1])], part) for part in symbol.parts]
    )


def short(value: Any) -> str:
    """Return a constant as a reason shows it; "" for what has code of its own to say so."""
    if type(value) not in _WORTH_SHOWING:
        return ""
    return cut(" ".join(_repr.repr(value).split()))


def cut(text: str) -> str:
    """Return a text that is not too long to be shown."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
