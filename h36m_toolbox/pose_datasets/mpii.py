"""MPII's people: 2D joints in 16 places, from the lists of the simple-baselines code or from MPII's own .mat.

The lists are `annot/{train,valid}.json`; facts from github.com/JimmySuen/integral-human-pose. The .mat is
`mpii_human_pose_v1_u12_1.mat`, structs in structs. All numbers in the files count from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.people import MPII_16, People, converted
from h36m_toolbox.pose_datasets.person_boxes import MARGIN, tight_boxes

_PERSON_PX = 200  # MPII's `scale` is a person's height over this
_LOWERED_PX = 15  # the boxes are moved down by so much times the scale


MATLAB_NAME = "mpii_human_pose_v1_u12_1.mat"
_JOINTS = 16


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


def mpii_annotations(folder: Path) -> MpiiAnnotations:
    """The people to learn from in MPII's folder: of `annot/train.json`, or of the .mat where there is no such list.

    The list leaves out what its makers kept for validation, the .mat has everybody of MPII's own training images. The
    .mat is looked for in `folder` and in `folder/annot`. Raises H36MError where there is neither.
    """
    listed = folder / "annot" / "train.json"
    found = [path for path in (folder / MATLAB_NAME, folder / "annot" / MATLAB_NAME) if path.is_file()]
    if listed.is_file():
        return read_mpii(listed)
    if not found:
        raise H36MError(f"{listed}: No such file, and no {MATLAB_NAME} in {folder}; give MPII's folder")
    return read_mpii_matlab(found[0])


def read_mpii_matlab(path: Path) -> MpiiAnnotations:
    """Everybody with joints, a centre and a scale in the training images of MPII's own .mat, in its order.

    A joint that is annotated counts as visible, occluded or not; others are at (-1, -1).
    Raises H36MError for a file that is damaged or laid out otherwise.
    """
    try:
        release = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)["RELEASE"]
        trained = np.atleast_1d(release.img_train)
        people = [
            (str(image.image.name), *person)
            for image, learnt in zip(np.atleast_1d(release.annolist), trained, strict=True)
            if learnt
            for person in _matlab_people(image)
        ]
    except Exception as error:  # on damage scipy's reader raises almost anything
        raise H36MError(
            f"{path}: no annotations of MPII ({type(error).__name__}: {error}); expected RELEASE with annolist and "
            f"img_train, as in {MATLAB_NAME}"
        ) from error
    if not people:
        raise H36MError(f"{path}: nobody with joints in its training images; get the file again")
    images, centers, scales, joints, visible = zip(*people, strict=True)
    return MpiiAnnotations(images, np.stack(centers) - 1, np.array(scales), np.stack(joints) - 1, np.stack(visible))


def _matlab_people(image: Any) -> Iterator[tuple[np.ndarray, float, np.ndarray, np.ndarray]]:
    """Centre, scale, joints, visible of each person of an image who has them all; numbers from 1."""
    for person in np.atleast_1d(getattr(image, "annorect", ())):
        place: Any = getattr(person, "objpos", None)
        scale: Any = getattr(person, "scale", ())
        points: Any = getattr(getattr(person, "annopoints", None), "point", ())
        if not hasattr(place, "x") or not np.size(scale) or not np.size(points):
            continue  # an empty field: a head box or a person without annotation
        joints, visible = np.zeros((_JOINTS, 2)), np.zeros(_JOINTS)
        for point in np.atleast_1d(points):
            joints[int(point.id)], visible[int(point.id)] = (point.x, point.y), 1
        yield np.array([place.x, place.y], np.float64), float(scale), joints, visible


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
