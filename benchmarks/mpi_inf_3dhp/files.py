"""The files of MPI-INF-3DHP's evaluation: `inference_data.mat` in, the official CSV tables and a summary out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from h36m_toolbox.benchmarks.mpi_inf_3dhp.evaluation import AVERAGE, TOTAL, ErrorTable, official_csv
from h36m_toolbox.benchmarks.mpi_inf_3dhp.predictions import read_test_prediction_file
from h36m_toolbox.benchmarks.mpi_inf_3dhp.protocols import TestReport
from h36m_toolbox.benchmarks.reports import FIGURES
from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.matlab5 import is_matlab73, read_matlab5
from h36m_toolbox.mpi_inf_3dhp.sequences import TEST_SEQUENCES
from h36m_toolbox.skeletons import MPI_INF_3DHP_17
from h36m_toolbox.storage.files import written_whole
from h36m_toolbox.storage.safe_pickle import read_object_npz

SEQUENCE_CSV = "mpi_inf_3dhp_evaluation_sequencewise.csv"
ACTIVITY_CSV = "mpi_inf_3dhp_evaluation_activitywise.csv"
REPORT_JSON = "report.json"
INFERENCE_MAT = "inference_data.mat"
_JOINTS = len(MPI_INF_3DHP_17)
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError)  # what h5py makes of a damaged file


def read_test_predictions(path: Path) -> dict[str, np.ndarray]:
    """Predictions (valid frames, 17, 3) by sequence, by the file's ending: `inference_data.mat`, an npz of its arrays,
    or the Parquet file of a run.

    Raises H36MError as `read_inference_mat`.
    """
    if path.suffix == ".parquet":
        return read_test_prediction_file(path)[0]
    if path.suffix != ".npz":
        return read_inference_mat(path)
    found = read_object_npz(path)
    wrong = [
        f"{name} {getattr(array, 'shape', '')}"
        for name, array in found.items()
        if name not in TEST_SEQUENCES or not isinstance(array, np.ndarray) or array.shape[1:] != (_JOINTS, 3)
    ]
    if wrong or not found:
        raise H36MError(f"{path}: holds {', '.join(wrong) or 'nothing'}; expected TS1 to TS6, each (frames, 17, 3)")
    return {name: array.astype(np.float64) for name, array in found.items()}


def read_inference_mat(path: Path) -> dict[str, np.ndarray]:
    """Predictions (valid frames, 17, 3) by sequence of an `inference_data.mat`, MATLAB 5 or 7.3, in float64.

    Its variables TS1 to TS6 are 3 x 17 x 1 x frames. Single precision is widened: MATLAB would compute with it, which
    shifts errors by up to 1e-4 mm. Raises H36MError for another shape, or where there is none of the variables.
    """
    found = _read_matlab73(path) if is_matlab73(path) else read_matlab5(path, TEST_SEQUENCES)
    if not found:
        raise H36MError(f"{path}: has none of the variables {', '.join(TEST_SEQUENCES)} of 3 x 17 x 1 x frames")
    return {name: _poses(path, name, stored) for name, stored in found.items()}


def _poses(path: Path, name: str, stored: np.ndarray) -> np.ndarray:
    if stored.dtype.kind not in "uif":
        raise H36MError(f"{path}: {name} holds {stored.dtype}, no numbers")
    shape = stored.shape + (1,) * (4 - stored.ndim)  # MATLAB drops trailing dimensions of 1
    if 0 in shape and stored.size == 0:
        return np.empty((0, _JOINTS, 3))
    if len(shape) != 4 or shape[:3] != (3, _JOINTS, 1):
        raise H36MError(f"{path}: {name} is {' x '.join(map(str, stored.shape))}, expected 3 x 17 x 1 x frames")
    return stored.reshape(shape)[:, :, 0].transpose(2, 1, 0).astype(np.float64)


def _read_matlab73(path: Path) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            return {name: np.asarray(file[name][()]).T for name in TEST_SEQUENCES if name in file}
    except _DAMAGE as error:
        raise H36MError(f"{path}: cannot be read as MATLAB 7.3 ({error}); get the file again") from error


def write_inference_mat(path: Path, predictions: dict[str, np.ndarray]) -> None:
    """Write predictions (valid frames, 17, 3) by sequence as `inference_data.mat`, in double precision.

    Whole or not at all; raises H36MError for other sequences or shapes.
    """
    for name, poses in predictions.items():
        if name not in TEST_SEQUENCES or poses.shape[1:] != (_JOINTS, 3):
            raise H36MError(f"{path}: {name} {poses.shape} is no sequence TS1 to TS6 of poses (frames, 17, 3)")
    content = {
        name: np.asarray(poses, np.float64).transpose(2, 1, 0)[:, :, None] for name, poses in predictions.items()
    }
    with written_whole(path) as temporary, temporary.open("wb") as file:
        scipy.io.savemat(file, content, format="5")


def write_test_report(folder: Path, report: TestReport, inputs: Mapping[str, object] | None = None) -> list[Path]:
    """Write the two tables in the official layout and `report.json`; the files, each whole or not at all.

    `inputs`: what the figures were computed from, such as hashes, for the JSON file.
    """
    texts = {
        SEQUENCE_CSV: official_csv(report.sequences, "seq"),
        ACTIVITY_CSV: official_csv(report.activities, "activity"),
        REPORT_JSON: json.dumps({"inputs": dict(inputs or {}), **report_record(report)}, indent=1) + "\n",
    }
    for name, text in texts.items():
        with written_whole(folder / name) as temporary:
            temporary.write_text(text)
    return [folder / name for name in texts]


def report_record(report: TestReport) -> dict[str, object]:
    """A report for JSON: protocol, headline, then tables by joint and group; null for NaN."""
    tables = ("scenes", "sequences", "activities")
    return {
        "protocol": report.protocol.describe(),
        "frames_scored": report.frames_scored,
        "frames_sha256": report.frames_sha256,
        "official": report.official,
        "incomplete": report.incomplete,
        "problems": list(report.problems),
        "headline": {name: None if np.isnan(value) else value for name, value in report.figures.items()},
        "headline_by_joint": _summary(report.headline),
        **{name: _summary(getattr(report, name)) for name in tables},
    }


def activities_csv(report: TestReport) -> str:
    """One line per activity in the columns of a run's `per_action.csv`; empty where a figure is not defined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("action", "frames", *FIGURES))
    table, total = report.activities, report.activities.groups.index(TOTAL)
    for i, name in enumerate(table.rows):
        values = (table.mpjpe[i, -1], table.pck[i, total], table.auc[i, total])
        found = dict(zip(report.figures, map(float, values), strict=True))
        cells = (found.get(figure, np.nan) for figure in FIGURES)
        writer.writerow((name, int(table.frames[i]), *("" if np.isnan(cell) else repr(cell) for cell in cells)))
    return text.getvalue()


def protocols_csv(reports: list[TestReport]) -> str:
    """One line per protocol: its figures and every switch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    switches = [report.protocol.describe() for report in reports]
    columns = [name for name in switches[0] if name != "name"]
    writer.writerow(("protocol", "frames", *reports[0].figures, *columns))
    for report, said in zip(reports, switches, strict=True):
        figures = ("" if np.isnan(value) else repr(value) for value in report.figures.values())
        writer.writerow((said["name"], report.frames_scored, *figures, *(said[column] for column in columns)))
    return text.getvalue()


def _summary(table: ErrorTable) -> dict[str, dict[str, object]]:
    blocks = {
        "mpjpe_mm": ((*MPI_INF_3DHP_17.joints, AVERAGE), table.mpjpe),
        "pck150": (table.groups, table.pck),
        "auc": (table.groups, table.auc),
    }
    return {
        row: {
            "frames": int(table.frames[i]),
            **{
                block: {
                    name: None if np.isnan(value) else float(value)
                    for name, value in zip(names, figures[i], strict=True)
                }
                for block, (names, figures) in blocks.items()
            },
        }
        for i, row in enumerate(table.rows)
    }
