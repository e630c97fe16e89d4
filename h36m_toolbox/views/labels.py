"""The multi-view label table read: instants with world poses, a box in every view, and the calibration.

`human36m-multiview-labels-GTbboxes.npy`, ours or an official one. How it is made: `formats.multiview`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.multiview import CAMERA_DTYPE, LABELS_NAME, label_table_path
from h36m_toolbox.known_bad import DISPLACED_RECORDINGS
from h36m_toolbox.pelvis.estimates import recording_code
from h36m_toolbox.pose_tables import sequence_of_code
from h36m_toolbox.sequences import CAMERA_IDS, SPLITS, Recording, Sequence
from h36m_toolbox.skeletons import MULTIVIEW_17
from h36m_toolbox.storage.safe_pickle import read_object_npy

_PARTS = ("subject_names", "camera_names", "action_names", "cameras", "table")


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class MultiviewLabels:
    """Instants in the order of a label table; cameras in the order of `sequences.CAMERA_IDS`."""

    path: Path
    keys: np.ndarray  # (instants,), as pelvis.instant_keys
    joints_3d: np.ndarray  # (instants, 17, 3), world, mm, float32, MULTIVIEW_17
    boxes: np.ndarray  # (instants, cameras, 4), left top right bottom, px int64; all 0: no such view
    calibrations: np.ndarray  # (subjects, cameras) formats.multiview.CAMERA_DTYPE
    subjects: np.ndarray  # (instants,), rows of `calibrations`

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def seen(self) -> np.ndarray:
        """Which views have a box: (instants, cameras)."""
        return np.asarray(self.boxes.any(axis=2))

    def of_split(self, split: str) -> np.ndarray:
        """The places (instants,) of a split's subjects."""
        codes, places = np.unique(self.keys >> 32, return_inverse=True)
        mine = [sequence_of_code(code << 4).subject in SPLITS[split] for code in codes.tolist()]
        return np.flatnonzero(np.array(mine, bool)[places])

    def taken(self, instants: np.ndarray) -> MultiviewLabels:
        """These instants only, by index or mask."""
        columns = ("keys", "joints_3d", "boxes", "subjects")
        return replace(self, **{name: getattr(self, name)[instants] for name in columns})

    def recording(self, instant: int) -> Recording:
        """What an instant is of."""
        return sequence_of_code(int(self.keys[instant] >> 32) << 4).recording

    def frame(self, instant: int) -> int:
        """The frame of an instant, from 0."""
        return int(self.keys[instant] & 0xFFFFFFFF)

    @property
    def frames(self) -> np.ndarray:
        """The frame of each instant, from 0: (instants,)."""
        return np.asarray(self.keys & 0xFFFFFFFF)

    @property
    def view_keys(self) -> np.ndarray:
        """The pose_tables.row_keys of every view, there or not: (instants, cameras)."""
        codes = (self.keys >> 32)[:, None] << 4 | np.arange(len(CAMERA_IDS))
        return np.asarray(codes << 32 | self.frames[:, None])

    @property
    def displaced(self) -> np.ndarray:
        """Which instants are of the three recordings of S9 whose ground truth is displaced: (instants,)."""
        return np.isin(self.keys >> 32, [recording_code(recording) for recording in DISPLACED_RECORDINGS])

    def rows_of_views(self) -> Iterator[tuple[Sequence, np.ndarray]]:
        """Each view that has boxes, and the instants (n,) that have one."""
        codes, seen = self.keys >> 32, self.seen
        for code in dict.fromkeys(codes.tolist()):
            rows = np.flatnonzero(codes == code)
            for camera, view in enumerate(self.recording(int(rows[0])).views):
                there = rows[seen[rows, camera]]
                if len(there):
                    yield view, there


def read_multiview_labels(data: Path, split: str, path: Path | None = None) -> MultiviewLabels:
    """The instants of a split in DATA's label table or in the one at `path`; nothing in the file is run.

    Raises H36MError for a file that is missing, damaged, no such table, or has nothing of the split.
    """
    path = path or label_table_path(data)
    if not path.is_file():
        raise H36MError(
            f"{path}: no multi-view label table, from which boxes and cameras come; write it with "
            f"`h36m labels RAW --out {data} --format multiview`, or give one with --labels"
        )
    whole = read_label_table(path)
    mine = whole.of_split(split)
    if not len(mine):
        raise H36MError(
            f"{whole.path}: has no instants of {', '.join(SPLITS[split])}; make it with those subjects by `h36m labels "
            f"RAW --out {data} --format multiview`"
        )
    return whole.taken(mine)


def read_label_table(path: Path) -> MultiviewLabels:
    """All instants of a label table, of both splits; nothing in the file is run.

    Raises H36MError for a file that is missing, damaged or no such table.
    """
    if not path.is_file():
        raise H36MError(
            f"{path}: no multi-view label table, by which the rows of a results pickle count; "
            "write it with `h36m labels RAW --out DATA --format multiview`, or give one with --labels"
        )
    content = read_object_npy(path)
    lacking = [name for name in _PARTS if not isinstance(content, dict) or name not in content]
    if lacking:
        raise H36MError(f"{path}: no multi-view label table, it lacks {', '.join(lacking)}; expected {LABELS_NAME}")
    try:
        return _labels(path, content)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise H36MError(f"{path}: its table cannot be understood ({error}); expected {LABELS_NAME}") from error


def _labels(path: Path, content: dict[str, np.ndarray]) -> MultiviewLabels:
    table, cameras = content["table"], content["cameras"]
    if tuple(map(str, content["camera_names"])) != CAMERA_IDS:
        raise ValueError(f"its cameras are {', '.join(content['camera_names'])}, expected {', '.join(CAMERA_IDS)}")
    calibrations = np.zeros((len(content["subject_names"]), len(CAMERA_IDS)), CAMERA_DTYPE)
    for name in CAMERA_DTYPE.names or ():
        calibrations[name] = cameras[name]
    takes = np.stack([table["subject_idx"], table["action_idx"]], axis=-1).astype(int)
    if (takes < 0).any() or (table["frame_idx"] < 0).any():
        raise ValueError("subjects, actions or frames are counted from below 0")
    codes = np.zeros(len(table), np.int64)
    for subject, action in np.unique(takes, axis=0):
        name, subaction = str(content["action_names"][action]).rsplit("-", 1)
        recording = Recording(str(content["subject_names"][subject]), name, int(subaction))
        codes[(takes == (subject, action)).all(axis=1)] = recording_code(recording)
    poses = np.asarray(table["keypoints"], np.float32)
    top_left_bottom_right = table["bbox_by_camera_tlbr"].astype(np.int64)
    if poses.shape[1:] != (len(MULTIVIEW_17), 3) or top_left_bottom_right.shape[1:] != (len(CAMERA_IDS), 4):
        raise ValueError(f"poses have shape {poses.shape}, boxes {top_left_bottom_right.shape}")
    return MultiviewLabels(
        path=path,
        keys=codes << 32 | table["frame_idx"].astype(np.int64),
        joints_3d=poses,
        boxes=top_left_bottom_right[..., [1, 0, 3, 2]],
        calibrations=calibrations,
        subjects=takes[:, 0],
    )
