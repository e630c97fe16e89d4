"""`h36m report`: runs as one HTML page that needs nothing but itself.

Style, script, pictures and numbers are all in the file, and its content security policy forbids a browser to load or
run anything else. Runs whose protocol or frames differ stand in sections of their own, never in one table or chart.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from collections.abc import Sequence as Items
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from pathlib import Path

import pyarrow as pa

from h36m_toolbox import __version__
from h36m_toolbox.benchmarks.evaluator import TARGET_COLUMN
from h36m_toolbox.benchmarks.manifests import official_manifest
from h36m_toolbox.benchmarks.page.markup import Markup, element, joined
from h36m_toolbox.benchmarks.page.sections import case_key, cases, charts, timeline
from h36m_toolbox.benchmarks.page.tables import (
    TITLES,
    all_means,
    badges,
    group_tables,
    headline_table,
    number,
    protocol_table,
    provenance_table,
)
from h36m_toolbox.benchmarks.pictures.drawing import VIVID
from h36m_toolbox.benchmarks.reports import differences
from h36m_toolbox.benchmarks.runs.scored import ScoredRun, read_scored_run
from h36m_toolbox.errors import H36MError
from h36m_toolbox.labels import read_labels
from h36m_toolbox.storage.files import written_whole

PAGE_NAME = "report.html"
_TILES = ("mpjpe", "p_mpjpe", "mpjve", "pck150", "auc", "mpjpe_median")


def write_html_report(
    folders: Items[Path], data: Path, out: Path | None = None, progress: Callable[[], None] | None = None
) -> Path:
    """Write the page of these runs' folders, whole or not at all, and say where it is.

    `out` None means `report.html` in the folder of a single run. `progress` is called after each run. Raises H36MError
    for several runs without `out`, a run that is named twice, and as `read_scored_run`.
    """
    if out is None:
        if len(folders) > 1:
            raise H36MError(f"{len(folders)} runs in one page: say where it goes with --out FILE.html")
        out = folders[0] / PAGE_NAME
    places = [folder.resolve() for folder in folders]
    twice = next((folder for place, folder in enumerate(places) if folder in places[:place]), None)
    if twice:
        raise H36MError(f"{twice}: named twice; name each run once")

    @cache
    def labels(split: str) -> pa.Table:
        return read_labels(data, split, [TARGET_COLUMN])

    runs = []
    for folder, place in zip(folders, places, strict=True):
        alone = sum(other.name == place.name for other in places) == 1
        runs.append(read_scored_run(folder, data, labels, place.name if alone else str(folder)))
        if progress:
            progress()
    page = html_report(runs, data)
    with written_whole(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def html_report(runs: Items[ScoredRun], data: Path) -> str:
    """The page of some runs; the frames behind the skeletons are those of DATA, where it has them."""
    groups = comparable_groups(runs)
    style, script = _style(), _asset("report.js")
    heading = _heading(runs)
    policy = f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=f"h36m {__version__}"),
        element("link", rel="icon", href="data:,"),
        element("title", heading),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        _header(heading, runs, groups),
        (_group(group, place, len(groups), data) for place, group in enumerate(groups, start=1)),
        _footer(),
        element("script", Markup(script)),
    )
    return "<!DOCTYPE html>\n" + element("html", head, "\n", body, lang="en").text + "\n"


def comparable_groups(runs: Items[ScoredRun]) -> list[list[ScoredRun]]:
    """Runs whose protocol, version and frames agree, group by group, in the order given."""
    groups: list[list[ScoredRun]] = []
    for run in runs:
        fitting = next((group for group in groups if not differences(group[0].report, run.report)), None)
        if fitting is None:
            groups.append([run])
        else:
            fitting.append(run)
    return groups


def _heading(runs: Items[ScoredRun]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs"
    made = runs[0].report.provenance
    return f"{made.model} on {made.detections}" if made.detections else made.model


def _header(heading: str, runs: Items[ScoredRun], groups: Items[Items[ScoredRun]]) -> Markup:
    parts = [element("h1", heading)]
    if len(groups) > 1:
        first = groups[0][0]
        reasons = [
            f"{group[0].name} and {first.name}: {'; '.join(differences(first.report, group[0].report))}"
            for group in groups[1:]
        ]
        words = f"These runs fall into {len(groups)} groups that may not be compared with each other."
        parts.append(_banner(words, reasons))
        links = (
            element("a", f"{place}. {_group_title(group)}", href=f"#group-{place}")
            for place, group in enumerate(groups, start=1)
        )
        parts.append(element("nav", links))
    elif len(runs) == 1:
        parts.append(element("p", f"{runs[0].name}: {_group_title(runs)}", class_="lead"))
    else:
        parts.append(element("p", _group_title(runs), class_="lead"))
    return element("header", parts)


def _group_title(group: Items[ScoredRun]) -> str:
    report = group[0].report
    frames = f"{report.frames_scored:,} frames"
    return f"protocol {report.protocol.name}, version {report.protocol.version}, {frames}"


def _group(group: Items[ScoredRun], place: int, of: int, data: Path) -> Markup:
    first = group[0]
    parts = [element("h2", f"{place}. {_group_title(group)}")] if of > 1 else []
    for run in group:
        if run.report.incomplete:
            parts.append(
                _banner(f"{run.name} is incomplete: its figures do not cover the protocol.", run.report.problems)
            )
        if run.unfinished:
            parts.append(_banner(f"The folder of {run.name} is not sealed as a finished run.", [run.unfinished]))
    if len(group) == 1:
        parts.append(_tiles(first))
    parts += [headline_table(group), element("p", _about(group), class_="note"), charts(group)]
    parts += [element("h2", "Error over time"), timeline(group)]
    parts += [element("h2", "Worst and median frames"), case_key()]
    for run in group:
        if len(group) > 1:
            parts.append(element("h3", run.name, badges(run)))
        parts.append(cases(run, data))
    parts.append(element("h2", "All figures"))
    for run in group:
        if len(group) > 1:
            parts.append(element("h3", run.name, badges(run)))
        parts += [all_means(run), *group_tables(run)]
    parts += [element("h2", "Protocol"), protocol_table(first)]
    parts += [element("h2", "Provenance"), provenance_table(group)]
    return element("section", parts, id=f"group-{place}")


def _about(group: Items[ScoredRun]) -> str:
    """What the headline averages, over which frames."""
    report = group[0].report
    words = f"Means of {report.protocol.mean.value}; medians and percentiles of all frames."
    if len(group) > 1:
        words += " Best of the complete runs in bold."
    official = official_manifest(report.protocol)
    if report.official:
        return f"{words} Exactly the frames that the protocol scores in the real data set."
    if official is None:
        return f"{words} Which frames the authors scored is not published."
    return f"{words} These are not the {official.frames:,} frames that the protocol scores in the real data set."


def _tiles(run: ScoredRun) -> Markup:
    tiles = []
    for name in _TILES:
        title, unit = TITLES[name]
        value = number(getattr(run.report.headline, name))
        tiles.append(element("div", element("b", value), element("small", f"{title}, {unit}"), class_="tile"))
    return element("div", tiles, class_="tiles")


def _banner(words: str, reasons: Items[str]) -> Markup:
    return element(
        "div",
        element("b", words),
        element("ul", (element("li", reason) for reason in reasons)),
        class_="banner",
        role="note",
    )


def _footer() -> Markup:
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    words = (
        f"Made by h36m {__version__} on {when}. Every figure was computed anew from the predictions and agrees "
        "with the run's report.json. The page is complete in itself and loads nothing."
    )
    return joined(
        (element("noscript", element("p", "Without JavaScript the views do not turn.")), element("footer", words))
    )


def _style() -> str:
    colours = "; ".join(f"--{side}: rgb{getattr(VIVID, side)}" for side in ("left", "right", "middle"))
    return f":root {{ {colours}; }}\n{_asset('report.css')}"


def _asset(name: str) -> str:
    return files("h36m_toolbox.benchmarks").joinpath("page").joinpath(name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """How a content security policy names a style or script that stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
