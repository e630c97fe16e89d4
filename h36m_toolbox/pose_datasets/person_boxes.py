"""Boxes around people as integral regression makes them: centre x, centre y, width, height, px, of a patch's shape.

Facts from github.com/JimmySuen/integral-human-pose.
"""

from __future__ import annotations

import numpy as np

from h36m_toolbox.errors import H36MError

MARGIN = 1.25
DETECTION_MARGIN = 1.1  # of the challenge's detector boxes
_FAR = 10_000  # no joint is looked for farther right or down than this
_NEAR = -1  # nor farther left or up


def shaped_boxes(centers: np.ndarray, sizes: np.ndarray, aspect: float, margin: float = MARGIN) -> np.ndarray:
    """Boxes (n, 4) about centres (n, 2) whose shorter side of sizes (n, 2) grows to `aspect` = width / height.

    Then both sides are multiplied by `margin`.
    """
    width, height = sizes[:, 0], sizes[:, 1]
    wide = width > aspect * height
    grown = np.stack([np.where(wide, width, height * aspect), np.where(wide, width / aspect, height)], axis=1)
    return np.concatenate([centers, grown * margin], axis=1)


def tight_boxes(points: np.ndarray, visible: np.ndarray, aspect: float) -> np.ndarray:
    """Boxes (n, 4) around the joints (n, joints, 2) that are visible (n, joints), shaped, times 1.25.

    Raises H36MError, with the first row, where a box has no width or height or its centre is left of pixel 1, as the
    official program stops there.
    """
    shown = visible[..., None] > 0
    low = np.minimum(np.where(shown, points, _FAR).min(axis=1), _FAR)
    high = np.maximum(np.where(shown, points, _NEAR).max(axis=1), _NEAR)
    centers, sizes = (low + high) / 2, high - low
    bad = (centers[:, 0] < 1) | (sizes <= 0).any(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise H36MError(
            f"{bad.sum()} of {len(points)} people have no box around their visible joints, the first is row {row} with "
            f"centre {centers[row].tolist()} and size {sizes[row].tolist()} px; leave such people out"
        )
    return shaped_boxes(centers, sizes, aspect)


def corner_boxes(corners: np.ndarray, aspect: float, margin: float = MARGIN) -> np.ndarray:
    """Shaped boxes (n, 4) of a detector's left, top, right, bottom (n, 4), px."""
    return shaped_boxes((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2], aspect, margin)


def window_boxes(roots: np.ndarray, focal: np.ndarray, principal: np.ndarray, window_mm: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) that show a window of `window_mm` (width, height) parallel to the image around camera-frame roots.

    `roots` (n, 3), mm: the true pelvis; `focal` and `principal` (2,) or (n, 2), px, of an ideal lens.
    """
    return np.concatenate([roots[:, :2] / roots[:, 2:] * focal + principal, focal * window_mm / roots[:, 2:]], axis=1)
