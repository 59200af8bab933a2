"""Boxes and arrows, as they are said; nothing here has a place yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Style: TypeAlias = Literal["kept", "passing", "rest"]


@dataclass(frozen=True)
class Box:
    """One thing of a drawing."""

    name: str
    """What arrows call it; each once."""

    title: str
    """Its first line."""

    notes: tuple[str, ...] = ()
    """Further lines, smaller."""

    style: Style = "passing"
    """``kept`` is filled, ``passing`` is not, ``rest`` has a dashed border."""

    stacked: bool = False
    """Whether it stands for many of its kind."""


@dataclass(frozen=True)
class Arrow:
    """From one box to another."""

    source: str
    target: str
    """Names of the boxes."""

    label: str = ""
    """What stands beside it."""

    dashed: bool = False
