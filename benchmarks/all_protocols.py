"""One predictions file under every protocol: what each switch does to the same poses."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, dataclass

import pyarrow as pa

from h36m_toolbox.benchmarks.evaluator import evaluate
from h36m_toolbox.benchmarks.predictions import Predictions
from h36m_toolbox.benchmarks.protocols import PROTOCOLS, Protocol
from h36m_toolbox.benchmarks.reports import FIGURES, Report, markdown_table
from h36m_toolbox.errors import H36MError


@dataclass(frozen=True)
class ProtocolRow:
    """One protocol: its report, or why the predictions do not fit it."""

    protocol: Protocol
    report: Report | None
    reason: str  # "" with a report


@dataclass(frozen=True)
class ProtocolTable:
    """Every protocol's row, in the order they were asked for."""

    model: str
    rows: tuple[ProtocolRow, ...]

    @property
    def reports(self) -> tuple[Report, ...]:
        """Those of the protocols that fit."""
        return tuple(row.report for row in self.rows if row.report)

    def to_csv(self) -> str:
        """One line per protocol: name, version, frames, incomplete, figures at full precision, reason."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("protocol", "version", "mean", "frames", "official", "incomplete", *FIGURES, "reason"))
        for row in self.rows:
            named = (row.protocol.name, row.protocol.version, row.protocol.mean.name.lower())
            if row.report:
                figures = astuple(row.report.headline)
                facts = (row.report.frames_scored, row.report.official, row.report.incomplete)
                writer.writerow((*named, *facts, *("" if math.isnan(value) else repr(value) for value in figures), ""))
            else:
                writer.writerow((*named, *("" for _ in range(3 + len(FIGURES))), row.reason))
        return text.getvalue()

    def to_markdown(self) -> str:
        """The figures side by side, how each protocol differs from the one before, what does not fit and why."""
        cells: list[tuple[str, ...]] = [
            (
                *(row.protocol.name, _number(row.report.headline.mpjpe), _number(row.report.headline.p_mpjpe)),
                *(_number(row.report.other_mean.mpjpe), row.protocol.mean.name.lower()),
                *(f"{row.report.frames_scored:,}", "yes" if row.report.incomplete else "no"),
            )
            for row in self.rows
            if row.report
        ]
        titles = ("protocol", "MPJPE", "second figure", "MPJPE, other mean", "mean", "frames", "incomplete")
        unfit: list[tuple[str, ...]] = [(row.protocol.name, row.reason) for row in self.rows if not row.report]
        parts = [
            f"# {self.model} under every protocol",
            "Errors in mm. No two rows may be compared: the same poses, scored by different rules.",
            markdown_table(titles, cells),
            _switches([row.protocol for row in self.rows if row.report]),
            markdown_table(("protocol", "why these predictions do not fit it"), unfit),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"


def evaluate_all(predictions: Predictions, labels: pa.Table, subjects: tuple[str, ...] | None = None) -> ProtocolTable:
    """Score predictions under every protocol that fits them, on other `subjects` than a protocol's own if given.

    A protocol that does not fit (joints, root, frames) has the reason in its row. Raises H36MError where none fits.
    """
    rows = []
    for named in PROTOCOLS.values():
        protocol = named
        try:
            protocol = named.for_subjects(*subjects) if subjects and named.subjects else named
            rows.append(ProtocolRow(protocol, evaluate(predictions, labels, protocol), ""))
        except H36MError as error:
            rows.append(ProtocolRow(protocol, None, str(error)))
    if not any(row.report for row in rows):
        reasons = "; ".join(f"{row.protocol.name}: {row.reason}" for row in rows)
        raise H36MError(f"{predictions.path}: no protocol fits these predictions. {reasons}")
    return ProtocolTable(predictions.provenance.model, tuple(rows))


_DULL = ("name", "version", "source", "unit", "subjects")


def _switches(protocols: list[Protocol]) -> str:
    """The switches in which these protocols differ, one column each."""
    described = [protocol.describe() for protocol in protocols]
    names = [name for name in described[0] if name not in _DULL and len({switches[name] for switches in described}) > 1]
    rows = [(switches["name"], *(switches[name] for name in names)) for switches in described]
    return markdown_table(("protocol", *(name.replace("_", " ") for name in names)), rows) if names else ""


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
