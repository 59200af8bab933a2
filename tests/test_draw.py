"""Graphs as pictures: drawn boxes and arrows, and the graph of a flow before anything runs."""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from databacked import (
    LocalDatasetResult,
    LocalResult,
    compact,
    each,
    flatten,
    flow,
    group,
    last_run,
    sweep,
    task,
)
from databacked.errors import DatabackedError, GraphError
from databacked.pictures.boxes import Arrow, Box
from databacked.pictures.drawing import Drawing
from databacked.pictures.layout import LONGEST_TEXT

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLE = Path(__file__).parents[1] / "examples/scratch_assay"


def texts(drawing: Drawing) -> list[str]:
    """Return what stands in a drawing."""
    return [str(one.text) for one in ElementTree.fromstring(drawing.svg).iter(f"{SVG}text")]


def arrows(drawing: Drawing) -> set[tuple[str, str, str]]:
    """Return title, label and title of what each arrow leads from and to; ``~`` marks a dash."""
    title = {box.name: box.title for box in drawing.boxes}
    return {
        (title[one.source], "~" * one.dashed + one.label, title[one.target])
        for one in drawing.arrows
    }


def notes(drawing: Drawing) -> dict[str, tuple[str, ...]]:
    """Return the notes of each box by its title."""
    return {box.title: box.notes for box in drawing.boxes}


# ---------------------------------------------------------------- boxes and arrows


@given(st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_boxes_do_not_overlap_and_arrows_lead_down(pairs):
    """Whatever the graph: inside the picture, layer below layer."""
    drawn = Drawing(
        tuple(Box(str(n), f"box {n}" * (n % 3 + 1), ("×",) * (n % 2)) for n in range(10)),
        tuple(Arrow(str(a), str(b), "a label" * (a % 2)) for a, b in sorted(pairs) if a < b),
    )
    layout = drawn.layout
    place = {one.box.name: one for one in layout.boxes}
    for one, other in combinations(layout.boxes, 2):
        assert (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + one.height < other.y
            or other.y + other.height < one.y
        )
    for box in layout.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= layout.width
        assert box.y + box.height <= layout.height
    for route in layout.routes:
        source, target = place[route.arrow.source], place[route.arrow.target]
        end = route.curves[-1][2]
        assert route.start[1] == source.y + source.height < end[1] == target.y
        assert source.x <= route.start[0] <= source.x + source.width
        assert target.x <= end[0] <= target.x + target.width


def test_a_long_arrow_goes_around_what_lies_between():
    """It passes no box of the layers that it crosses."""
    drawn = Drawing(
        tuple(Box(one, one * 10) for one in "abcd"),
        (*(Arrow(a, b) for a, b in pairwise("abcd")), Arrow("a", "d")),
    )
    between = [one for one in drawn.layout.boxes if one.box.name in "bc"]
    (route,) = [one for one in drawn.layout.routes if one.arrow.source + one.arrow.target == "ad"]
    for box in between:
        for _, _, (x, y) in route.curves:
            if box.y - 9 <= y <= box.y + box.height + 9:
                assert not box.x <= x <= box.x + box.width


def test_arrows_are_untangled():
    """Two that would cross do not."""
    drawn = Drawing(
        tuple(Box(one, one) for one in ("a", "b", "c", "d")), (Arrow("a", "d"), Arrow("b", "c"))
    )
    x = {one.box.name: one.x for one in drawn.layout.boxes}
    assert (x["a"] < x["b"]) == (x["d"] < x["c"])


def test_svg_is_whole_and_escaped():
    """Names are text, also those that XML has no place for; the background is white."""
    drawn = Drawing((Box("a", "<script>", ("a & b", "\x00\ud800")), Box("b", "b")), ())
    assert {"<script>", "a & b", "��"} <= set(texts(drawn))
    assert "<script" not in drawn.svg
    root = ElementTree.fromstring(drawn.svg)
    assert root[0].get("fill") == "#ffffff"
    assert root[0].get("width") == root.get("width")


def test_long_texts_are_cut_in_their_middle():
    """Both ends of a path say most."""
    drawn = Drawing((Box("a", "a", ("place/" + "x" * 200 + ".ome.tiff",)),))
    cut = texts(drawn)[1]
    assert len(cut) == LONGEST_TEXT
    assert cut.startswith("place/x")
    assert cut.endswith("x.ome.tiff")


def test_a_drawing_is_saved_as_its_ending_says(tmp_path):
    """SVG and PNG of one size, always the same bytes; notebooks get the SVG."""
    drawn = Drawing((Box("a", "a", stacked=True), Box("b", "b", style="rest")), (Arrow("a", "b"),))
    assert drawn.save(tmp_path / "a.svg").read_text(encoding="utf-8") == drawn.svg
    assert drawn.save(str(tmp_path / "a.png")).read_bytes() == drawn.png
    assert Drawing(drawn.boxes, drawn.arrows).png == drawn.png
    assert drawn._repr_svg_() == drawn.svg
    data = drawn._repr_html_().partition("base64,")[2].partition('"')[0]
    assert base64.b64decode(data).decode() == drawn.svg
    with Pillow.open(io.BytesIO(drawn.png)) as picture:
        assert abs(picture.width - 2 * drawn.layout.width) <= 2
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert np.asarray(picture).min() < 100
    with pytest.raises(GraphError, match=r"\.svg or \.png was expected, not \.jpg"):
        drawn.save(tmp_path / "a.jpg")
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_drawing_is_one(tmp_path):
    """A flow without tasks."""
    assert ElementTree.fromstring(Drawing(()).svg).tag == f"{SVG}svg"


def test_mistakes_of_a_drawing_are_said():
    """Circles, names that stand twice, arrows from nowhere."""
    box = Box("a", "a")
    with pytest.raises(GraphError, match="circle"):
        _ = Drawing((box, Box("b", "b")), (Arrow("a", "b"), Arrow("b", "a"))).svg
    with pytest.raises(GraphError, match="one name"):
        Drawing((box, box))
    with pytest.raises(GraphError, match="not there"):
        Drawing((box,), (Arrow("a", "b"),))


def test_without_matplotlib_the_svg_is_there(monkeypatch):
    """And the error of the PNG names the cure."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    drawn = Drawing((Box("a", "a"),))
    assert drawn.svg
    with pytest.raises(DatabackedError, match=r"databacked\[plot\]"):
        _ = drawn.png


# ---------------------------------------------------------------- flows


@task
def load(path):
    raise AssertionError("it ran")


@task(result=LocalResult("masks"), target={"mask": "{path}.png", "props": "{path}.json"})
def segment(path, image): ...


@task
def find(image): ...


@task(target="{cell}.json")
def measure(cell, image): ...


@task
def model(table): ...


@task
def report(*, cells=None, about=None): ...


def test_the_graph_of_a_flow_is_drawn(project):
    """A box a call with its number of items and its place, an arrow for what it reads."""

    @flow
    def look(paths):
        images = load.map(paths)
        masks = segment.map(paths, images)
        return report(cells=masks["props"], about=images[0])

    drawn = look.visualize(["a", "b", "c"])
    assert notes(drawn) == {
        "load": ("× 3",),
        "segment": ("× 3", "masks/{path}.png", "masks/{path}.json"),
        "report": (),
    }
    assert arrows(drawn) == {
        ("load", "", "segment"),
        ("segment", "cells['props']", "report"),
        ("load", "about", "report"),
    }
    assert [(box.style, box.stacked) for box in drawn.boxes] == [
        ("passing", True),
        ("kept", True),
        ("passing", False),
    ]


def test_what_becomes_known_while_it_runs_is_dashed(project):
    """Maps of unknown length: flatten, each, group, compact."""

    @flow
    def look(paths, wells):
        images = load.map(paths)
        cells = flatten(find.map(images))
        measured = measure.map(cells, cells.of(images))
        keys, members = group(measured, by=cells.of(wells))
        report.map(cells=members, about=keys)
        model.map(each(model(measured)))
        model.map(compact(images))

    drawn = look.visualize(["a", "b"], ["A1", "A2"])
    assert notes(drawn)["measure"] == ("× ?", "results/{cell}.json")
    assert {
        ("find", "~cell", "measure"),
        ("load", "~image", "measure"),
        ("measure", "~cells", "report"),
        ("measure", "", "model"),
        ("model", "~table", "model"),
        ("load", "~table", "model"),
        ("find", "~by, about", "report"),
    } <= arrows(drawn)
    assert notes(drawn)["report"] == ("× ?",)
    assert "group" not in notes(drawn)


def test_where_things_are_kept_is_said(project):
    """A dataset, a place of its own, the project's, a callable target, and the record alone."""

    @task(result=LocalDatasetResult("lab/cells", readme="README.md"))
    def dataset(x): ...

    @task(target=lambda **kwargs: f"{kwargs['x']}.json")
    def called(x): ...

    @task(keep=True)
    def small(x): ...

    @task(location="always/{x}.json")
    def located(x): ...

    @flow
    def look():
        dataset(small(called(located(1))))

    assert notes(look.visualize()) == {
        "dataset": ("datasets/lab/cells",),
        "called": ("results/…",),
        "small": ("kept in its record",),
        "located": ("results/always/{x}.json",),
    }


def test_equal_calls_are_one_box_and_others_are_not(project):
    """By name and inputs; a long loop over one task is one box with its number of calls."""

    @flow
    def look():
        for _ in range(2):
            report(cells=load("a"), about=[load("b"), load("a")])
        for n in range(20):
            report(cells=model(find(n)))

    drawn = look.visualize()
    titles = [box.title for box in drawn.boxes]
    assert sorted(titles) == ["find", "load", "load", "model", "report", "report"]
    assert sorted(box.notes for box in drawn.boxes) == [(), (), (), *[("20 calls",)] * 3]
    assert ("find", "", "model") in arrows(drawn)
    assert sweep_of_three() == ("× 6",)


def sweep_of_three() -> tuple[str, ...]:
    """Return the notes of a map that is swept."""

    @flow
    def look():
        report.map(cells=[1, 2], about=sweep([1, 2, 3]))

    return look.visualize().boxes[0].notes


def test_the_rest_behind_a_result_is_one_box(project):
    """Even where the flow catches every exception; and nothing was computed for it."""

    @flow
    def look(path):
        image = load(path)
        try:
            number = model(image).result()
        except Exception:
            number = 3
        return report(cells=number)

    drawn = look.visualize("a")
    assert [box.title for box in drawn.boxes] == [
        "load",
        "model",
        "…the rest depends on a .result()",
    ]
    assert drawn.boxes[-1].style == "rest"
    assert arrows(drawn) >= {("model", "~.result()", drawn.boxes[-1].title)}


def test_a_table_is_known_as_far_as_it_holds_parameters(project):
    """Nothing has to run for them; for what became of the items it has to."""

    @flow
    def look(paths, ask):
        images = load.map(paths)
        rows = images.table
        assert rows.path.tolist() == rows["path"].tolist() == paths
        if ask == "all":
            rows = rows[["path", "state"]]
        elif ask:
            return getattr(rows, ask)
        return report(cells=images, about=rows)

    assert [box.title for box in look.visualize(["a", "b"], "").boxes] == ["load", "report"]
    for ask in ("all", "state", "seconds", "path_"):
        titles = [box.title for box in look.visualize(["a", "b"], ask).boxes]
        assert titles == ["load", "…the rest depends on a .result()"]


def test_the_showcase_is_drawn_whole(monkeypatch):
    """Its rows come from the table of a map."""
    source = Path(__file__).parents[1] / "examples/fields/analysis.py"
    text = source.read_text(encoding="utf-8")
    code = text[: text.index("\nanalysis(")]
    named: dict[str, Any] = {"__name__": "analysis", "__file__": str(source)}
    exec(compile(code, str(source), "exec"), named)
    drawn = named["analysis"].visualize([Path("a.tif"), Path("b.tif")])
    assert [box.title for box in drawn.boxes] == ["find", "measure", "compare", "hand_over"]
    assert ("find", "masks", "hand_over") in arrows(drawn)


def test_flows_in_flows_belong_to_it(project):
    """As they do when they run."""

    @flow
    def inner(path):
        return model(load(path))

    @flow
    def outer(path):
        return report(cells=inner(path))

    assert [box.title for box in outer.visualize("a").boxes] == ["load", "model", "report"]


def test_nothing_runs_and_nothing_is_written(project, monkeypatch):
    """No item, no file, no folder, no run: not even in the cache."""
    cache = project / "cache"
    monkeypatch.setenv("DATABACKED_CACHE", str(cache))

    @flow
    def look(paths, images, table):
        return segment.map(paths, load.map(paths)), report(cells=images, about=table)

    @flow(root=project.parent, quiet=True)
    def earlier():
        return None

    earlier()
    before = last_run()
    large = np.zeros((1200, 1200))
    drawn = look.visualize(["a", "b"], large, pd.DataFrame({"a": [1]}))
    _ = drawn.svg, drawn.png
    assert list(project.iterdir()) == []
    assert last_run() is before


def test_mistakes_in_a_flow_are_said_as_when_it_runs(project):
    """Arguments that do not fit; and after that, tasks run as before."""

    @flow
    def look(path):
        return load.map(path)

    with pytest.raises(GraphError, match="missing a required argument"):
        look.visualize()
    with pytest.raises(GraphError, match="nothing to map over"):
        look.visualize("a")

    @task
    def double(x):
        return 2 * x

    assert double(2) == 4


def test_the_example_is_drawn_as_it_is(tmp_path, monkeypatch):
    """All its tasks, with the number of its cells, and no file more."""
    folder = tmp_path / "example"
    ignored = shutil.ignore_patterns("local_staging", "datasets", ".databacked", "__pycache__")
    shutil.copytree(EXAMPLE, folder, ignore=ignored)
    source = (folder / "workflow.py").read_text().partition("\nmade =")[0]
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = {"__name__": "workflow", "__file__": str(folder / "workflow.py")}
    exec(compile(source, names["__file__"], "exec"), names)
    for module in ("normalize", "sheet"):
        sys.modules.pop(module)
    before = sorted(os.walk(folder))
    drawn = names["scratch_assay"].visualize(pd.read_csv(folder / "cells.csv"))  # type: ignore[attr-defined]
    assert sorted(os.walk(folder)) == before
    assert notes(drawn) == {
        "select_cell_data": ("× 533",),
        "normalize_cell": ("× 533", "local_staging/normalized_cells/{cell_id}.ome.tiff"),
        "project_cell": ("× 533", "local_staging/projections/{cell_id}.png"),
        "measure": ("local_staging/analysis/features.csv",),
        "plot": ("local_staging/analysis/features_over_time.png",),
        "make_contact_sheet": ("local_staging/analysis/contact_sheet.png",),
        "create_normalized_cell_dataset": ("datasets/scratch-assay/normalized-cells",),
        "create_projection_dataset": ("datasets/scratch-assay/projections",),
    }
    assert arrows(drawn) == {
        ("select_cell_data", "", "normalize_cell"),
        ("normalize_cell", "", "project_cell"),
        ("normalize_cell", "", "measure"),
        ("normalize_cell", "", "create_normalized_cell_dataset"),
        ("project_cell", "", "create_projection_dataset"),
        ("project_cell", "", "make_contact_sheet"),
        ("measure", "", "plot"),
    }
