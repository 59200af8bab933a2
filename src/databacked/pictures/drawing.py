"""Boxes and arrows as a picture: a graph in layers, from top to bottom.

Pure: a `Drawing` in, SVG or PNG out. One layout serves both.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from databacked.errors import GraphError
from databacked.pictures.boxes import Arrow, Box
from databacked.pictures.layout import Layout, lay_out
from databacked.pictures.paint import as_png, as_svg


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
        return lay_out(self.boxes, self.arrows)

    @cached_property
    def svg(self) -> str:
        """The drawing as SVG."""
        return as_svg(self.layout)

    @cached_property
    def png(self) -> bytes:
        """The drawing as PNG, two dots a pixel; needs matplotlib."""
        return as_png(self.layout)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, as the ending says.

        Parameters
        ----------
        path
            A file that ends in ``.svg`` or ``.png``.

        Returns
        -------
        The file.

        Raises
        ------
        GraphError
            If it ends in something else.
        """
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
        # As an image: of a notebook that nobody trusts yet an SVG itself is taken away.
        data = base64.b64encode(self.svg.encode("utf-8")).decode("ascii")
        return f'<img src="data:image/svg+xml;base64,{data}" style="max-width:100%">'

    def __repr__(self) -> str:
        return f"<Drawing of {len(self.boxes)} boxes; .save('graph.svg') writes it>"
