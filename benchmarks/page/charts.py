"""Charts as inline SVG: bars, curves and the frame of the chart over time. No chart needs a script or a font.

Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), which colour-blind readers tell apart; lines differ in
their dashes too, so that a page printed in black can be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Items
from dataclasses import dataclass

from h36m_toolbox.benchmarks.page.markup import Markup, element, joined

_Attributes = dict[str, str | float | None]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 2 2 2 2 2")
_QUARTERS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)  # of the chart over time, as the page's script has them
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 16, 14, 46
_BAR, _ROW_GAP, _LABEL = 11, 9, 132


@dataclass(frozen=True)
class Bars:
    """One run's bars: `outer` pale and wide, `inner` dark and narrow within it; NaN draws none."""

    name: str
    outer: tuple[float, ...]
    inner: tuple[float, ...]


@dataclass(frozen=True)
class Line:
    """One curve, with what each of its points says when pointed at and marks across it at some x."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    hints: tuple[str, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Axis:
    """From 0 to `top`, a tick every `step`."""

    title: str
    top: float
    step: float

    @property
    def ticks(self) -> list[float]:
        """Where the grid lines are."""
        return [self.step * number for number in range(math.floor(self.top / self.step + 1e-6) + 1)]


def colour(place: int) -> str:
    """The colour of the run at a place of the page."""
    return COLOURS[place % len(COLOURS)]


def dash(place: int) -> str | None:
    """The dashes of the run at a place of the page; None for a whole line."""
    return DASHES[place % len(DASHES)] or None


def axis_to(title: str, largest: float, ticks: int = 5) -> Axis:
    """An axis from 0 that holds `largest`, with about so many ticks at round numbers."""
    largest = largest if math.isfinite(largest) and largest > 0 else 1.0
    step = _rounded_up(largest / ticks, (1, 2, 2.5, 5, 10))
    return Axis(title, step * max(1, math.ceil(largest / step - 1e-9)), step)


def bar_chart(title: str, rows: Items[str], runs: Items[Bars], outer: str, inner: str, unit: str = "mm") -> Markup:
    """One row a name, in it one bar a run; `outer` and `inner` say what the two widths of a bar are."""
    width = 520
    values = [value for run in runs for value in (*run.outer, *run.inner) if math.isfinite(value)]
    axis = axis_to("", max(values, default=1.0))
    row_height = len(runs) * _BAR + _ROW_GAP
    height = len(rows) * row_height + 8
    scale = (width - _LABEL - 52) / axis.top
    shapes = [
        element("line", x1=_LABEL + tick * scale, x2=_LABEL + tick * scale, y1=0, y2=height, class_="grid")
        for tick in axis.ticks
    ]
    shapes += [
        element("text", f"{tick:g}", x=_LABEL + tick * scale, y=height + 14, text_anchor="middle", class_="tick")
        for tick in axis.ticks
    ]
    for number, row in enumerate(rows):
        top = number * row_height + _ROW_GAP / 2
        middle = top + len(runs) * _BAR / 2 + 4
        shapes.append(element("text", row, x=_LABEL - 8, y=middle, text_anchor="end", class_="name"))
        for place, run in enumerate(runs):
            shapes.append(_bar(run, number, row, (outer, inner), place, top + place * _BAR, scale, unit))
    shapes.append(element("text", unit, x=width - 4, y=height + 14, text_anchor="end", class_="tick"))
    chart = _svg(width, height + 20, f"{title}: {outer} and {inner}, {unit}", shapes)
    key = [(run.name, place) for place, run in enumerate(runs)] if len(runs) > 1 else []
    both = any(math.isfinite(value) for run in runs for value in run.inner)
    words = f"Wide bars: {outer}. Narrow bars within them: {inner}." if both else f"Bars: {outer}."
    return joined((legend(key), chart, element("p", words, class_="note")))


def line_chart(title: str, lines: Items[Line], x: Axis, y: Axis, legend_: bool = True) -> Markup:
    """Curves over a common grid."""
    width, height = 520, 300
    plot = _Plot(width, height, x, y)
    shapes = plot.grid()
    for place, line in enumerate(lines):
        points = " ".join(f"{plot.x(a):.1f},{plot.y(b):.1f}" for a, b in zip(line.x, line.y, strict=True))
        style = {"stroke": colour(place), "stroke_dasharray": dash(place)}
        shapes.append(element("polyline", points=points, class_="curve", **style))
        for at, words in line.marks:
            mark = element("line", element("title", words), x1=plot.x(at), x2=plot.x(at), y1=_TOP, y2=height - _BOTTOM)
            shapes.append(element("g", mark, stroke=colour(place), class_="mark"))
        for a, b, hint in zip(line.x, line.y, line.hints, strict=bool(line.hints)):
            shapes.append(element("circle", element("title", hint), cx=plot.x(a), cy=plot.y(b), r=6, class_="hint"))
    key = [(line.name, place) for place, line in enumerate(lines)] if legend_ else []
    return joined((legend(key), _svg(width, height, title, shapes)))


def legend(names: Items[tuple[str, int]]) -> Markup:
    """Names with a piece of line in their colour and dashes; nothing for no names."""
    if not names:
        return Markup("")
    items = (
        element(
            "li",
            element(
                "svg",
                element("line", x1=0, x2=26, y1=6, y2=6, stroke=colour(place), stroke_dasharray=dash(place)),
                width=26,
                height=12,
                aria_hidden="true",
            ),
            name,
        )
        for name, place in names
    )
    return element("ul", items, class_="legend")


def time_chart(title: str, lines: Items[tuple[Items[float], Items[float]]], frames: Items[int]) -> Markup:
    """Mean and worst error of bins of frames, one pair of curves a run. The page's script redraws it.

    `frames` are frame numbers of the bins. Four steps up and along, whose numbers alone differ between sequences.
    """
    width, height = 1060, 300
    top = 4 * _rounded_up(max(max(worst) for _, worst in lines) / 4, _QUARTERS)
    plot = _Plot(width, height, Axis("frame (50 a second)", 4, 1), Axis("error, mm", 4, 1))
    shapes = plot.grid(labels=False)
    for tick in range(5):
        label: _Attributes = {
            "x": _LEFT - 8,
            "y": plot.y(tick) + 4,
            "text_anchor": "end",
            "class_": "tick",
            "data_y": tick,
        }
        shapes.append(element("text", f"{top * tick / 4:g}", **label))
        label = {"x": plot.x(tick), "y": height - _BOTTOM + 16, "text_anchor": "middle", "class_": "tick"}
        bin_ = min(tick * len(frames) // 4, len(frames) - 1)
        shapes.append(element("text", str(frames[bin_]), data_x=tick, **label))
    for place, (mean, worst) in enumerate(lines):
        for kind, values in (("worst", worst), ("mean", mean)):
            points = " ".join(
                f"{plot.x(4 * at):.1f},{plot.y(4 * value / top):.1f}"
                for at, value in zip(_middles(len(values)), values, strict=True)
            )
            style = {"stroke": colour(place), "stroke_dasharray": dash(place)}
            shapes.append(element("polyline", points=points, class_=f"curve {kind}", data_run=place, **style))
    shapes.append(element("line", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=height - _BOTTOM, class_="cursor", data_cursor=True))
    box = f"{_LEFT} {_TOP} {width - _RIGHT - _LEFT} {height - _BOTTOM - _TOP}"
    return _svg(width, height, title, shapes, data_box=box)


def _rounded_up(number: float, factors: tuple[float, ...]) -> float:
    """The next number that is one of `factors` times a power of ten."""
    number = max(number, 0.01)
    size = 10.0 ** math.floor(math.log10(number))
    return next(size * factor for factor in factors if size * factor >= number * (1 - 1e-9))


def _middles(count: int) -> list[float]:
    """Where `count` bins stand between the left (0) and the right (1) edge."""
    return [(number + 0.5) / count for number in range(count)]


@dataclass(frozen=True)
class _Plot:
    """Where numbers of two axes lie in a picture, px."""

    width: int
    height: int
    x_axis: Axis
    y_axis: Axis

    def x(self, value: float) -> float:
        return _LEFT + value / self.x_axis.top * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return self.height - _BOTTOM - value / self.y_axis.top * (self.height - _TOP - _BOTTOM)

    def grid(self, labels: bool = True) -> list[Markup]:
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        shapes = [
            element("line", x1=_LEFT, x2=right, y1=self.y(tick), y2=self.y(tick), class_="grid")
            for tick in self.y_axis.ticks
        ]
        shapes.append(element("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="base"))
        if labels:
            shapes += [
                element("text", f"{t:g}", x=_LEFT - 8, y=self.y(t) + 4, text_anchor="end", class_="tick")
                for t in self.y_axis.ticks
            ]
            shapes += [
                element("text", f"{t:g}", x=self.x(t), y=bottom + 16, text_anchor="middle", class_="tick")
                for t in self.x_axis.ticks
            ]
        middle = (_LEFT + right) / 2
        shapes.append(
            element("text", self.x_axis.title, x=middle, y=self.height - 8, text_anchor="middle", class_="axis")
        )
        turned = f"rotate(-90 13 {(_TOP + bottom) / 2:g})"
        place: _Attributes = {"x": 13, "y": (_TOP + bottom) / 2, "text_anchor": "middle", "class_": "axis"}
        return [*shapes, element("text", self.y_axis.title, transform=turned, **place)]


def _bar(
    run: Bars, row: int, name: str, kinds: tuple[str, str], place: int, top: float, scale: float, unit: str
) -> Markup:
    outer, inner = run.outer[row], run.inner[row]
    words = [f"{run.name}, {name}"]
    shapes = []
    for kind, value, thick, class_ in ((kinds[0], outer, _BAR - 1, "outer"), (kinds[1], inner, 4, "inner")):
        if math.isfinite(value):
            words.append(f"{kind} {value:.2f} {unit}")
            place_y = top + (_BAR - 1 - thick) / 2
            bar: _Attributes = {"x": _LABEL, "y": place_y, "width": value * scale, "height": thick}
            shapes.append(element("rect", fill=colour(place), class_=class_, **bar))
    if math.isfinite(outer):
        end = _LABEL + max(outer, inner if math.isfinite(inner) else 0) * scale
        shapes.append(element("text", f"{outer:.1f}", x=end + 5, y=top + _BAR - 2, class_="value"))
    return element("g", element("title", ": ".join((words[0], ", ".join(words[1:])))), shapes)


def _svg(width: int, height: int, title: str, shapes: Items[Markup], **attributes: str) -> Markup:
    return element(
        "svg",
        element("title", title),
        shapes,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=title,
        class_="chart",
        **attributes,
    )
