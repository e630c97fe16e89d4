"""The tables of MPI-INF-3DHP's official evaluation (Mehta et al. 2017), from arrays: MPJPE, PCK at 150 mm, AUC.

An error is the distance of one joint in one frame, mm. A joint is correct where its error is strictly below the
threshold; AUC is the mean over 0, 5, ..., 150 mm, so it ends at 100 * 30 / 31. Every group's figure pools its joints
and frames. Rows without frames are NaN; a NaN error makes MPJPE NaN and counts as wrong in PCK and AUC.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.sequences import ACTIVITIES
from h36m_toolbox.skeletons import MPI_INF_3DHP_17

THRESHOLDS_MM = np.arange(0, 151, 5, dtype=np.float64)  # the last one is PCK's
ALL = "All"
TOTAL = "Total"
AVERAGE = "Average"

JointGroups = dict[str, tuple[str, ...]]

_LIMBS = {"Shou": "shoulder", "Elbow": "elbow", "Wrist": "wrist", "Hip": "hip", "Knee": "knee", "Ankle": "ankle"}
# The official groups leave pelvis, spine and head out.
OFFICIAL_GROUPS: JointGroups = {
    "Head": ("head_top",),
    "Neck": ("neck",),
    **{group: (f"right_{limb}", f"left_{limb}") for group, limb in _LIMBS.items()},
}
# Some copies of the official file put the three in; their total is over all 17 joints, as mmpose's.
GROUPS_OF_17: JointGroups = {
    **OFFICIAL_GROUPS,
    "Head": ("head_top", "head"),
    "Hip": ("right_hip", "left_hip", "pelvis"),
    "Spine": ("spine",),
}


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class ErrorTable:
    """Figures by row: a sequence, an activity, a scene or all. NaN where a row has no frames."""

    rows: tuple[str, ...]
    groups: tuple[str, ...]  # of joints, then Total
    frames: np.ndarray  # (rows,) int64
    mpjpe: np.ndarray  # (rows, 18) mm: 17 joints, then the mean of these 17 means
    curves: np.ndarray  # (rows, groups, 31): part of the joints that is correct at THRESHOLDS_MM

    @property
    def pck(self) -> np.ndarray:
        """(rows, groups), percent within 150 mm."""
        return 100 * self.curves[..., -1]

    @property
    def auc(self) -> np.ndarray:
        """(rows, groups), percent, at most 96.774."""
        return 100 * self.curves.mean(axis=-1)

    def row(self, name: str) -> ErrorTable:
        """The table of one row."""
        place = [self.rows.index(name)]
        return ErrorTable((name,), self.groups, self.frames[place], self.mpjpe[place], self.curves[place])


def joint_errors(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Distances (n, 17), mm, of root-relative poses (n, 17, 3), in float64; nothing is aligned or re-rooted."""
    if predicted.shape != target.shape or predicted.shape[1:] != (len(MPI_INF_3DHP_17), 3):
        raise H36MError(f"poses must be (frames, 17, 3) twice; predicted are {predicted.shape}, true {target.shape}")
    return np.linalg.norm(predicted.astype(np.float64) - target, axis=-1)


def error_table(errors: dict[str, np.ndarray], groups: JointGroups | None = None) -> ErrorTable:
    """A row for each name, of errors (n, 17), mm."""
    groups = groups or OFFICIAL_GROUPS
    places = [MPI_INF_3DHP_17.indices(joints) for joints in groups.values()]
    places.append([place for group in places for place in group])
    measured = [_figures(np.asarray(values, np.float64), places) for values in errors.values()]
    return ErrorTable(
        tuple(errors),
        (*groups, TOTAL),
        np.array([len(values) for values in errors.values()], np.int64),
        np.array([mpjpe for mpjpe, _ in measured]).reshape(-1, len(MPI_INF_3DHP_17) + 1),
        np.array([curves for _, curves in measured]).reshape(-1, len(places), len(THRESHOLDS_MM)),
    )


def _figures(errors: np.ndarray, groups: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    n = len(errors)
    if n == 0:
        return np.full(errors.shape[1] + 1, np.nan), np.full((len(groups), len(THRESHOLDS_MM)), np.nan)
    means = errors.mean(axis=0)
    correct = np.stack([(errors < threshold).sum(axis=0) for threshold in THRESHOLDS_MM], axis=-1)  # (17, 31)
    curves = [correct[group].sum(axis=0) / (n * len(group)) for group in groups]
    return np.append(means, means.mean()), np.array(curves)


def sequence_table(errors: Iterable[np.ndarray], groups: JointGroups | None = None) -> ErrorTable:
    """The official sequence-wise table: TestSeq1, TestSeq2, ..., and no row for all."""
    return error_table({f"TestSeq{i}": values for i, values in enumerate(errors, start=1)}, groups)


def activity_table(
    errors: Iterable[np.ndarray], activities: Iterable[np.ndarray], groups: JointGroups | None = None
) -> ErrorTable:
    """The official activity-wise table of sequences' errors (n, 17) and activity numbers (n,).

    Rows are the seven activities, then All: every frame weighs the same, also one of no activity.
    """
    pooled, labels = np.concatenate([*errors]), np.concatenate([*activities])
    by_activity = {name: pooled[labels == number] for number, name in ACTIVITIES.items()}
    return error_table({**by_activity, ALL: pooled}, groups)


def mean_of_rows(table: ErrorTable, name: str) -> ErrorTable:
    """One row in which every row weighs the same, however many frames it has."""
    return ErrorTable(
        (name,),
        table.groups,
        table.frames.sum(keepdims=True),
        table.mpjpe.mean(axis=0, keepdims=True),
        table.curves.mean(axis=0, keepdims=True),
    )


def official_csv(table: ErrorTable, prefix: str) -> str:
    """A table in the layout of the official driver, 17 significant digits; `prefix` "seq" or "activity".

    Three blocks, MPJPE, PCK and AUC, each with its row of names.
    """
    width = len(MPI_INF_3DHP_17) + 2
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"{prefix}_table{i}" for i in range(1, width + 1)])
    blocks = (
        ("", (*MPI_INF_3DHP_17.joints, AVERAGE), table.mpjpe),
        ("PCK", table.groups, table.pck),
        ("AUC", table.groups, table.auc),
    )
    for title, names, figures in blocks:
        rows = [(title, *names), *((row, *map(_digits, line)) for row, line in zip(table.rows, figures, strict=True))]
        writer.writerows([*row, *[""] * (width - len(row))] for row in rows)
    return text.getvalue()


def _digits(value: float) -> str:
    return "NaN" if np.isnan(value) else f"{value:.17g}"
