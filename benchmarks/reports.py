"""What an evaluation says: figures per action, joint, subject and sequence, and every switch behind them."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

from h36m_toolbox.benchmarks.manifests import Manifest, official_manifest
from h36m_toolbox.benchmarks.predictions import Provenance
from h36m_toolbox.benchmarks.protocols import Protocol
from h36m_toolbox.benchmarks.switches import Mean


@dataclass(frozen=True)
class Figures:
    """Means over some poses; NaN where a figure is not defined (velocity of single frames, no alignment)."""

    mpjpe: float  # mm
    p_mpjpe: float  # mm, after the protocol's alignment
    n_mpjpe: float  # mm, after the best scaling
    mpjve: float  # mm per step between scored frames
    pck150: float  # percent of joints within 150 mm
    auc: float  # percent, mean PCK at 0, 5, ..., 150 mm (MPI-INF-3DHP)
    pa_mpjpe_rigid: float  # mm, after rotation and translation only
    acceleration: float  # mm per step squared between scored frames
    auc_trapezoid: float  # percent, area under PCK from 0 to 150 mm by the trapezoid rule
    bone_length: float  # mm, mean absolute error of the bones' lengths
    symmetry: float  # mm, mean absolute difference of mirrored bones' lengths in the prediction
    mpjpe_median: float  # mm; medians and percentiles are over all frames, whatever the mean
    mpjpe_p90: float
    p_mpjpe_median: float
    p_mpjpe_p90: float


FIGURES = tuple(field.name for field in fields(Figures))
_MAIN = ("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve", "pck150", "auc", "mpjpe_median", "mpjpe_p90")
_TITLES = {
    **{"mpjpe": "MPJPE", "p_mpjpe": "P-MPJPE", "n_mpjpe": "N-MPJPE", "mpjve": "MPJVE", "pck150": "PCK@150"},
    **{"auc": "AUC", "pa_mpjpe_rigid": "PA rigid", "acceleration": "acceleration", "auc_trapezoid": "AUC trapezoid"},
    **{"bone_length": "bone length", "symmetry": "symmetry", "mpjpe_median": "median", "mpjpe_p90": "90th percentile"},
    **{"p_mpjpe_median": "P-MPJPE median", "p_mpjpe_p90": "P-MPJPE 90th percentile"},
}
_MORE = tuple(name for name in FIGURES if name not in _MAIN)
_JOINT_FIGURES = ("mpjpe", "p_mpjpe", "mpjpe_median", "mpjpe_p90")
# Tables of a report, with their titles where the Markdown shows them.
_GROUPS = {
    **{"per_action": "action", "per_subaction": "trial", "per_subject": "subject", "per_camera": "camera"},
    "per_sequence": "",
}


@dataclass(frozen=True)
class GroupRow:
    """Figures of the poses that share a `name`: an action, a trial of it, a subject, a camera or a sequence."""

    name: str
    frames: int
    figures: Figures


@dataclass(frozen=True)
class JointRow:
    """Error of one joint before and after the protocol's alignment, mm: means, medians, 90th percentiles."""

    joint: str
    mpjpe: float
    p_mpjpe: float
    mpjpe_median: float
    mpjpe_p90: float
    p_mpjpe_median: float
    p_mpjpe_p90: float


@dataclass(frozen=True)
class PckPoint:
    """Percent of joints with an error below a threshold."""

    threshold_mm: float
    percent: float


@dataclass(frozen=True)
class Report:
    """One predictions file scored under one protocol: `headline` has its mean, `other_mean` the other one."""

    protocol: Protocol
    provenance: Provenance
    predictions_sha256: str
    frames_scored: int
    frames_expected: int  # samples that the labels have and the protocol covers
    frames_ignored: int  # predictions with a label that the protocol does not score
    frames_skipped: int  # frames left out for an error of exactly 0, where the protocol does so
    manifest: Manifest  # the frames that were scored
    expected: Manifest  # the frames that the protocol covers in these labels
    problems: tuple[str, ...]  # what keeps the figures from covering the protocol
    headline: Figures
    other_mean: Figures
    without_damaged: Figures | None  # the headline without the damaged recordings, where the protocol wants both
    pck: tuple[PckPoint, ...]  # at thresholds that were asked for
    per_action: tuple[GroupRow, ...]
    per_subaction: tuple[GroupRow, ...]
    per_joint: tuple[JointRow, ...]  # under the protocol's mean
    per_subject: tuple[GroupRow, ...]  # under the protocol's mean
    per_camera: tuple[GroupRow, ...]  # under the protocol's mean
    per_sequence: tuple[GroupRow, ...]

    @property
    def frames_sha256(self) -> str:
        """Hash of the frames that were scored: equal hashes, equal frames."""
        return self.manifest.sha256

    @property
    def official(self) -> bool:
        """Whether exactly the frames were scored that the protocol scores in the real data set."""
        official = official_manifest(self.protocol)
        return official is not None and official.sha256 == self.manifest.sha256

    @property
    def incomplete(self) -> bool:
        """Whether frames or actions of the protocol are missing, or predictions are there that should not be."""
        return bool(self.problems)

    def to_json(self) -> str:
        """The whole report; a figure that is not defined is null."""
        record = asdict(self)
        record["protocol"] = self.protocol.describe()
        record["incomplete"] = self.incomplete
        official = official_manifest(self.protocol)
        record["frames_official"] = official.frames if official else None
        record["frames_sha256"] = self.frames_sha256
        record["official"] = self.official
        record["manifest"], record["expected"] = self.manifest.to_dict(), self.expected.to_dict()
        for group in _GROUPS:
            record[group] = [_flat(row) for row in getattr(self, group)]
        return json.dumps(null_for_nan(record), indent=2, allow_nan=False) + "\n"

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
            f"{_TITLES[name]} {number}"
            for name, number in zip(_MAIN, _rounded(self.headline, _MAIN), strict=True)
            if number != "-"
        )
        means = f"{figures} ({self.protocol.mean.value}; {self.protocol.name}, {self.frames_scored:,} frames)"
        return "\n".join([*(f"INCOMPLETE: {problem}" for problem in self.problems), means])

    def to_markdown(self) -> str:
        """Tables of the means, actions, trials, subjects, cameras and joints, then every switch of the protocol."""
        switches = "\n".join(f"- {name}: {value}" for name, value in self.protocol.describe().items())
        parts = [
            f"# {self.provenance.model} under {self.protocol.name}, version {self.protocol.version}",
            "\n".join(f"**INCOMPLETE**: {problem}." for problem in self.problems),
            self._frames_in_words(),
            self._as_printed(),
            markdown_table(("mean", *_titles(_MAIN)), self._means(_MAIN)),
            markdown_table(("mean", *_titles(_MORE)), self._means(_MORE)),
            markdown_table(
                ("PCK threshold, mm", "percent"),
                [(f"{point.threshold_mm:g}", _number(point.percent)) for point in self.pck],
            ),
            *(_group_table(title, getattr(self, group)) for group, title in _GROUPS.items() if title),
            markdown_table(
                ("joint", *_titles(_JOINT_FIGURES)),
                [(row.joint, *(_number(getattr(row, name)) for name in _JOINT_FIGURES)) for row in self.per_joint],
            ),
            self.provenance.speed,
            f"Protocol:\n\n{switches}",
            f"Predictions sha256 {self.predictions_sha256}, frames {self.manifest.name} sha256 {self.frames_sha256}.",
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _frames_in_words(self) -> str:
        official = official_manifest(self.protocol)
        real = f"the real data set has {official.frames:,}" if official else "those of the authors are not published"
        same = ", exactly these" if self.official else ""
        skipped = f" {self.frames_skipped:,} with an error of exactly 0 are left out." if self.frames_skipped else ""
        return (
            f"{self.frames_scored:,} of {self.frames_expected:,} labelled frames scored; {real}{same}.{skipped} "
            f"Errors in {self.protocol.unit}, PCK and AUC in percent."
        )

    def _as_printed(self) -> str:
        digits = self.protocol.decimals
        second = "" if math.isnan(self.headline.p_mpjpe) else f" / {self.headline.p_mpjpe:.{digits}f}"
        return f"As the protocol's own program prints it: {self.headline.mpjpe:.{digits}f}{second}."

    def _means(self, names: tuple[str, ...]) -> list[tuple[str, ...]]:
        other = Mean.FRAME if self.protocol.mean is Mean.ACTION else Mean.ACTION
        means = [(f"**{self.protocol.mean.value}**", self.headline), (other.value, self.other_mean)]
        if self.without_damaged is not None:
            means.append((f"{self.protocol.mean.value}, without the damaged S9 recordings", self.without_damaged))
        return [(title, *_rounded(figures, names)) for title, figures in means]


def comparable(one: Report, other: Report) -> bool:
    """Whether the figures of two reports may be held against each other: see `differences`."""
    return not differences(one, other)


def differences(one: Report, other: Report) -> tuple[str, ...]:
    """Why two reports may not be compared, in words; nothing where protocol, version and frames agree."""
    reasons = []
    if one.protocol.name != other.protocol.name:
        reasons.append(f"protocols {one.protocol.name} and {other.protocol.name}")
    elif one.protocol.version != other.protocol.version:
        reasons.append(f"versions {one.protocol.version} and {other.protocol.version} of {one.protocol.name}")
    if one.manifest.sha256 != other.manifest.sha256:
        counts = f"{one.manifest.frames:,} and {other.manifest.frames:,}"
        reasons.append(
            f"different frames: {counts}, sha256 {one.manifest.sha256[:12]} and {other.manifest.sha256[:12]}"
        )
    return tuple(reasons)


def _flat(row: GroupRow) -> dict[str, Any]:
    return {"name": row.name, "frames": row.frames, **asdict(row.figures)}


def null_for_nan(value: Any) -> Any:
    """The value with null in place of every number that is not finite, which JSON has not."""
    if isinstance(value, dict):
        return {key: null_for_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _rounded(figures: Figures, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_number(getattr(figures, name)) for name in names)


def _titles(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_TITLES[name] for name in names)


def _group_table(title: str, rows: tuple[GroupRow, ...]) -> str:
    cells = [(row.name, str(row.frames), *_rounded(row.figures, _MAIN)) for row in rows]
    return markdown_table((title, "frames", *_titles(_MAIN)), cells)


def markdown_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown, the first column to the left; nothing without rows."""
    if not rows:
        return ""
    rule = ("---", *("---:" for _ in titles[1:]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows))
