"""A graph in layers, from top to bottom: where its boxes stand, and how its arrows run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from databacked.errors import GraphError
from databacked.pictures.boxes import Arrow, Box

HEAD, HEAD_WIDTH = 7.0, 3.4
"""Length of an arrow's head, and half its width, in pixels."""

Point: TypeAlias = tuple[float, float]


FONT, SMALL_FONT = 13.0, 11.0
"""Sizes of a box's title, and of everything else, in pixels."""


LINE, SMALL_LINE = 19.0, 15.0
"""Heights of a line of each."""


PADDING = 10.0
"""Between a box's border and its text."""


LONGEST_TEXT, LONGEST_LABEL = 52, 24
"""Letters of a line in a box, and beside an arrow, at most."""


BESIDE, BELOW = 28.0, 52.0
"""Pixels between boxes of one layer, and between layers."""


MARGIN = 16.0
"""Pixels around everything."""


BEHIND = 4.0
"""Pixels by which the sheets of a stack stand apart."""


SWEEPS = 12
"""How often the layers are gone through to untangle and straighten the arrows."""


# ---------------------------------------------------------------- where things lie


@dataclass(frozen=True)
class Placed:
    """A box with its place, in pixels from the upper left corner."""

    box: Box
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Route:
    """An arrow with its way: cubic Bézier curves, each one starting where the last one ended."""

    arrow: Arrow
    start: Point
    curves: tuple[tuple[Point, Point, Point], ...]
    """Two control points and the end of each."""

    label_at: Point


@dataclass(frozen=True)
class Layout:
    """A drawing whose boxes and arrows have places."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    routes: tuple[Route, ...]


def lay_out(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> Layout:
    """Place boxes in layers: every arrow leads down, crossings are few, long arrows go around.

    Raises
    ------
    GraphError
        If the arrows go in a circle.
    """
    named = {box.name: box for box in boxes}
    pairs = list(dict.fromkeys((arrow.source, arrow.target) for arrow in arrows))
    ranks = ranks_of(list(named), pairs)
    # A bend in every layer that an arrow crosses: it gets a place between the named there.
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name in named:
        layers[ranks[name]].append(name)
    links: list[tuple[str, str]] = []
    ways: dict[tuple[str, str], list[str]] = {}
    for source, target in pairs:
        way = [source]
        for rank in range(ranks[source] + 1, ranks[target]):
            bend = f"\0{source}\0{target}\0{rank}"
            layers[rank].append(bend)
            way.append(bend)
        way.append(target)
        links += pairwise(way)
        ways[source, target] = way
    above, below = _neighbours(links)
    _untangle(layers, above, below)
    room: defaultdict[str, float] = defaultdict(float)
    for arrow in arrows:
        room[arrow.target] += _slot(arrow)
    sizes = {name: _size(box, room[name]) for name, box in named.items()}
    widths = {name: sizes[name][0] if name in sizes else 0.0 for row in layers for name in row}
    middles = _straighten(layers, widths, above, below)
    left = min((middles[name] - widths[name] / 2 for name in middles), default=0.0) - MARGIN
    middles = {name: middle - left for name, middle in middles.items()}
    tops: list[float] = []
    heights: list[float] = []
    y = MARGIN
    for row in layers:
        tops.append(y)
        heights.append(max((sizes[name][1] for name in row if name in sizes), default=0.0))
        y += heights[-1] + BELOW
    placed = {
        name: Placed(box, middles[name] - sizes[name][0] / 2, tops[ranks[name]], *sizes[name])
        for name, box in named.items()
    }
    routes = _routes(arrows, ways, ranks, middles, placed, tops, heights)
    right = max(
        [one.x + one.width + (2 * BEHIND if one.box.stacked else 0) for one in placed.values()]
        + [middle for middle in middles.values()]
        + [route.label_at[0] + _slot(route.arrow) for route in routes],
        default=0.0,
    )
    height = max((one.y + one.height for one in placed.values()), default=0.0)
    return Layout(right + MARGIN, height + 2 * BEHIND + MARGIN, tuple(placed.values()), routes)


def ranks_of(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the layer of each box: the longest way to it, and a source right above its readers."""
    before: dict[str, list[str]] = {name: [] for name in names}
    after: dict[str, list[str]] = {name: [] for name in names}
    for source, target in pairs:
        before[target].append(source)
        after[source].append(target)
    ranks: dict[str, int] = {}
    waiting = {name: len(before[name]) for name in names}
    ready = [name for name in names if not waiting[name]]
    for name in ready:  # it grows
        ranks[name] = max((ranks[one] + 1 for one in before[name]), default=0)
        for one in after[name]:
            waiting[one] -= 1
            if not waiting[one]:
                ready.append(one)
    if len(ranks) < len(names):
        raise GraphError("the arrows of a drawing go in a circle.")
    for name in names:
        if not before[name] and after[name]:
            ranks[name] = min(ranks[one] for one in after[name]) - 1
    return ranks


def width_of(text: str, size: float) -> float:
    """Return about how wide a text is, in pixels: rather too much than too little."""
    narrow, wide = "iljtfr.,:;'|!()[]{} ", "mwMW…×@%"
    return size * sum(0.37 if one in narrow else 0.95 if one in wide else 0.64 for one in text)


def _slot(arrow: Arrow) -> float:
    """Return how much of a box's upper side an arrow takes, its label beside it."""
    return 18.0 + (width_of(cut(arrow.label, LONGEST_LABEL), SMALL_FONT) if arrow.label else 0.0)


def _size(box: Box, room: float) -> tuple[float, float]:
    lines = [width_of(cut(box.title), FONT * 1.05)]
    lines += [width_of(cut(note), SMALL_FONT) for note in box.notes]
    height = LINE + SMALL_LINE * len(box.notes) + 1.4 * PADDING
    return max([*lines, room]) + 2 * PADDING, height


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text of one line: its middle is left out, as both ends of a path say most."""
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[len(text) - (longest - head - 1) :]}"


def _neighbours(
    links: Iterable[tuple[str, str]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: defaultdict[str, list[str]] = defaultdict(list)
    below: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in links:
        above[target].append(source)
        below[source].append(target)
    return above, below


def _untangle(
    layers: list[list[str]], above: dict[str, list[str]], below: dict[str, list[str]]
) -> None:
    """Order each layer by the mean place of its neighbours, down and up again; keep the best."""
    best, fewest = [list(row) for row in layers], _crossings(layers, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in layers if down else reversed(layers):
            place = {name: n for one in layers for n, name in enumerate(one)}
            sides = above if down else below
            row.sort(
                key=lambda name, place=place, sides=sides: (  # type: ignore[misc]
                    sum(place[one] for one in sides[name]) / len(sides[name])
                    if sides.get(name)
                    else place[name]
                )
            )
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in layers], crossings
    layers[:] = best


def _crossings(layers: Sequence[Sequence[str]], below: dict[str, list[str]]) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        place = {name: n for n, name in enumerate(lower)}
        ends = [(n, place[one]) for n, name in enumerate(upper) for one in below.get(name, ())]
        count += sum(
            (a - c) * (b - d) < 0 for i, (a, b) in enumerate(ends) for c, d in ends[i + 1 :]
        )
    return count


def _straighten(
    layers: Sequence[Sequence[str]],
    widths: dict[str, float],
    above: dict[str, list[str]],
    below: dict[str, list[str]],
) -> dict[str, float]:
    """Return the middle of each box: as near to its neighbours as the order in its layer allows."""
    middles: dict[str, float] = {}
    for row in layers:
        x = -(sum(widths[name] + BESIDE for name in row)) / 2
        for name in row:
            middles[name] = x + widths[name] / 2
            x += widths[name] + BESIDE
    for sweep in range(2 * SWEEPS):
        sides = above if sweep % 2 == 0 else below
        for row in layers if sweep % 2 == 0 else list(reversed(layers)):
            wished = [
                sum(middles[one] for one in sides[name]) / len(sides[name])
                if sides.get(name)
                else middles[name]
                for name in row
            ]
            for name, middle in zip(row, _apart(row, wished, widths), strict=True):
                middles[name] = middle
    return middles


def _apart(row: Sequence[str], wished: Sequence[float], widths: dict[str, float]) -> list[float]:
    """Return places near the wished ones, in order and without overlap (least squares)."""
    # Wishes less the room up to each box must not fall: blocks where they would are merged.
    room, needed = [0.0], 0.0
    for one, other in pairwise(row):
        needed += (widths[one] + widths[other]) / 2 + BESIDE
        room.append(needed)
    blocks: list[tuple[float, int]] = []
    for wish, offset in zip(wished, room, strict=True):
        blocks.append((wish - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    places = [mean for mean, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(places, room, strict=True)]


def _routes(
    arrows: Sequence[Arrow],
    ways: dict[tuple[str, str], list[str]],
    ranks: dict[str, int],
    middles: dict[str, float],
    placed: dict[str, Placed],
    tops: Sequence[float],
    heights: Sequence[float],
) -> tuple[Route, ...]:
    leaving: defaultdict[str, list[Arrow]] = defaultdict(list)
    arriving: defaultdict[str, list[Arrow]] = defaultdict(list)
    for arrow in arrows:
        leaving[arrow.source].append(arrow)
        arriving[arrow.target].append(arrow)
    for several in leaving.values():
        several.sort(key=lambda arrow: middles[ways[arrow.source, arrow.target][1]])
    for several in arriving.values():
        several.sort(key=lambda arrow: middles[ways[arrow.source, arrow.target][-2]])
    routes = []
    for arrow in arrows:
        way = ways[arrow.source, arrow.target]
        source, target = placed[arrow.source], placed[arrow.target]
        behind = 2 * BEHIND if source.box.stacked else 0.0
        start = (
            _departure(source, leaving[arrow.source], arrow),
            source.y + source.height + behind,
        )
        end = (_arrival(target, arriving[arrow.target], arrow), target.y)
        stops: list[Point] = [start]
        first = ranks[arrow.source]
        for number, bend in enumerate(way[1:-1], start=first + 1):
            stops.append((middles[bend], tops[number] - BELOW * 0.1))
            stops.append((middles[bend], tops[number] + heights[number] + BELOW * 0.1))
        stops.append(end)
        curves = []
        for (x0, y0), (x1, y1) in pairwise(stops):
            pull = (y1 - y0) / 2
            curves.append(((x0, y0 + pull), (x1, y1 - pull), (x1, y1)))
        # Beside the head: there the arrows of one box stand apart, and upright.
        routes.append(Route(arrow, start, tuple(curves), (end[0] + 6, end[1] - HEAD - 3)))
    return tuple(routes)


def _departure(placed: Placed, arrows: Sequence[Arrow], arrow: Arrow) -> float:
    """Return where along a box's lower side an arrow begins."""
    share = (arrows.index(arrow) + 1) / (len(arrows) + 1)
    return placed.x + placed.width * share


def _arrival(placed: Placed, arrows: Sequence[Arrow], arrow: Arrow) -> float:
    """Return where along a box's upper side an arrow ends, with room for its label on the right."""
    slots = [_slot(one) for one in arrows]
    number = arrows.index(arrow)
    left = placed.x + (placed.width - sum(slots)) / 2 + sum(slots[:number])
    return left + (9.0 if arrow.label else slots[number] / 2)


def lines_of(placed: Placed) -> list[tuple[float, float, str, float, bool]]:
    """Return the lines of a box: middle, baseline, text, size, whether it is the title."""
    x, y = placed.x + placed.width / 2, placed.y + 0.7 * PADDING + 0.72 * LINE
    found = [(x, y, cut(placed.box.title), FONT, True)]
    for note in placed.box.notes:
        y += SMALL_LINE if len(found) > 1 else SMALL_LINE + 1
        found.append((x, y, cut(note), SMALL_FONT, False))
    return found
