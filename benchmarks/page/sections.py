"""The parts of a report's page that show one group of comparable runs: charts, errors over time, single frames."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence as Items
from pathlib import Path

import numpy as np

from h36m_toolbox.benchmarks.page.cases import SCENE_PX, Case, Scene3D, picture, scene
from h36m_toolbox.benchmarks.page.charts import Axis, Bars, Line, axis_to, bar_chart, legend, line_chart, time_chart
from h36m_toolbox.benchmarks.page.markup import Markup, element, joined
from h36m_toolbox.benchmarks.page.tables import number
from h36m_toolbox.benchmarks.pictures.scenes import recording_name
from h36m_toolbox.benchmarks.reports import GroupRow, JointRow
from h36m_toolbox.benchmarks.runs.scored import ErrorsInTime, ScoredRun
from h36m_toolbox.sequences import Sequence

_STEPS = 60  # of a distribution
_TURNING = "Drag to turn; click, then the wheel zooms; double click to go back; arrow keys, +, - and 0 do the same."


def charts(runs: Items[ScoredRun]) -> Markup:
    """Errors by action and joint, the PCK curve and the distribution of errors, all runs in each."""
    figures = (
        ("Error per action", _bars("Error per action", runs, [run.report.per_action for run in runs])),
        ("Error per joint", _bars("Error per joint", runs, [run.report.per_joint for run in runs])),
        ("Joints within a distance (PCK)", _pck(runs)),
        ("Distribution of the frames' errors", _distribution(runs)),
    )
    return element(
        "div", (element("figure", element("figcaption", title), chart) for title, chart in figures), class_="pair"
    )


def timeline(runs: Items[ScoredRun]) -> Markup:
    """The error over time of one sequence, which the reader chooses; at first the one with the largest error."""
    by_run = [{item.sequence: item for item in run.in_time} for run in runs]
    common = [sequence for sequence in by_run[0] if all(sequence in items for items in by_run)]
    start = max(common, key=lambda sequence: by_run[0][sequence].average)
    shown = [items[start] for items in by_run]
    lines = [(item.mean.tolist(), item.worst.tolist()) for item in shown]
    chart = time_chart("Error over time of the chosen sequence", lines, shown[0].frames.tolist())
    record = {
        "runs": [run.name for run in runs],
        "sequences": [_timeline_record([items[sequence] for items in by_run]) for sequence in common],
    }
    options = (
        element("option", f"{_place(sequence)}: {by_run[0][sequence].average:.1f} mm", selected=sequence == start)
        for sequence in common
    )
    controls = element(
        "div",
        element("label", "Sequence ", element("select", options)),
        element("button", "Previous", type="button", data_step=-1),
        element("button", "Next", type="button", data_step=1),
        class_="controls",
    )
    names = [(run.name, place) for place, run in enumerate(runs)] if len(runs) > 1 else []
    return element(
        "section",
        controls,
        legend(names),
        chart,
        element("output", aria_live="polite"),
        element("p", "Thick: mean of neighbouring frames. Thin: the worst of them.", class_="note"),
        data_block(record),
        class_="timeline",
    )


def data_block(record: object) -> Markup:
    """JSON for the page's script. `<` is written so that no text in it can end the block."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return element("script", Markup(text), type="application/json")


def cases(run: ScoredRun, data: Path) -> Markup:
    """A run's worst frames, then those of median error, each in its picture and to be turned in 3D."""
    parts = []
    for worst, title in ((True, "Worst frames"), (False, "Frames of median error")):
        cards = (_card(case, data) for case in run.cases if case.worst is worst)
        parts += [element("h4", title), element("div", cards, class_="cases")]
    return joined(parts)


def case_key() -> Markup:
    """What the lines in the pictures and the 3D views mean."""
    rows = (("truth", "middle", "truth"), ("predicted", "middle", "prediction"))
    sides = (("predicted", "left", "left"), ("predicted", "right", "right"))
    items = [
        element(
            "li",
            element(
                "svg",
                element("line", x1=5, x2=29, y1=7, y2=7, class_=f"{kind} {side}"),
                width=34,
                height=14,
                aria_hidden="true",
            ),
            words,
        )
        for kind, side, words in (*rows, *sides)
    ]
    return joined((element("ul", items, class_="key"), element("p", "3D views: " + _TURNING, class_="note")))


def _bars(title: str, runs: Items[ScoredRun], rows: Items[Items[GroupRow] | Items[JointRow]]) -> Markup:
    pairs = [[_errors(row) for row in of_run] for of_run in rows]
    names = [_name(row) for row in rows[0]]
    bars = [
        Bars(run.name, tuple(outer for outer, _ in of_run), tuple(inner for _, inner in of_run))
        for run, of_run in zip(runs, pairs, strict=True)
    ]
    return bar_chart(title, names, bars, "MPJPE", "P-MPJPE")


def _name(row: GroupRow | JointRow) -> str:
    return row.joint if isinstance(row, JointRow) else row.name


def _errors(row: GroupRow | JointRow) -> tuple[float, float]:
    of = row if isinstance(row, JointRow) else row.figures
    return of.mpjpe, of.p_mpjpe


def _pck(runs: Items[ScoredRun]) -> Markup:
    lines = []
    for run in runs:
        points = run.report.pck
        lines.append(
            Line(
                f"{_before(run, runs)}AUC {number(run.report.headline.auc)} %",
                tuple(point.threshold_mm for point in points),
                tuple(point.percent for point in points),
                tuple(f"{run.name}: {p.percent:.2f} % of joints within {p.threshold_mm:g} mm" for p in points),
            )
        )
    return line_chart("PCK", lines, Axis("distance, mm", 150, 25), Axis("joints within it, %", 100, 20))


def _distribution(runs: Items[ScoredRun]) -> Markup:
    far = max(float(np.percentile(run.errors, 99.5)) for run in runs)
    x = axis_to("MPJPE of a frame, mm", far, 7)
    edges = np.linspace(0, x.top, _STEPS + 1)
    lines, beyond = [], []
    for run in runs:
        percent = 100 * np.histogram(run.errors, edges)[0] / len(run.errors)
        figures = run.report.headline
        marks = tuple(
            (value, f"{run.name}: {words} {value:.2f} mm")
            for value, words in ((figures.mpjpe_median, "median"), (figures.mpjpe_p90, "90th percentile"))
            if math.isfinite(value) and value <= x.top
        )
        along, up = np.repeat(edges, 2)[1:-1], np.repeat(percent, 2)
        words = (
            f"{_before(run, runs)}median {number(figures.mpjpe_median)}, 90th percentile {number(figures.mpjpe_p90)} mm"
        )
        lines.append(Line(words, tuple(along.tolist()), tuple(up.tolist()), marks=marks))
        beyond.append(float((run.errors > x.top).mean() * 100))
    y = axis_to("frames, %", max(max(line.y) for line in lines))
    note = f"Steps of {x.top / _STEPS:.3g} mm. Dashed: median and 90th percentile."
    if max(beyond) > 0:
        note += f" Beyond the right edge: {', '.join(f'{share:.2f} %' for share in beyond)} of the frames."
    return joined((line_chart("Distribution of errors", lines, x, y), element("p", note, class_="note")))


def _before(run: ScoredRun, runs: Items[ScoredRun]) -> str:
    """What a legend begins with: nothing where there is one run only."""
    return f"{run.name}: " if len(runs) > 1 else ""


def _place(sequence: Sequence) -> str:
    return f"{recording_name(sequence.recording)}, camera {sequence.camera}"


def _timeline_record(items: Items[ErrorsInTime]) -> dict[str, object]:
    """For the page's script: errors in tenths of a millimetre."""
    return {
        "frames": items[0].frames.tolist(),
        "runs": [
            {name: np.rint(10 * values).astype(int).tolist() for name, values in (("mean", i.mean), ("worst", i.worst))}
            for i in items
        ],
    }


def _card(case: Case, data: Path) -> Markup:
    place = f"{_place(case.sequence)}, frame {case.frame}"
    jpeg, has_frame = picture(case, data)
    aligned = "" if math.isnan(case.aligned_mm) else f", P-MPJPE {case.aligned_mm:.1f} mm"
    joint = f"{case.worst_joint} {case.joint_errors_mm.max():.1f} mm"
    source = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    return element(
        "article",
        element("h3", place),
        element("p", f"MPJPE {case.error_mm:.1f} mm{aligned}; farthest joint: {joint}", class_="note"),
        element(
            "div",
            element("img", src=source, alt=f"{place}: the prediction over the truth"),
            _orbit(scene(case), f"{place}, in 3D"),
            class_="views",
        ),
        None if has_frame else element("p", "DATA does not have this frame: poses alone.", class_="note"),
        class_="case",
    )


def _orbit(shown: Scene3D, title: str) -> Markup:
    """The 3D view as it is before anybody turns it, with all that the page's script needs to turn it."""
    view = shown.view
    look, stand = view.rotation[2].tolist(), view.center.tolist()
    height = stand[2] + look[2] * math.hypot(*stand[:2]) / math.hypot(*look[:2])  # where it looks above the origin
    poses = (("truth", shown.target), ("predicted", shown.predicted))
    record = {
        "size": SCENE_PX,
        "azimuth": round(math.atan2(look[1], look[0]), 5),
        "elevation": round(-math.asin(look[2]), 5),
        "height": round(height, 2),
        "distance": round(math.dist(stand, (0, 0, height)), 2),
        "focal": round(float(view.focal[0]), 2),
        "floor": np.rint(shown.floor).astype(int).tolist(),
        "bones": shown.bones,
        "poses": [{"kind": kind, "points": np.rint(points).astype(int).tolist()} for kind, points in poses],
    }
    lines = [("floor", shown.floor)]
    for kind, points in poses:
        lines += [(f"{kind} {side}", points[[parent, child]][None]) for parent, child, side in shown.bones]
    shapes = []
    for kind, ends in lines:
        for (x1, y1), (x2, y2) in view.project_linear(view.world_to_camera(ends)).tolist():
            shapes.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind))
    return element(
        "svg",
        element("title", f"{title}. {_TURNING}"),
        element("g", shapes),
        viewBox=f"0 0 {SCENE_PX} {SCENE_PX}",
        class_="orbit",
        tabindex=0,
        role="img",
        aria_label=title,
        data_scene=json.dumps(record, separators=(",", ":")),
    )
