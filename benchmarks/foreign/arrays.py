"""Arrays of poses: npy and npz files in the order of the labels, or one array a sequence, or VideoPose3D's positions.

- One array (n, joints, 3): its rows are stated frames, in the order of the label table (subject, action, sub-action,
  camera, frame).
- An npz of several, named by sequence: `S9/Directions 1.54138969` or `s_09_act_02_subact_01_ca_01`.
- `positions_3d`, a dict subject -> action -> array, or list of four arrays, one a camera, None where there is none
  (facebookresearch/VideoPose3D): metres. The same dict as all there is, in a pickle or an npy, has no unit of its own.

An array without a camera is one of world poses and stands for every view of its recording. An npz may state `joints`,
`unit`, `root` and `coordinates` as strings beside its arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.benchmarks.foreign.poses import (
    FRAME_BITS,
    Facts,
    ForeignPoses,
    LabelledFrames,
    checked_poses,
    recording_named,
    row_keys_of,
    views_named,
)
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import sequence_code
from h36m_toolbox.sequences import CAMERA_IDS, SPLITS, Recording, Sequence

_FACTS = tuple(field.name for field in fields(Facts))
_BESIDE = (*_FACTS, "metadata")  # what stands beside the poses in an npz


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _Entry:
    """One array of a file: (frames, joints, 3) of a recording, as one camera sees it or in the world (None)."""

    recording: Recording
    camera: str | None
    poses: np.ndarray
    where: str


def poses_of_arrays(path: Path, values: dict[str, Any], labelled: LabelledFrames, frames: str) -> ForeignPoses:
    """The poses of an npz's or npy's content by name; `frames` as in `Statement`, "" where nothing was said.

    A single array must say which frames its rows are, arrays of sequences have every labelled frame unless said
    otherwise. Raises H36MError for arrays of another shape or length, unknown names, and different numbers of joints.
    """
    says = Facts(**{name: _word(path, name, values[name]) for name in _FACTS if name in values})
    arrays = {name: value for name, value in values.items() if name not in _BESIDE}
    if arrays and all(isinstance(value, dict) for value in arrays.values()) and "positions_3d" not in arrays:
        return _of_entries(path, "dict by subject", list(_positions(path, arrays)), labelled, frames, says)
    if "positions_3d" in arrays:
        entries = list(_positions(path, arrays["positions_3d"]))
        return _of_entries(path, "positions_3d", entries, labelled, frames, says)
    if len(arrays) == 1 and not views_named(next(iter(arrays))):
        return _in_label_order(path, next(iter(arrays.values())), labelled, frames, says)
    return _of_entries(path, "arrays by sequence", list(_named(path, arrays)), labelled, frames, says)


def _word(path: Path, name: str, value: Any) -> str:
    if isinstance(value, str) or (isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind == "U"):
        return str(value)
    raise H36MError(f"{path}: {name} is no string; expected one word, such as np.array('mm') for the unit")


def _in_label_order(path: Path, value: Any, labelled: LabelledFrames, frames: str, says: Facts) -> ForeignPoses:
    poses = checked_poses(value, str(path))
    if not frames:
        raise H36MError(
            f"{path}: an array of {len(poses)} poses does not say which frames they are; if its rows are in the order "
            "of the label table (subject, action, sub-action, camera, frame), say of which frames with --frames: "
            f"{_choices(labelled)}"
        )
    keys = labelled.chosen(frames)
    if len(poses) != len(keys):
        raise H36MError(
            f"{path}: {len(poses)} poses, but --frames {frames} are {len(keys)} frames of the {labelled.split} labels; "
            f"expected a row for each of {_choices(labelled)}"
        )
    return ForeignPoses(f"array in label order, frames {frames}", keys, poses, says)


def _choices(labelled: LabelledFrames) -> str:
    scored = () if labelled.scored is None else (f"scored ({len(labelled.scored)})",)
    every_64th = len(labelled.chosen("64"))
    return ", ".join((*scored, f"all ({len(labelled.all)})", f"or every N-th, such as 64 ({every_64th})"))


def _named(path: Path, arrays: dict[str, Any]) -> Iterator[_Entry]:
    for name, value in arrays.items():
        known = views_named(name)
        if known is None:
            raise H36MError(
                f"{path}: the array {name!r} is called after no sequence; expected positions_3d, a single array, or "
                "names such as 'S9/Directions 1.54138969', 's_09_act_02_subact_01_ca_01'"
            )
        yield _Entry(*known, checked_poses(value, f"{path}: {name}"), name)


def _positions(path: Path, positions: Any) -> Iterator[_Entry]:
    if not isinstance(positions, dict) or not all(isinstance(actions, dict) for actions in positions.values()):
        raise H36MError(f"{path}: positions_3d is no dict of subjects with dicts of actions, as VideoPose3D writes it")
    for subject, actions in positions.items():
        for name, value in actions.items():
            where = f"{path}: {subject} {name}"
            recording = recording_named(str(subject), str(name))
            if recording is None:
                raise H36MError(f"{where}: Human3.6M has no such recording; expected names such as S9, 'Directions 1'")
            several = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype.hasobject)
            if not several:
                yield _Entry(recording, None, checked_poses(value, where), where)
                continue
            if len(value) != len(CAMERA_IDS):
                raise H36MError(f"{where}: {len(value)} views; expected {len(CAMERA_IDS)}, None where there is none")
            for camera, view in zip(CAMERA_IDS, value, strict=True):
                if view is not None:
                    yield _Entry(recording, camera, checked_poses(view, f"{where} {camera}"), where)


def _of_entries(
    path: Path, layout: str, entries: list[_Entry], labelled: LabelledFrames, frames: str, says: Facts
) -> ForeignPoses:
    subjects = SPLITS[labelled.split]
    kept = [entry for entry in entries if entry.recording.subject in subjects]
    if not kept:
        found = ", ".join(sorted({entry.recording.subject for entry in entries})) or "no arrays"
        raise H36MError(f"{path}: holds {found}; the {labelled.split} split has {', '.join(subjects)}")
    in_world = {entry.camera is None for entry in kept}
    counts = sorted({entry.poses.shape[1] for entry in kept})
    if len(in_world) > 1 or len(counts) > 1:
        what = f"{' and '.join(map(str, counts))} joints" if len(counts) > 1 else "some arrays a camera and some none"
        raise H36MError(f"{path}: its sequences have {what}; expected one kind")
    by_sequence = _split_by_sequence(labelled.chosen(frames or "all"))
    views = [view for entry in kept for view in _views(entry, by_sequence)]
    keys = [_keys(path, entry, sequence, by_sequence, frames or "all") for entry, sequence in views]
    left_out = tuple(sorted({entry.recording.subject for entry in entries} - set(subjects)))
    usual = Facts(
        unit="m" if layout == "positions_3d" else "",
        coordinates="world" if in_world == {True} else "camera",
    )
    poses = np.concatenate([entry.poses for entry, _ in views])
    return ForeignPoses(layout, np.concatenate(keys), poses, says, usual, left_out)


def _split_by_sequence(keys: np.ndarray) -> dict[int, np.ndarray]:
    codes, starts = np.unique(keys >> FRAME_BITS, return_index=True)
    return dict(zip(codes.tolist(), np.split(keys, starts[1:]), strict=True))


def _views(entry: _Entry, by_sequence: dict[int, np.ndarray]) -> list[tuple[_Entry, Sequence]]:
    """The sequences that an array stands for: its own, or every labelled view of its recording."""
    if entry.camera is not None:
        return [(entry, entry.recording.view(entry.camera))]
    labelled = [view for view in entry.recording.views if sequence_code(view) in by_sequence]
    return [(entry, view) for view in labelled or entry.recording.views]


def _keys(path: Path, entry: _Entry, sequence: Sequence, by_sequence: dict[int, np.ndarray], frames: str) -> np.ndarray:
    """The keys of an array's rows; those of a sequence without labels count from 0, for the report to name them."""
    keys = by_sequence.get(sequence_code(sequence))
    if keys is None:
        return row_keys_of(sequence, np.arange(len(entry.poses)))
    if len(keys) != len(entry.poses):
        raise H36MError(
            f"{path}: {sequence} has {len(entry.poses)} poses, --frames {frames} are {len(keys)} of its labelled "
            "frames; expected a pose for each, so give --frames scored, all or N as it is meant, or a table with keys"
        )
    return keys
