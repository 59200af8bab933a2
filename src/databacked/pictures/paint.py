"""A layout as a picture: SVG or PNG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from databacked.errors import DatabackedError
from databacked.pictures.boxes import Style
from databacked.pictures.layout import (
    BEHIND,
    HEAD,
    HEAD_WIDTH,
    LONGEST_LABEL,
    SMALL_FONT,
    Layout,
    Placed,
    Point,
    Route,
    cut,
    lines_of,
)


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


def _sheets(placed: Placed) -> list[tuple[float, float]]:
    """Return the corners of the sheets of a box, the one in front last."""
    behind = (2, 1, 0) if placed.box.stacked else (0,)
    return [(placed.x + n * BEHIND, placed.y + n * BEHIND) for n in behind]


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
        for x, y, text, size, title in lines_of(placed):
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
                f"{_plain(cut(route.arrow.label, LONGEST_LABEL))}</text>"
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
    from databacked.pictures.figures import drawn

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
        for x, y, text, size, title in lines_of(placed):
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
                cut(route.arrow.label, LONGEST_LABEL),
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
