"""Scores predictions from disk on DATA's MPI-INF-3DHP test labels: under one protocol, or all side by side."""

from __future__ import annotations

import math
from pathlib import Path

from h36m_toolbox.benchmarks.mpi_inf_3dhp.evaluation import TOTAL, ErrorTable
from h36m_toolbox.benchmarks.mpi_inf_3dhp.files import (
    INFERENCE_MAT,
    read_test_predictions,
    write_inference_mat,
    write_test_report,
)
from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import (
    TEST_PROTOCOLS,
    TestReport,
    evaluate_test_set,
    protocol_of_test_set,
)
from h36m_toolbox.benchmarks.reports import markdown_table
from h36m_toolbox.benchmarks.runs.folders import predictions_of
from h36m_toolbox.mpi_inf_3dhp.labels import labels_path, read_test_labels
from h36m_toolbox.mpi_inf_3dhp.sequences import FAMILY
from h36m_toolbox.storage.files import sha256_of

ALL_PROTOCOLS = f"{FAMILY}-all"


def score_test_predictions(
    path: Path, data: Path, protocol_name: str = FAMILY, as_stated: bool = False, out: Path | None = None
) -> TestReport:
    """Score a file of predictions, or those of a run's folder, under a protocol.

    With `out` the official tables, `report.json` and the predictions as `inference_data.mat` go there. Raises H36MError
    for an unknown protocol, and as `read_test_predictions`, `read_test_labels` and `evaluate_test_set`.
    """
    protocol = protocol_of_test_set(protocol_name)
    path = predictions_of(path)
    predictions = read_test_predictions(path)
    report = evaluate_test_set(predictions, read_test_labels(data), protocol, as_stated)
    if out:
        write_inference_mat(out / INFERENCE_MAT, predictions)
        labels = labels_path(data, "test")
        hashes = {"predictions_sha256": sha256_of(path), "labels_sha256": sha256_of(labels)}
        write_test_report(out, report, {"predictions": path.name, **hashes})
    return report


def score_under_all(path: Path, data: Path, as_stated: bool = False) -> list[TestReport]:
    """The same file under every protocol of the family; raises as `score_test_predictions`."""
    truth, predictions = read_test_labels(data), read_test_predictions(predictions_of(path))
    return [evaluate_test_set(predictions, truth, protocol, as_stated) for protocol in TEST_PROTOCOLS.values()]


def report_markdown(report: TestReport) -> str:
    """The headline, then sequences, scenes and activities."""
    switches = "; ".join(f"{name}: {value}" for name, value in report.protocol.describe().items() if name != "name")
    parts = [
        f"# {report.protocol.name}",
        switches + ".",
        "Scored are the official frames." if report.official else "Scored are NOT the 2,929 official frames.",
        *(f"INCOMPLETE: {problem}" for problem in report.problems),
        *(
            _table(title, table)
            for title, table in (
                ("headline", report.headline),
                ("sequence", report.sequences),
                ("scene", report.scenes),
                ("activity", report.activities),
            )
        ),
    ]
    return "\n\n".join(parts) + "\n"


def comparison_markdown(reports: list[TestReport]) -> str:
    """One row a protocol: how much of a difference between papers is bookkeeping."""
    names = ("ground truth", "joints in PCK and AUC", "headline", "predicted pelvis", "alignment")
    rows: list[tuple[str, ...]] = []
    for report in reports:
        switches = report.protocol.describe()
        rows.append((report.protocol.name, *_figures(report.headline, 0), *(switches[name] for name in names)))
    return markdown_table(("protocol", "frames", "MPJPE", "PCK@150", "AUC", *names), rows) + "\n"


def _table(title: str, table: ErrorTable) -> str:
    rows: list[tuple[str, ...]] = [(name, *_figures(table, i)) for i, name in enumerate(table.rows)]
    return markdown_table((title, "frames", "MPJPE", "PCK@150", "AUC"), rows)


def _figures(table: ErrorTable, row: int) -> tuple[str, str, str, str]:
    total = table.groups.index(TOTAL)
    values = (table.mpjpe[row, -1], table.pck[row, total], table.auc[row, total])
    mpjpe, pck, auc = ("-" if math.isnan(value) else f"{value:.2f}" for value in values)
    return f"{int(table.frames[row]):,}", mpjpe, pck, auc
