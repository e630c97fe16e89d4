"""Who may be ranked with whom: runs of one protocol, version and list of frames; published figures beside them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from collections.abc import Sequence as Items
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from h36m_toolbox.benchmarks.manifests import official_manifest
from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import TEST_PROTOCOLS
from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.reports import FIGURES
from h36m_toolbox.benchmarks.runs.folders import PER_ACTION_NAME, flaw_of, read_report_record, run_folders
from h36m_toolbox.benchmarks.standings.leaderboard import COLUMNS, LEADERBOARD_NAME, LeaderboardRow, read_leaderboard
from h36m_toolbox.benchmarks.standings.published import PublishedFigure, published_figures
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import ACTIONS

SHOWN = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm", "pck150", "auc")
HIGHER_IS_BETTER = ("pck150", "auc")
NO_FOLDER = "no folder"
_SAME = 1e-9  # relative; the row was written from the report
_WHOLE_TEST_SET = "whole"
_Key = tuple[str, int | None, str, str]  # protocol, version, split, frames: equal keys may be ranked together


@dataclass(frozen=True)
class Choice:
    """Which rows to show; "" for all."""

    protocol: str = ""
    model: str = ""
    detections: str = ""
    split: str = ""
    published: bool = False
    per_action: bool = False


@dataclass(frozen=True)
class Entry:
    """One line of a ranking: a run, or a figure that somebody published."""

    place: str  # "1", ..., or why it has none: "incomplete", "unfinished", "altered", "published"
    model: str
    options: str
    detections: str
    figures: tuple[float, ...]  # SHOWN, NaN where not known
    frames: int | None
    run: str  # its folder, or the source of a published figure
    per_action: Mapping[str, float] = field(default_factory=dict)  # MPJPE, mm

    @property
    def counts(self) -> bool:
        """Whether it may be the best of its ranking."""
        return self.place.isdigit() or self.place == "published"


@dataclass(frozen=True)
class Ranking:
    """Entries that may be compared, best first, then those without a place."""

    protocol: str
    version: int | None  # None under the words of a source
    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Leaderboard:
    """All rankings, and what is wrong with runs, in words."""

    rankings: tuple[Ranking, ...]
    remarks: tuple[str, ...]


def leaderboard_of(runs: Path, choice: Choice) -> Leaderboard:
    """The leaderboard of RUNS, held against its run folders.

    A row whose folder is unfinished or altered, or says other figures than the row, has no place; nor has an
    incomplete run. Raises H36MError for a broken file, for words that no row has, and without any file unless
    published figures were asked for.
    """
    path = runs / LEADERBOARD_NAME
    every = [] if choice.published and not path.exists() else read_leaderboard(path)
    rows = _chosen(every, choice)
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter to others
        flaws = dict(zip([row.run for row in rows], pool.map(lambda row: _flaw_of_row(runs, row), rows), strict=True))
    groups: dict[_Key, list[Entry]] = {}
    titles: dict[_Key, str] = {}
    for row in sorted(rows, key=lambda row: (row.protocol, row.protocol_version, row.split, row.manifest_sha256)):
        key: _Key = (row.protocol, row.protocol_version, row.split, _frames_key(row))
        titles.setdefault(key, _title(row))
        actions = _per_action(runs / row.run) if choice.per_action and not flaws[row.run] else {}
        groups.setdefault(key, []).append(_entry(row, flaws[row.run], actions))
    for figure in _chosen_figures(choice) if choice.published else ():
        key = _key_of(figure)
        titles.setdefault(key, _published_title(figure))
        groups.setdefault(key, []).append(_published_entry(figure))
    if not groups and choice.published:
        raise H36MError("no run and no published figure fits this choice; leave one of its options out")
    rankings = tuple(Ranking(key[0], key[1], titles[key], _placed(entries)) for key, entries in groups.items())
    return Leaderboard(rankings, _remarks(runs, every, rows, flaws))


def _chosen(rows: Items[LeaderboardRow], choice: Choice) -> list[LeaderboardRow]:
    found = list(rows)
    for column in ("protocol", "model", "detections", "split"):
        word = getattr(choice, column)
        present = list(dict.fromkeys(getattr(row, column) for row in found))
        if not word:
            continue
        if word not in present and not choice.published:
            said = "was scored under" if column == "protocol" else f"has the {column}"
            raise H36MError(f"no run {said} {word!r}; there are {', '.join(present) or 'no runs at all'}")
        found = [row for row in found if getattr(row, column) == word]
    return found


def _chosen_figures(choice: Choice) -> list[PublishedFigure]:
    return [
        figure
        for figure in published_figures()
        if choice.protocol in ("", figure.scored_as)
        and choice.model.lower() in figure.method.lower().replace(" ", "-")
        and choice.detections in ("", figure.our_detections)
        and choice.split in ("", "test" if figure.scored_as in TEST_PROTOCOLS else "val")
    ]


def _flaw_of_row(runs: Path, row: LeaderboardRow) -> str:
    folder = runs / row.run
    flaw = flaw_of(folder)
    if flaw:
        return flaw
    said = read_report_record(folder)
    for name in FIGURES:
        column = name if name in COLUMNS else f"{name}_mm"
        here, there = getattr(row, column), said["headline"].get(name)
        if not math.isnan(here) and (there is None or not math.isclose(here, there, rel_tol=_SAME)):
            return f"altered: {LEADERBOARD_NAME} has {column} {here}, the run's report {there}"
    facts = {"protocol": said["protocol"]["name"], "frames": said["frames_scored"], "incomplete": said["incomplete"]}
    for column, there in facts.items():
        if getattr(row, column) != there:
            return f"altered: {LEADERBOARD_NAME} has {column} {getattr(row, column)}, the run's report {there}"
    return ""


def _entry(row: LeaderboardRow, flaw: str, per_action: Mapping[str, float]) -> Entry:
    kind = flaw.partition(":")[0]
    state = kind if kind not in ("", NO_FOLDER) else "incomplete" if row.incomplete else ""
    figures = tuple(getattr(row, column) for column in SHOWN)
    return Entry(state, row.model, row.options, row.detections, figures, row.frames, row.run, per_action)


def _published_entry(figure: PublishedFigure) -> Entry:
    figures = (figure.mpjpe_mm, figure.p_mpjpe_mm, math.nan, math.nan, figure.pck150, figure.auc)
    year = " ".join(word for word in (figure.venue, figure.year) if word)
    name = f"{figure.method} ({year})" if year else figure.method
    seen = f"{figure.frames} frames" if figure.frames not in ("", "1") else ""
    return Entry("published", name, seen, figure.our_detections, figures, None, figure.source)


def _placed(entries: Items[Entry]) -> tuple[Entry, ...]:
    """Entries that count by MPJPE, numbered but for published ones, then the others."""
    counting = sorted((entry for entry in entries if entry.place in ("", "published")), key=_by_mpjpe)
    others = sorted((entry for entry in entries if entry.place not in ("", "published")), key=_by_mpjpe)
    found, place = [], 0
    for entry in counting:
        if entry.place == "":
            place += 1
        found.append(replace(entry, place=str(place)) if entry.place == "" else entry)
    return (*found, *others)


def _by_mpjpe(entry: Entry) -> float:
    return math.inf if math.isnan(entry.figures[0]) else entry.figures[0]


def _key_of(figure: PublishedFigure) -> _Key:
    if not figure.scored_as:
        return f"{figure.dataset}: {figure.protocol}", None, "val", "published"
    if figure.scored_as in TEST_PROTOCOLS:
        of_test_set = TEST_PROTOCOLS[figure.scored_as]
        return of_test_set.name, of_test_set.version, "test", _WHOLE_TEST_SET
    protocol = PROTOCOLS[figure.scored_as]
    official = official_manifest(protocol)
    return protocol.name, protocol.version, "val", official.sha256 if official else "published"


def _frames_key(row: LeaderboardRow) -> str:
    """The frames' hash; of MPI-INF-3DHP's whole test set, which has no public list of frames, a word."""
    return _WHOLE_TEST_SET if row.protocol in TEST_PROTOCOLS and row.official else row.manifest_sha256


def _title(row: LeaderboardRow) -> str:
    frames = (
        "the official frames" if row.official else f"{row.frames:,} frames, {row.manifest_sha256[:12] or 'unknown'}"
    )
    return f"{row.protocol}, version {row.protocol_version}, {row.mean} mean, {row.split}, {frames}"


def _published_title(figure: PublishedFigure) -> str:
    if not figure.scored_as:
        return f"published, {figure.dataset}: {figure.protocol}"
    if figure.scored_as in TEST_PROTOCOLS:
        of_test_set = TEST_PROTOCOLS[figure.scored_as]
        mean = of_test_set.mean.removesuffix("s")
        return f"{of_test_set.name}, version {of_test_set.version}, {mean} mean, test, the official frames"
    protocol = PROTOCOLS[figure.scored_as]
    frames = "the official frames" if official_manifest(protocol) else figure.dataset
    return f"{protocol.name}, version {protocol.version}, {protocol.mean.name.lower()} mean, val, {frames}"


def _per_action(folder: Path) -> dict[str, float]:
    path = folder / PER_ACTION_NAME
    if not path.is_file():
        return {}
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    found = {row["action"]: float(row["mpjpe"]) for row in rows}
    return {action: found[action] for action in ACTIONS if action in found}


def _remarks(
    runs: Path, every: Items[LeaderboardRow], rows: Items[LeaderboardRow], flaws: Mapping[str, str]
) -> tuple[str, ...]:
    """Every row that is no evidence, and every folder that has no row."""
    found = [
        f"{row.run}: {flaws[row.run]}" if flaws[row.run] != NO_FOLDER else f"{row.run}: no such folder in {runs}"
        for row in rows
        if flaws[row.run]
    ]
    known = {row.run for row in every}
    for folder in run_folders(runs):
        if folder.name not in known:
            why = flaw_of(folder) or f"finished, but has no row in {LEADERBOARD_NAME}"
            found.append(f"{folder.name}: {why}")
    return tuple(found)
