"""The tables of a report's page: figures of runs side by side, what a run was made from, every switch of a protocol."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence as Items
from dataclasses import asdict

from h36m_toolbox.benchmarks.page.markup import Markup, element, joined, table
from h36m_toolbox.benchmarks.reports import FIGURES, Figures, GroupRow
from h36m_toolbox.benchmarks.runs.scored import ScoredRun
from h36m_toolbox.benchmarks.switches import Mean

# Title and unit of every figure; those in percent are better when they are higher.
TITLES = {
    "mpjpe": ("MPJPE", "mm"),
    "p_mpjpe": ("P-MPJPE", "mm"),
    "n_mpjpe": ("N-MPJPE", "mm"),
    "mpjve": ("MPJVE", "mm/frame"),
    "pck150": ("PCK@150", "%"),
    "auc": ("AUC", "%"),
    "pa_mpjpe_rigid": ("PA, no scale", "mm"),
    "acceleration": ("Acceleration", "mm/frame²"),
    "auc_trapezoid": ("AUC, trapezoid", "%"),
    "bone_length": ("Bone length", "mm"),
    "symmetry": ("Symmetry", "mm"),
    "mpjpe_median": ("MPJPE median", "mm"),
    "mpjpe_p90": ("MPJPE 90th pct.", "mm"),
    "p_mpjpe_median": ("P-MPJPE median", "mm"),
    "p_mpjpe_p90": ("P-MPJPE 90th pct.", "mm"),
}
_HEADLINE = ("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve", "pck150", "auc", "mpjpe_median", "mpjpe_p90")
_GROUPS = {
    "per_action": "Per action",
    "per_subaction": "Per trial",
    "per_subject": "Per subject",
    "per_camera": "Per camera",
    "per_sequence": "Per sequence",
}


def number(value: float) -> str:
    """Two decimals; a dash for what is not defined."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def badges(run: ScoredRun) -> Markup:
    """What must be seen wherever a run's name stands: that it is incomplete, that its folder is unfinished."""
    words = [*(["INCOMPLETE"] if run.report.incomplete else []), *(["UNFINISHED"] if run.unfinished else [])]
    return joined(element("span", word, class_="badge") for word in words)


def headline_table(runs: Items[ScoredRun]) -> Markup:
    """Comparable runs side by side, the best of each figure bold; an incomplete run is marked and never the best."""
    rows = []
    for run in runs:
        made, report = run.report.provenance, run.report
        cells = [_cell(runs, run, name) for name in _HEADLINE]
        title = joined((run.name, badges(run)))
        rows.append((title, made.model, made.detections or "images", f"{report.frames_scored:,}", *cells))
    return table(("run", "model", "input", "frames", *_heads(_HEADLINE)), rows)


def all_means(run: ScoredRun) -> Markup:
    """Every figure of one run under the protocol's mean, the other mean, and without the damaged recordings."""
    report = run.report
    other = Mean.FRAME if report.protocol.mean is Mean.ACTION else Mean.ACTION
    columns = [(f"headline: mean of {report.protocol.mean.value}", report.headline)]
    columns.append((f"mean of {other.value}", report.other_mean))
    if report.without_damaged is not None:
        columns.append(("headline without the damaged S9 recordings", report.without_damaged))
    rows = [
        (f"{title}, {unit}", *(number(getattr(figures, name)) for _, figures in columns))
        for name, (title, unit) in TITLES.items()
    ]
    return table(("figure", *(words for words, _ in columns)), rows)


def group_tables(run: ScoredRun) -> list[Markup]:
    """A run's figures by action, trial, subject, camera, joint and sequence, each folded up."""
    *folded, sequences = [_folded(title, _group_table(getattr(run.report, name))) for name, title in _GROUPS.items()]
    joints = table(
        ("joint", *(_head(name) for name in ("mpjpe", "mpjpe_median", "mpjpe_p90"))),
        [
            (row.joint, number(row.mpjpe), number(row.mpjpe_median), number(row.mpjpe_p90))
            for row in run.report.per_joint
        ],
    )
    aligned = table(
        ("joint", *(_head(name) for name in ("p_mpjpe", "p_mpjpe_median", "p_mpjpe_p90"))),
        [
            (row.joint, number(row.p_mpjpe), number(row.p_mpjpe_median), number(row.p_mpjpe_p90))
            for row in run.report.per_joint
        ],
    )
    return [*folded, _folded("Per joint", joined((joints, aligned))), sequences]


def protocol_table(run: ScoredRun) -> Markup:
    """Every switch of the protocol that a run was scored under."""
    described = run.report.protocol.describe()
    return table(("switch", "value"), [(name.replace("_", " "), words) for name, words in described.items()], "words")


def provenance_table(runs: Items[ScoredRun]) -> Markup:
    """What runs were made from, one column a run."""
    columns = []
    for run in runs:
        report = run.report
        made = {key: value for key, value in asdict(report.provenance).items() if key not in ("seconds", "protocol")}
        made["options"] = ", ".join(f"{name}={value}" for name, value in made["options"].items()) or "none"
        made["parameters"] = "unknown" if made["parameters"] is None else f"{made['parameters']:,}"
        made["poses_per_s"] = f"{made['poses_per_s']:,.0f}"
        for name in ("images_per_s", "peak_memory_mb"):
            made[name] = "unknown" if made[name] is None else f"{made[name]:,.0f}"
        waiting = made["waiting_share"]
        made["waiting_share"] = "unknown" if waiting is None else f"{100 * waiting:.0f} %"
        columns.append(
            {
                **made,
                "predictions_sha256": report.predictions_sha256,
                "frames": f"{report.manifest.name}, {report.manifest.frames:,} of {report.frames_expected:,} labelled",
                "frames_sha256": report.frames_sha256,
                "frames_ignored": f"{report.frames_ignored:,}",
                "frames_skipped": f"{report.frames_skipped:,}",
                "official_frames": "yes, exactly these" if report.official else "no",
                **_environment(run),
            }
        )
    rows = [(name.replace("_", " "), *(_value(name, column[name]) for column in columns)) for name in columns[0]]
    return table(("", *(run.name for run in runs)), rows, "words")


def _environment(run: ScoredRun) -> dict[str, str]:
    made = run.environment
    if made is None:
        return dict.fromkeys(("git_commit", "platform", "libraries", "arguments"), "not recorded")
    return {
        "git_commit": made.git_commit or "an installed h36m",
        "platform": made.platform,
        "libraries": ", ".join(f"{name} {version}" for name, version in made.libraries.items()),
        "arguments": shlex.join(made.arguments) or "none: a program called the library",
    }


def _value(name: str, value: object) -> Markup | str:
    return element("code", str(value)) if name.endswith(("sha256", "fingerprint")) else str(value)


def _cell(runs: Items[ScoredRun], run: ScoredRun, name: str) -> Markup | str:
    value = getattr(run.report.headline, name)
    ranked = [getattr(other.report.headline, name) for other in runs if not other.report.incomplete]
    ranked = [value for value in ranked if not math.isnan(value)]
    best = (max if TITLES[name][1] == "%" else min)(ranked, default=math.nan)
    is_best = len(ranked) > 1 and not run.report.incomplete and value == best
    return element("b", number(value)) if is_best else number(value)


def _group_table(rows: Items[GroupRow]) -> Markup:
    cells = ((row.name, f"{row.frames:,}", *_numbers(row.figures)) for row in rows)
    return table(("", "frames", *_heads(FIGURES)), cells)


def _numbers(figures: Figures) -> list[str]:
    return [number(getattr(figures, name)) for name in FIGURES]


def _heads(names: Items[str]) -> list[Markup]:
    return [_head(name) for name in names]


def _head(name: str) -> Markup:
    title, unit = TITLES[name]
    words = (joined((element("span", word), " ")) for word in title.split())
    return joined((*words, element("br"), element("small", unit)))


def _folded(title: str, inside: Markup) -> Markup:
    return element("details", element("summary", title), inside)
