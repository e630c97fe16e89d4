"""h36m-fetch's choice of frames ("protocol 2" in its code), which ContextPose and learnable triangulation inherit."""

from __future__ import annotations

import numpy as np

from h36m_toolbox.poses import SequencePoses
from h36m_toolbox.sequences import TEST_SUBJECTS

TEST_STEP = 64
MOVED_MM = 40.0
_BLOCK = 64  # frames compared at a time; at 50 Hz someone usually moves 40 mm within a few


def in_h36m_fetch(poses: SequencePoses) -> np.ndarray:
    """Whether h36m-fetch keeps each frame (frames,) that all pose arrays of a sequence have."""
    return kept_by_h36m_fetch(poses.sequence.subject, poses.universal_poses()[: poses.frames])


def kept_by_h36m_fetch(subject: str, universal: np.ndarray, test_step: int = TEST_STEP) -> np.ndarray:
    """Whether h36m-fetch keeps each frame (frames,) of a view with these universal poses (frames, 32, 3), mm float32.

    Test subjects: every 64th frame from the first. Training subjects: the first frame, then each frame in which some
    joint of the 32 is 40 mm or more from where it was in the last kept frame (translation included).
    """
    if subject in TEST_SUBJECTS:
        return np.arange(len(universal)) % test_step == 0
    return moved(universal, MOVED_MM)


def moved(poses: np.ndarray, distance: float) -> np.ndarray:
    """Greedy choice among float32 poses (frames, joints, 3): the first, then each that moved since the last chosen."""
    chosen = np.zeros(len(poses), bool)
    last = 0
    while last < len(poses):
        chosen[last] = True
        last = _next_moved(poses, last, np.float32(distance) ** 2)
    return chosen


def _next_moved(poses: np.ndarray, last: int, squared: np.float32) -> int:
    for start in range(last + 1, len(poses), _BLOCK):
        block = poses[start : start + _BLOCK] - poses[last]
        far = ~(np.square(block).sum(axis=-1) < squared).all(axis=-1)  # the official test is "not nearer than"
        if far.any():
            return start + int(far.argmax())
    return len(poses)
