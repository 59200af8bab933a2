"""Pictures for people: a contact sheet and a plot."""

import numpy as np

COLUMNS = 20
GAP = 2


def contact_sheet(pictures, rows_by):
    """Return one picture of many: a row a group, the first `COLUMNS` of each."""
    groups = sorted(set(rows_by))
    height, width = pictures[0].shape[:2]
    shape = (len(groups) * (height + GAP) + GAP, COLUMNS * (width + GAP) + GAP, 3)
    sheet = np.full(shape, 24, np.uint8)
    for row, group in enumerate(groups):
        members = [p for p, g in zip(pictures, rows_by, strict=True) if g == group]
        for column, picture in enumerate(members[:COLUMNS]):
            top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def plot_over_time(table):
    """Return a plot of two features over time as an RGB picture."""
    # Imported here: matplotlib takes longer to start than all that is reused takes to be found.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=120, layout="constrained")
    labels = {"nucleus_area": "nuclear area (pixels)", "brightness": "mean H3342 (0 to 1)"}
    for axes, (column, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        groups = table.groupby("time_point")[column]
        axes.fill_between(
            groups.mean().index,
            groups.quantile(0.25),
            groups.quantile(0.75),
            alpha=0.25,
            linewidth=0,
        )
        axes.plot(groups.median().index, groups.median(), marker="o")
        axes.set(xlabel="time point", ylabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
