"""What an evaluation says: figures per action, joint, subject and sequence, and every switch behind them."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

import numpy as np

from h36m_toolbox.benchmarks.predictions import Provenance
from h36m_toolbox.benchmarks.protocols import Mean, Protocol


@dataclass(frozen=True)
class Figures:
    """Means over some poses; NaN where a figure is not defined (velocity of single frames, no alignment)."""

    mpjpe: float  # mm
    p_mpjpe: float  # mm, after the protocol's alignment
    n_mpjpe: float  # mm, after the best scaling
    mpjve: float  # mm per step between scored frames
    pck150: float  # percent of joints within 150 mm
    auc: float  # percent, mean PCK at 0, 5, ..., 150 mm


FIGURES = tuple(field.name for field in fields(Figures))
_TITLES = ("MPJPE", "P-MPJPE", "N-MPJPE", "MPJVE", "PCK@150", "AUC")


@dataclass(frozen=True)
class GroupRow:
    """Figures of the poses that share a `name`: an action, a subject or a sequence."""

    name: str
    frames: int
    figures: Figures


@dataclass(frozen=True)
class JointRow:
    """Mean error of one joint before and after the protocol's alignment, mm."""

    joint: str
    mpjpe: float
    p_mpjpe: float


@dataclass(frozen=True)
class Report:
    """One predictions file scored under one protocol: `headline` has its mean, `other_mean` the other one."""

    protocol: Protocol
    provenance: Provenance
    predictions_sha256: str
    frames_scored: int
    frames_expected: int  # labels the protocol covers
    frames_ignored: int  # predictions with a label that the protocol does not score
    frames_sha256: str  # of the scored row keys: equal hashes, equal frames
    problems: tuple[str, ...]  # what keeps the figures from covering the protocol
    headline: Figures
    other_mean: Figures
    without_damaged: Figures | None  # the headline without the damaged recordings, where the protocol wants both
    per_action: tuple[GroupRow, ...]
    per_joint: tuple[JointRow, ...]  # under the protocol's mean
    per_subject: tuple[GroupRow, ...]  # under the protocol's mean
    per_sequence: tuple[GroupRow, ...]

    @property
    def incomplete(self) -> bool:
        """Whether frames or actions of the protocol are missing, or predictions are there that should not be."""
        return bool(self.problems)

    def to_json(self) -> str:
        """The whole report; a figure that is not defined is null."""
        record = asdict(self)
        record["protocol"] = self.protocol.describe()
        record["incomplete"] = self.incomplete
        record["frames_official"] = self.protocol.official_frames
        for group in ("per_action", "per_subject", "per_sequence"):
            record[group] = [_flat(row) for row in getattr(self, group)]
        return json.dumps(_null_for_nan(record), indent=2, allow_nan=False) + "\n"

    def per_action_csv(self) -> str:
        """One line per action: action, frames and the figures at full precision, empty where not defined."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("action", "frames", *FIGURES))
        for row in self.per_action:
            writer.writerow((row.name, row.frames, *("" if math.isnan(x) else repr(x) for x in astuple(row.figures))))
        return text.getvalue()

    def summary(self) -> str:
        """The headline in one line, after what is wrong with it."""
        figures = ", ".join(
            f"{title} {number}" for title, number in zip(_TITLES, _rounded(self.headline), strict=True) if number != "-"
        )
        means = f"{figures} ({self.protocol.mean.value}; {self.protocol.name}, {self.frames_scored:,} frames)"
        return "\n".join([*(f"INCOMPLETE: {problem}" for problem in self.problems), means])

    def to_markdown(self) -> str:
        """Tables of the means, actions, subjects and joints, then every switch of the protocol."""
        switches = "\n".join(f"- {name}: {value}" for name, value in self.protocol.describe().items())
        parts = [
            f"# {self.provenance.model} under {self.protocol.name}, version {self.protocol.version}",
            "\n".join(f"**INCOMPLETE**: {problem}." for problem in self.problems),
            f"{self.frames_scored} of {self.frames_expected} labelled frames scored; the real data set has "
            f"{self.protocol.official_frames}. Errors in {self.protocol.unit}, PCK and AUC in percent.",
            _markdown_table(("mean", *_TITLES), [(name, *_rounded(figures)) for name, figures in self._means()]),
            _group_table("action", self.per_action),
            _group_table("subject", self.per_subject),
            _markdown_table(
                ("joint", "MPJPE", "P-MPJPE"),
                [(row.joint, _number(row.mpjpe), _number(row.p_mpjpe)) for row in self.per_joint],
            ),
            f"Protocol:\n\n{switches}",
            f"Predictions sha256 {self.predictions_sha256}, frames sha256 {self.frames_sha256}.",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _means(self) -> list[tuple[str, Figures]]:
        other = Mean.FRAME if self.protocol.mean is Mean.ACTION else Mean.ACTION
        means = [(f"**{self.protocol.mean.value}**", self.headline), (other.value, self.other_mean)]
        if self.without_damaged is not None:
            means.append((f"{self.protocol.mean.value}, without the damaged S9 recordings", self.without_damaged))
        return means


def _flat(row: GroupRow) -> dict[str, Any]:
    return {"name": row.name, "frames": row.frames, **asdict(row.figures)}


def _null_for_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _null_for_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _rounded(figures: Figures) -> tuple[str, ...]:
    return tuple(_number(value) for value in astuple(figures))


def _group_table(title: str, rows: tuple[GroupRow, ...]) -> str:
    cells = [(row.name, str(row.frames), *_rounded(row.figures)) for row in rows]
    return _markdown_table((title, "frames", *_TITLES), cells)


def _markdown_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    rule = ("---", *("---:" for _ in titles[1:]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows))
