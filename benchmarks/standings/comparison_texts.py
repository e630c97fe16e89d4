"""Comparisons in words and tables: what can be concluded, and what cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence as Items
from dataclasses import asdict

from h36m_toolbox.benchmarks.reports import markdown_table, null_for_nan
from h36m_toolbox.benchmarks.standings.comparison import Comparison, Difference

_LEAST_P = 0.0001  # smaller ones are beyond what a few recordings can tell


def conclusion(found: Comparison) -> str:
    """What a comparison allows to say, in plain sentences."""
    row = found.mpjpe
    return " ".join((_finding(found, row), _limits(found, row)))


def comparisons_as_markdown(comparisons: Items[Comparison]) -> str:
    """Each comparison: what can be concluded, then headline, actions and joints."""
    return "\n".join(_as_markdown(found) for found in comparisons)


def comparisons_as_json(comparisons: Items[Comparison]) -> str:
    """A list with everything, the conclusion included; null for what is not known."""
    records = [
        {**asdict(found), "per_subject": dict(found.per_subject), "conclusion": conclusion(found)}
        for found in comparisons
    ]
    return json.dumps(null_for_nan(records), indent=2, allow_nan=False)


def _finding(found: Comparison, row: Difference) -> str:
    if row.difference_mm == row.low_mm == row.high_mm == 0:
        return f"{found.second} and {found.first} have the same mean error in every recording."
    lower = "lower" if row.difference_mm < 0 else "higher"
    size = f"{abs(row.difference_mm):.2f} mm {lower} than that of {found.first}"
    ends = f"{_signed(row.low_mm)} to {_signed(row.high_mm)} mm"
    p = _p(row.p_value) if row.p_value < _LEAST_P else f"= {_p(row.p_value)}"
    told = f"The MPJPE of {found.second} is {size} ({100 * found.confidence:.4g} % interval {ends}, p {p})."
    if row.low_mm <= 0 <= row.high_mm:
        return f"{told} No difference can be concluded: the interval holds 0."
    return f"{told} That is more than which recordings were taken can explain."


def _limits(found: Comparison, row: Difference) -> str:
    subjects = ", ".join(f"{name} {_signed(change)} mm" for name, change in found.per_subject)
    count = len(found.per_subject)
    people = f"{count} subject{'s' if count > 1 else ''}"
    return (
        f"Drawn were {row.recordings} recordings, each with all its frames and views, within their actions. They are "
        f"of {people} only ({subjects}): nothing here says how the two compare on other people, "
        "nor how much another training run of either would change."
    )


def _as_markdown(found: Comparison) -> str:
    headline = [_cells(row, title) for row, title in ((found.mpjpe, "MPJPE"), (found.p_mpjpe, "P-MPJPE")) if row]
    titles = ("first, mm", "second, mm", "difference", f"{100 * found.confidence:.4g} % interval", "p")
    several = (*titles, "p, adjusted", "recordings")
    parts = [
        f"# {found.second} against {found.first}",
        conclusion(found),
        "**INCOMPLETE**: the runs do not cover the protocol." if found.incomplete else "",
        f"{found.protocol}, version {found.version}, {found.mean} mean, {found.mpjpe.frames:,} frames, sha256 "
        f"{found.manifest_sha256}; {found.resamples:,} draws. Differences are second minus first, mm.",
        markdown_table(("", *titles), headline),
        markdown_table(("action", *several), [_cells(row, row.name, several=True) for row in found.per_action]),
        markdown_table(("joint", *several), [_cells(row, row.name, several=True) for row in found.per_joint]),
        "p, adjusted: by Holm, for asking about all actions or all joints at once. Intervals have Student's t "
        "for their few recordings; those of an action are wide for that reason.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(row: Difference, title: str, several: bool = False) -> tuple[str, ...]:
    known = not math.isnan(row.low_mm)
    chance = f"{_signed(row.low_mm)} to {_signed(row.high_mm)}" if known else "-"
    cells = (title, f"{row.first_mm:.2f}", f"{row.second_mm:.2f}", _signed(row.difference_mm), chance, _p(row.p_value))
    return (*cells, _p(row.adjusted_p), str(row.recordings)) if several else cells


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" if value >= _LEAST_P else f"< {_LEAST_P:.4f}"
