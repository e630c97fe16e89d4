"""COCO's people from `annotations/person_keypoints_<set>.json`: 2D joints in 17 places.

Facts from github.com/JimmySuen/integral-human-pose; the format is described at https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_datasets.people import COCO_17, People, converted
from h36m_toolbox.pose_datasets.person_boxes import shaped_boxes

_LEAST_JOINTS = 2


def read_coco_people(path: Path, images: Path, aspect: float) -> People:
    """The people of a keypoints file, with boxes of `aspect` around the annotated ones; `images` is their folder.

    Left out, as officially: crowds, people without area or with a box outside their image, and people with fewer than
    two labelled joints. A labelled joint counts whether it is seen or hidden. Raises H36MError for another file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
        order = {number: place for place, number in enumerate(sorted(sizes))}
        kept = [
            (person["image_id"], box, person["keypoints"])
            for person in sorted(content["annotations"], key=lambda person: order[person["image_id"]])
            if (box := _usable_box(person, sizes[person["image_id"]])) is not None
        ]
        points = np.array([keypoints for _, _, keypoints in kept], np.float64).reshape(-1, len(COCO_17), 3)
    except (ValueError, KeyError, TypeError) as error:
        raise H36MError(
            f"{path}: no COCO keypoints file ({type(error).__name__}: {error}); expected "
            "annotations/person_keypoints_train2017.json of COCO's trainval annotations"
        ) from error
    corners = np.array([box for _, box, _ in kept], np.float64).reshape(-1, 4)
    labelled = (points[..., 2:] > 0).astype(np.float64)
    joints = np.concatenate([points[..., :2] * labelled, np.zeros_like(labelled)], axis=2)
    weights = np.concatenate([labelled, labelled, np.zeros_like(labelled)], axis=2)
    return People(
        tuple(images / f"{number:012d}.jpg" for number, _, _ in kept),
        shaped_boxes(corners[:, :2] + corners[:, 2:] / 2, corners[:, 2:], aspect),
        *converted(joints, weights, COCO_17),
    )


def _usable_box(person: dict[str, Any], size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Left, top, width, height within the image; None for a person that is not learned from."""
    x, y, width, height = person["bbox"]
    left, top = max(0, x), max(0, y)
    right = min(size[0] - 1, left + max(0, width - 1))
    bottom = min(size[1] - 1, top + max(0, height - 1))
    keypoints = person["keypoints"]
    labelled = sum(flag > 0 for flag in keypoints[2::3])
    if person["iscrowd"] or person["area"] <= 0 or right < left or bottom < top or not any(keypoints):
        return None
    return (left, top, right - left, bottom - top) if labelled >= _LEAST_JOINTS else None
