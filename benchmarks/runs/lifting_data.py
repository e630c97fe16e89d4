"""The frames of DATA that a lifter learns from, with their 2D input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from h36m_toolbox.detections.bundles import match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.known_bad import S11_DIRECTIONS
from h36m_toolbox.labels import read_labels
from h36m_toolbox.pose_tables import SUBJECT_WORDS, sequence_codes, sequence_of_code, word_codes
from h36m_toolbox.sequences import ACTIONS, SPLITS, SUBJECTS
from h36m_toolbox.skeletons import Skeleton


@dataclass(frozen=True)
class FrameChoice:
    """Labelled frames: of these subjects and actions, each `every`-th of a sequence from its first."""

    subjects: tuple[str, ...]
    actions: tuple[str, ...] = ACTIONS
    every: int = 1

    def __post_init__(self) -> None:
        for asked, known in ((self.subjects, SUBJECTS), (self.actions, ACTIONS)):
            unknown = [word for word in asked if word not in known]
            if unknown or not asked:
                raise H36MError(f"unknown: {', '.join(unknown) or 'an empty list'}; there are {', '.join(known)}")


def chosen_frames(
    data: Path, frames: FrameChoice, detections: str, joints: Skeleton, column: str = "joints_3d_world"
) -> tuple[pa.Table, np.ndarray]:
    """Labels with a `column` of poses, and 2D poses (rows, joints, 2), px, of these frames.

    Without S11 Directions, which has no detections. Raises H36MError where there are no such labels, or detections lack
    some of them.
    """
    parts = []
    for split, subjects in SPLITS.items():
        if set(frames.subjects) & set(subjects):
            labels = read_labels(data, split, [column])
            parts.append(labels.take(np.flatnonzero(_is_chosen(labels, frames))))
    chosen = pa.concat_tables(parts)
    if not len(chosen):
        raise H36MError(f"{data}: no labels of {', '.join(frames.subjects)} with {', '.join(frames.actions)}")
    return chosen, match_detections(chosen, read_detections(data, detections), detections, joints.joints)


def _is_chosen(labels: pa.Table, frames: FrameChoice) -> np.ndarray:
    chosen = np.isin(word_codes(labels, "subject"), [SUBJECT_WORDS.index(subject) for subject in frames.subjects])
    chosen &= np.isin(word_codes(labels, "action"), [ACTIONS.index(action) for action in frames.actions])
    chosen &= labels.column("frame").to_numpy() % frames.every == 0
    codes, code_of_row = np.unique(sequence_codes(labels), return_inverse=True)
    dropped = [sequence_of_code(int(code)).recording == S11_DIRECTIONS for code in codes]
    return chosen & ~np.array(dropped, bool)[code_of_row]
