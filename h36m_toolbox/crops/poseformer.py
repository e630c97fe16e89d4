"""Context-Aware PoseFormer's crops: 192x256 px around the true root, of frames as filmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.crops.making import SequenceBoxes
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.imports import column_values
from h36m_toolbox.formats.poseformer_inputs import inputs_path
from h36m_toolbox.frames.crops import POSEFORMER_SIZE, Box, BoxGeometry, box_geometry, poseformer_boxes
from h36m_toolbox.frames.stores import Frames, FrameStore
from h36m_toolbox.labels import label_sequences, labels_path
from h36m_toolbox.pose_parquet import pose_row_groups
from h36m_toolbox.pose_tables import pose_array, pose_field, sequence_codes, sequence_of_code
from h36m_toolbox.sequences import SPLITS, SUBJECTS
from h36m_toolbox.skeletons import H36M_17

POSEFORMER_CROPS = FrameStore(crop=f"poseformer-{POSEFORMER_SIZE[0]}x{POSEFORMER_SIZE[1]}", lossless=True)


def labelled_boxes(data: Path, split: str) -> Iterator[SequenceBoxes]:
    """The boxes of a split's labelled frames, sequence after sequence, as `poseformer_data.rows_of_data` has them.

    They are those of the official pickles where DATA was made from these. Raises as `read_labels`.
    """
    official = inputs_path(data, split)
    if official.is_file():
        for table in pose_row_groups(official, ["center", "scale"]):
            centers, scales = column_values(table, "center"), column_values(table, "scale")
            geometry = BoxGeometry(np.empty((len(table), 0)), centers, scales)
            sequence = sequence_of_code(int(sequence_codes(table.slice(0, 1))[0]))
            yield SequenceBoxes(sequence, table.column("frame").to_numpy(), poseformer_boxes(geometry))
        return
    for sequence, table in label_sequences(data, split, ["joints_3d_camera"]):
        skeleton = pose_field(table.schema, "joints_3d_camera").skeleton
        roots = skeleton.select(pose_array(table, "joints_3d_camera"), H36M_17.joints[:1])[:, 0]
        geometry = box_geometry(h36m_camera(sequence.subject, sequence.camera), roots)
        yield SequenceBoxes(sequence, table.column("frame").to_numpy(), poseformer_boxes(geometry))


def boxes_of_data(data: Path, subjects: tuple[str, ...] = SUBJECTS) -> list[SequenceBoxes]:
    """The boxes of these subjects' labelled frames. Raises H36MError where DATA has no labels of them."""
    splits = [split for split, members in SPLITS.items() if set(members) & set(subjects)]
    there = [split for split in splits if labels_path(data, split).is_file()] or splits[:1]
    if not there:
        raise H36MError(f"no subjects {', '.join(subjects)}; there are {', '.join(SUBJECTS)}")
    found = [each for split in there for each in labelled_boxes(data, split) if each.sequence.subject in subjects]
    if not found:
        raise H36MError(f"{data}: has no labels of {', '.join(subjects)}; run `h36m labels RAW --out {data}` first")
    return found


def cutter(frames: Frames) -> Callable[[int, Box], np.ndarray]:
    """What cuts these frames: from a frame (from 0) and its box to the official crop (256, 192, 3), uint8 RGB."""
    return partial(frames.crop, size=POSEFORMER_SIZE)
