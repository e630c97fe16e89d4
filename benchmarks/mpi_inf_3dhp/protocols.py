"""MPI-INF-3DHP's evaluation as named protocols: the official one, and how other implementations depart from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from h36m_toolbox.benchmarks.metrics import procrustes_aligned
from h36m_toolbox.benchmarks.mpi_inf_3dhp.evaluation import (
    ALL,
    GROUPS_OF_17,
    OFFICIAL_GROUPS,
    TOTAL,
    ErrorTable,
    JointGroups,
    activity_table,
    error_table,
    joint_errors,
    mean_of_rows,
    sequence_table,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.mpi_inf_3dhp.annotations import TestAnnotations
from h36m_toolbox.mpi_inf_3dhp.sequences import SCENES, TEST_VALID_FRAMES
from h36m_toolbox.skeletons import MPI_INF_3DHP_17

PELVIS = MPI_INF_3DHP_17.joints.index(MPI_INF_3DHP_17.root)
_METRES_BELOW = 10.0  # mm: no body is so small
_ABSOLUTE_ABOVE = 1000.0  # mm: no error of a root-relative pelvis is so large


@dataclass(frozen=True)
class TestProtocol:
    """Every switch of the evaluation, with the official value as default."""

    __test__ = False

    name: str
    source: str
    ground_truth: str = "univ_annot3"  # or "annot3"
    groups: JointGroups = field(default_factory=lambda: OFFICIAL_GROUPS)
    mean: str = "frames"  # or "sequences": each of the six weighs the same
    zero_pelvis: bool = False
    align: bool = False  # rotation, translation and scale of every pose
    version: int = 1

    @property
    def scored_joints(self) -> int:
        """How many of the 17 joints enter PCK and AUC."""
        return sum(map(len, self.groups.values()))

    def describe(self) -> dict[str, str]:
        """Every switch in words."""
        return {
            "name": self.name,
            "version": str(self.version),
            "source": self.source,
            "ground truth": self.ground_truth,
            "joints in MPJPE": "17, the pelvis counted",
            "joints in PCK and AUC": str(self.scored_joints),
            "headline": "every frame weighs the same" if self.mean == "frames" else "every sequence weighs the same",
            "predicted pelvis": "set to zero" if self.zero_pelvis else "as predicted",
            "alignment": "rotation, translation and scale" if self.align else "none",
        }


_ALL_PROTOCOLS = (
    TestProtocol("mpi-inf-3dhp", "the MATLAB evaluation in the test set; its row All"),
    TestProtocol("mpi-inf-3dhp-sequence-mean", "the official rows, each sequence weighing the same", mean="sequences"),
    TestProtocol("mpi-inf-3dhp-annot3", "the official arithmetic on metric ground truth", ground_truth="annot3"),
    TestProtocol(
        "mpi-inf-3dhp-d3dp", "D3DP's driver: annot3, mean of sequences", ground_truth="annot3", mean="sequences"
    ),
    TestProtocol("mpi-inf-3dhp-17-joints", "official, PCK and AUC over all 17 joints", groups=GROUPS_OF_17),
    TestProtocol("mpi-inf-3dhp-mmpose", "mmpose 0.x: annot3, 17 joints", "annot3", GROUPS_OF_17),
    TestProtocol("mpi-inf-3dhp-mmpose-aligned", "mmpose 0.x: its P- figures", "annot3", GROUPS_OF_17, align=True),
    TestProtocol("mpi-inf-3dhp-lifting", "P-STMO's and PoseFormerV2's MPJPE in Python", zero_pelvis=True),
)
TEST_PROTOCOLS = {protocol.name: protocol for protocol in _ALL_PROTOCOLS}


@dataclass(frozen=True, eq=False)
class TestReport:
    """The tables of one predictions file under one protocol; `headline` is the row to quote."""

    __test__ = False

    protocol: TestProtocol
    headline: ErrorTable
    sequences: ErrorTable
    activities: ErrorTable
    scenes: ErrorTable
    problems: tuple[str, ...]  # what keeps the figures from covering the protocol
    frames_sha256: str  # of the frames that were scored: equal hashes, equal frames

    @property
    def frames_scored(self) -> int:
        """Valid frames of all sequences."""
        return int(self.headline.frames[0])

    @property
    def incomplete(self) -> bool:
        """Whether sequences of the protocol are missing."""
        return bool(self.problems)

    @property
    def figures(self) -> dict[str, float]:
        """The headline: MPJPE in mm, PCK at 150 mm and AUC in percent."""
        total = self.headline.groups.index(TOTAL)
        found = (self.headline.mpjpe[0, -1], self.headline.pck[0, total], self.headline.auc[0, total])
        return dict(zip(("mpjpe", "pck150", "auc"), map(float, found), strict=True))

    def summary(self) -> str:
        """The headline in a line or two, and what is wrong with it."""
        mpjpe, pck, auc = self.figures.values()
        frames = "the official frames" if self.official else "NOT the official frames"
        lines = [
            f"{self.protocol.name}: MPJPE {mpjpe:.2f} mm, PCK@150 {pck:.2f} %, AUC {auc:.2f} %",
            f"{self.frames_scored:,} valid frames, {frames}",
            *(f"INCOMPLETE: {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)

    @property
    def official(self) -> bool:
        """Whether as many frames of each sequence were scored as the real test set has valid ones."""
        return self.sequences.frames.tolist() == list(TEST_VALID_FRAMES.values())


def evaluate_test_set(
    predictions: dict[str, np.ndarray],
    truth: list[TestAnnotations],
    protocol: TestProtocol,
    as_stated: bool = False,
) -> TestReport:
    """Score root-relative predictions (valid frames, 17, 3), mm, by sequence: TS1 to TS6.

    Raises H36MError where a sequence of the ground truth has no predictions or not as many as valid frames, and, unless
    `as_stated`, where they look like metres or absolute poses.
    """
    _check_names(predictions, truth)
    errors, activities = {}, {}
    for sequence in truth:
        predicted = _checked(predictions[sequence.sequence], sequence, as_stated)
        target = sequence.universal if protocol.ground_truth == "univ_annot3" else sequence.camera
        target = (target - target[:, [PELVIS]])[sequence.valid]
        errors[sequence.sequence] = joint_errors(_adjusted(predicted, target, protocol), target)
        activities[sequence.sequence] = sequence.activity[sequence.valid]
    sequences = sequence_table(errors.values(), protocol.groups)
    by_activity = activity_table(errors.values(), activities.values(), protocol.groups)
    scenes = {
        scene: np.concatenate([errors[name] for name in names if name in errors])
        for scene, names in SCENES.items()
        if set(names) & set(errors)
    }
    headline = by_activity.row(ALL) if protocol.mean == "frames" else mean_of_rows(sequences, "Mean of sequences")
    problems = [f"no ground truth of {name}" for names in SCENES.values() for name in names if name not in errors]
    return TestReport(
        protocol=protocol,
        headline=headline,
        sequences=sequences,
        activities=by_activity,
        scenes=error_table(scenes, protocol.groups),
        problems=tuple(problems),
        frames_sha256=_sha256_of_frames(truth),
    )


def _sha256_of_frames(truth: list[TestAnnotations]) -> str:
    digest = hashlib.sha256()
    for sequence in truth:
        digest.update(f"{sequence.sequence} {' '.join(map(str, np.flatnonzero(sequence.valid)))}\n".encode())
    return digest.hexdigest()


def protocol_of_test_set(name: str) -> TestProtocol:
    """The protocol of this name; an H36MError lists the known ones."""
    if name not in TEST_PROTOCOLS:
        raise H36MError(f"MPI-INF-3DHP has no protocol {name!r}; there are {', '.join(TEST_PROTOCOLS)}")
    return TEST_PROTOCOLS[name]


def _check_names(predictions: dict[str, np.ndarray], truth: list[TestAnnotations]) -> None:
    wanted = [sequence.sequence for sequence in truth]
    absent = [name for name in wanted if name not in predictions]
    unknown = [name for name in predictions if name not in wanted]
    if absent or unknown or not wanted:
        raise H36MError(
            f"the predictions are of {', '.join(predictions) or 'no sequence'}, the ground truth of "
            f"{', '.join(wanted) or 'no sequence'}; they must be the same sequences"
        )


def _checked(predicted: np.ndarray, sequence: TestAnnotations, as_stated: bool) -> np.ndarray:
    name, valid = sequence.sequence, int(sequence.valid.sum())
    expected = (valid, len(MPI_INF_3DHP_17), 3)
    if predicted.shape != expected:
        hint = "; give the valid frames only" if len(predicted) == len(sequence.valid) != valid else ""
        raise H36MError(f"{name}: predictions are {predicted.shape}, expected {expected}{hint}")
    finite = np.abs(predicted[np.isfinite(predicted)])
    if not as_stated and finite.size and 0 < finite.max() < _METRES_BELOW:
        raise H36MError(f"{name}: no coordinate is above {finite.max():.3g}: the poses look like metres, expected mm")
    if not as_stated and valid and np.nanmedian(np.abs(predicted[:, PELVIS]).max(axis=-1)) > _ABSOLUTE_ABOVE:
        raise H36MError(f"{name}: the pelvis is metres away from the origin; expected poses relative to the pelvis")
    return predicted.astype(np.float64)


def _adjusted(predicted: np.ndarray, target: np.ndarray, protocol: TestProtocol) -> np.ndarray:
    if protocol.align and len(predicted):
        predicted = procrustes_aligned(predicted, target)
    if protocol.zero_pelvis:
        predicted = predicted.copy()
        predicted[:, PELVIS] = 0
    return predicted


def mpi_inf_3dhp_protocols_as_text() -> str:
    """Every protocol of the family with every switch, for a reader."""
    described = [protocol.describe() for protocol in TEST_PROTOCOLS.values()]
    return "\n\n".join(
        "\n".join([switches.pop("name"), *(f"  {switch:22} {value}" for switch, value in switches.items())])
        for switches in described
    )
