"""Boxes and arrows as a picture: a graph in layers, from top to bottom.

Pure: a `Drawing` in, SVG or PNG out. One layout serves both.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

from databacked.errors import DatabackedError, GraphError

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


@dataclass(frozen=True)
class Colours:
    """How a style looks."""

    fill: str
    line: str
    text: str = "#1f2933"


PALETTE: dict[Style, Colours] = {
    "kept": Colours("#dcebf7", "#2b6ca3"),
    "passing": Colours("#ffffff", "#8a94a0"),
    "rest": Colours("#ffffff", "#8a94a0", "#5b6570"),
}
ARROW, LABEL = "#5b6570", "#5b6570"


@dataclass(frozen=True)
class Drawing:
    """Boxes and arrows; shown by notebooks, and saved as a file."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...] = ()

    def __post_init__(self) -> None:
        names = [box.name for box in self.boxes]
        known = set(names)
        if len(known) < len(names):
            raise GraphError("two boxes have one name.")
        for arrow in self.arrows:
            if not {arrow.source, arrow.target} <= known:
                raise GraphError(f"{arrow} leads from or to a box that is not there.")

    @cached_property
    def layout(self) -> Layout:
        """Where everything lies."""
        return lay_out(self)

    @cached_property
    def svg(self) -> str:
        """The drawing as SVG."""
        return as_svg(self.layout)

    @cached_property
    def png(self) -> bytes:
        """The drawing as PNG, two dots a pixel; needs matplotlib."""
        return as_png(self.layout)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, as the ending says: ``.svg`` or ``.png``."""
        file = Path(path)
        match file.suffix.lower():
            case ".svg":
                file.write_bytes(self.svg.encode("utf-8"))
            case ".png":
                file.write_bytes(self.png)
            case suffix:
                raise GraphError(f"{file}: .svg or .png was expected, not {suffix or 'no ending'}.")
        return file

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{self.svg}</div>'

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.boxes)} boxes; .save('graph.svg') writes it>"


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


def lay_out(drawing: Drawing) -> Layout:
    """Place boxes in layers: every arrow leads down, crossings are few, long arrows go around.

    Raises
    ------
    GraphError
        If the arrows go in a circle.
    """
    boxes = {box.name: box for box in drawing.boxes}
    pairs = list(dict.fromkeys((arrow.source, arrow.target) for arrow in drawing.arrows))
    ranks = ranks_of(list(boxes), pairs)
    # A bend in every layer that an arrow crosses: it gets a place between the boxes there.
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name in boxes:
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
    for arrow in drawing.arrows:
        room[arrow.target] += _slot(arrow)
    sizes = {name: _size(box, room[name]) for name, box in boxes.items()}
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
        for name, box in boxes.items()
    }
    routes = _routes(drawing.arrows, ways, ranks, middles, placed, tops, heights)
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
    return 18.0 + (width_of(_cut(arrow.label, LONGEST_LABEL), SMALL_FONT) if arrow.label else 0.0)


def _size(box: Box, room: float) -> tuple[float, float]:
    lines = [width_of(_cut(box.title), FONT * 1.05)]
    lines += [width_of(_cut(note), SMALL_FONT) for note in box.notes]
    height = LINE + SMALL_LINE * len(box.notes) + 1.4 * PADDING
    return max([*lines, room]) + 2 * PADDING, height


def _cut(text: str, longest: int = LONGEST_TEXT) -> str:
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


def _lines(placed: Placed) -> list[tuple[float, float, str, float, bool]]:
    """Return the lines of a box: middle, baseline, text, size, whether it is the title."""
    x, y = placed.x + placed.width / 2, placed.y + 0.7 * PADDING + 0.72 * LINE
    found = [(x, y, _cut(placed.box.title), FONT, True)]
    for note in placed.box.notes:
        y += SMALL_LINE if len(found) > 1 else SMALL_LINE + 1
        found.append((x, y, _cut(note), SMALL_FONT, False))
    return found


def _sheets(placed: Placed) -> list[tuple[float, float]]:
    """Return the corners of the sheets of a box, the one in front last."""
    behind = (2, 1, 0) if placed.box.stacked else (0,)
    return [(placed.x + n * BEHIND, placed.y + n * BEHIND) for n in behind]


HEAD, HEAD_WIDTH = 7.0, 3.4
"""Length of an arrow's head, and half its width, in pixels."""


def _head(route: Route) -> tuple[Point, Point, Point]:
    """Return the corners of an arrow's head; every arrow arrives from above."""
    x, y = route.curves[-1][2]
    return (x, y), (x - HEAD_WIDTH, y - HEAD), (x + HEAD_WIDTH, y - HEAD)


# ---------------------------------------------------------------- SVG and PNG


def as_svg(layout: Layout) -> str:
    """Return a layout as SVG, on white so that it can be read on a dark page."""
    width, height = _number(layout.width), _number(layout.height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" '
        "font-family=\"'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif\">",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
    ]
    for route in layout.routes:
        way = f"M{_pair(route.start)}" + "".join(
            f"C{' '.join(map(_pair, curve))}" for curve in route.curves
        )
        dash = ' stroke-dasharray="5 4"' if route.arrow.dashed else ""
        parts.append(f'<path d="{way}" fill="none" stroke="{ARROW}" stroke-width="1.2"{dash}/>')
        parts.append(f'<polygon points="{" ".join(map(_pair, _head(route)))}" fill="{ARROW}"/>')
    for placed in layout.boxes:
        colours = PALETTE[placed.box.style]
        dash = ' stroke-dasharray="5 4"' if placed.box.style == "rest" else ""
        for x, y in _sheets(placed):
            parts.append(
                f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(placed.width)}" '
                f'height="{_number(placed.height)}" rx="5" fill="{colours.fill}" '
                f'stroke="{colours.line}" stroke-width="1.2"{dash}/>'
            )
        for x, y, text, size, title in _lines(placed):
            weight = ' font-weight="bold"' if title else ""
            parts.append(
                f'<text x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}"{weight} '
                f'text-anchor="middle" fill="{colours.text}">{_plain(text)}</text>'
            )
    for route in layout.routes:
        if route.arrow.label:
            x, y = route.label_at
            # A white edge: a line that passes behind does not cross the letters.
            parts.append(
                f'<text x="{_number(x)}" y="{_number(y)}" font-size="{_number(SMALL_FONT)}" '
                f'fill="{LABEL}" stroke="#ffffff" stroke-width="3" paint-order="stroke">'
                f"{_plain(_cut(route.arrow.label, LONGEST_LABEL))}</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def as_png(layout: Layout) -> bytes:
    """Return a layout as PNG, two dots a pixel.

    Raises
    ------
    DatabackedError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
        from matplotlib.path import Path as Way
        from matplotlib.patheffects import withStroke
    except ImportError as error:
        raise DatabackedError(
            "A drawing as PNG needs matplotlib: pip install 'databacked[plot]', or take .svg."
        ) from error
    from databacked.figures import drawn

    point = 0.72  # of a pixel, at 100 dots an inch
    figure = Figure(figsize=(layout.width / 100, layout.height / 100), dpi=200, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.axis("off")
    for route in layout.routes:
        points = [route.start, *(one for curve in route.curves for one in curve)]
        codes = [Way.MOVETO, *[Way.CURVE4] * (len(points) - 1)]
        axes.add_patch(
            PathPatch(
                Way(points, codes),
                facecolor="none",
                edgecolor=ARROW,
                linewidth=1.2 * point,
                linestyle=(0, (4, 3)) if route.arrow.dashed else "solid",
            )
        )
        axes.add_patch(Polygon(_head(route), closed=True, facecolor=ARROW, edgecolor="none"))
    for placed in layout.boxes:
        colours = PALETTE[placed.box.style]
        for x, y in _sheets(placed):
            axes.add_patch(
                FancyBboxPatch(
                    (x, y),
                    placed.width,
                    placed.height,
                    boxstyle="round,pad=0,rounding_size=5",
                    facecolor=colours.fill,
                    edgecolor=colours.line,
                    linewidth=1.2 * point,
                    linestyle=(0, (4, 3)) if placed.box.style == "rest" else "solid",
                    zorder=2,
                )
            )
        for x, y, text, size, title in _lines(placed):
            axes.text(
                x,
                y,
                text,
                size=size * point,
                weight="bold" if title else "normal",
                color=colours.text,
                ha="center",
                va="baseline",
                family="DejaVu Sans",
                usetex=False,
                parse_math=False,
                zorder=3,
            )
    for route in layout.routes:
        if route.arrow.label:
            axes.text(
                *route.label_at,
                _cut(route.arrow.label, LONGEST_LABEL),
                size=SMALL_FONT * point,
                color=LABEL,
                va="baseline",
                family="DejaVu Sans",
                usetex=False,
                parse_math=False,
                path_effects=[withStroke(linewidth=3 * point, foreground="white")],
                zorder=4,
            )
    return drawn(figure, ".png")


def _plain(text: str) -> str:
    """Return a text for XML: escaped, without letters that XML has no place for."""
    return escape(re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "�", text))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _pair(point: Point) -> str:
    return f"{_number(point[0])},{_number(point[1])}"
