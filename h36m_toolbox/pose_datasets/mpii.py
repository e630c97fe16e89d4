"""MPII's people from `annot/{train,valid}.json`, the lists of the simple-baselines code: 2D joints in 16 places.

Facts from github.com/JimmySuen/integral-human-pose. All numbers in the file count from 1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.people import MPII_16, People, converted
from h36m_toolbox.pose_datasets.person_boxes import MARGIN, tight_boxes

_PERSON_PX = 200  # MPII's `scale` is a person's height over this
_LOWERED_PX = 15  # the boxes are moved down by so much times the scale


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class MpiiAnnotations:
    """A list of people; coordinates from 0, px."""

    images: tuple[str, ...]  # file names
    centers: np.ndarray  # (people, 2)
    scales: np.ndarray  # (people,)
    joints: np.ndarray  # (people, 16, 2), MPII_16
    visible: np.ndarray  # (people, 16), 0 or 1


def read_mpii(path: Path) -> MpiiAnnotations:
    """Read a list; H36MError for anything that is not one."""
    try:
        people = json.loads(path.read_text(encoding="utf-8"))
        joints = np.array([person["joints"] for person in people], np.float64)
        visible = np.array([person["joints_vis"] for person in people], np.float64)
        centers = np.array([person["center"] for person in people], np.float64)
        scales = np.array([person["scale"] for person in people], np.float64)
        images = tuple(str(person["image"]) for person in people)
    except (ValueError, KeyError, TypeError) as error:
        raise _unlike(path, f"{type(error).__name__}: {error}") from error
    shapes = (joints.shape[1:], visible.shape[1:], centers.shape[1:], scales.shape[1:])
    if not people or shapes != ((16, 2), (16,), (2,), ()):
        raise _unlike(path, f"{len(people)} people with arrays of {shapes}")
    return MpiiAnnotations(images, centers - 1, scales, joints - 1, visible)


def _unlike(path: Path, found: Any) -> H36MError:
    return H36MError(
        f"{path}: no list of MPII's people ({found}); expected image, center, scale, 16 joints and joints_vis for "
        "each, as in the simple-baselines package"
    )


def mpii_people(annotations: MpiiAnnotations, images: Path, aspect: float, tight: bool = True) -> People:
    """The people as integral regression takes them; `images` is the folder of the images, `aspect` a patch's shape.

    `tight`: boxes around the visible joints, without people that have fewer than two; otherwise MPII's own centre and
    scale, as the program for Human3.6M takes them, which wants patches no wider than high.
    """
    kept = annotations.visible.sum(axis=1) >= 2 if tight else np.ones(len(annotations.images), bool)
    joints, visible = annotations.joints[kept], annotations.visible[kept]
    if tight:
        boxes = tight_boxes(joints, visible, aspect)
        boxes[:, :2] = boxes[:, :2].astype(np.float32)  # as officially
    else:
        boxes = _scale_boxes(annotations, aspect)
    deep = np.concatenate([joints, np.zeros_like(joints[..., :1])], axis=2)
    weights = np.concatenate([np.repeat(visible[..., None], 2, axis=2), np.zeros_like(visible[..., None])], axis=2)
    names = (name for name, keep in zip(annotations.images, kept, strict=True) if keep)
    return People(tuple(images / name for name in names), boxes, *converted(deep, weights, MPII_16))


def _scale_boxes(annotations: MpiiAnnotations, aspect: float) -> np.ndarray:
    if aspect > 1:
        raise H36MError(f"boxes from MPII's centre and scale are no wider than high; the patch is {aspect:.3g} wide")
    height = annotations.scales * MARGIN * _PERSON_PX
    centers = annotations.centers + annotations.scales[:, None] * (0, _LOWERED_PX)
    return np.concatenate([centers, np.stack([height * aspect, height], axis=1)], axis=1)
