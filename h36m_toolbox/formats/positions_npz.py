"""VideoPose3D's npz of positions, written recording by recording: a pickled dict by subject and canonical name.

Others load the file whole, with numpy 1 or 2; we never hold it whole.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.detections.bundles import GROUND_TRUTH, bundled_skeleton, detections_path, read_sequence_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS, Recording, Sequence
from h36m_toolbox.skeletons import H36M_17
from h36m_toolbox.storage.files import written_whole
from h36m_toolbox.storage.pickle_stream import PICKLE_HEADER, pickled_part


def write_positions_npz(
    path: Path, key: str, entries: Iterable[tuple[Recording, bytes]], further: dict[str, Any]
) -> None:
    """Write `key`[subject][canonical name] = value, and `further` objects by name, whole or not at all.

    `entries` are recordings, each once and those of a subject together, with the stream of their value's
    `pickled_part`. Subjects without entries have empty dicts, as officially.
    """
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        write_object_member(archive, key, _nested_dict(entries))
        for name, value in further.items():
            write_object_member(archive, name, [pickled_part([value]).stream])


def _nested_dict(entries: Iterable[tuple[Recording, bytes]]) -> Iterator[bytes]:
    """The pickled dict subject -> canonical name -> value, piece by piece."""
    yield pickle.EMPTY_DICT
    for subject in SUBJECTS:  # a later value takes the place of the empty one, in the same order
        yield pickled_part([subject]).stream + pickle.EMPTY_DICT + pickle.SETITEM
    for subject, group in groupby(entries, lambda entry: entry[0].subject):
        yield pickled_part([subject]).stream + pickle.EMPTY_DICT
        for recording, stream in group:
            yield pickled_part([recording.canonical_name]).stream + stream + pickle.SETITEM
        yield pickle.SETITEM


def write_object_member(archive: zipfile.ZipFile, name: str, value: Iterable[bytes]) -> None:
    """One member of the npz: an array without dimensions whose only element is the pickled `value`."""
    before, after = _around_element()
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": ()})
        member.write(PICKLE_HEADER + before)
        for piece in value:
            member.write(piece)
        member.write(after + pickle.STOP)


def _around_element() -> tuple[bytes, bytes]:
    """What the pickle of an object array without dimensions has before and after its element."""
    element = "the element"
    stream = pickled_part([np.array(element, dtype=object)]).stream
    before, after = stream.split(pickle.BINUNICODE + len(element).to_bytes(4, "little") + element.encode())
    return before, after


def positions_2d_path(data: Path, name: str) -> Path:
    """Where `h36m detections --npz NAME` writes; H36MError for a path in place of a name."""
    return detections_path(data, name).with_name(f"data_2d_h36m_{name}.npz")


def write_positions_2d(data: Path, name: str, path: Path, progress: Callable[[Sequence], None] | None = None) -> int:
    """Write the detections called `name` as VideoPose3D's `data_2d_h36m_*.npz`; the number of sequences.

    `positions_2d[subject][canonical name]` is a list of four float32 (frames, joints, 2), px, None where a view has no
    detections; values, joint order and lengths are those of the bundle. Streamed, arrives whole or not at all, readable
    with numpy 1 and 2. Raises H36MError where there are no such detections or their file is damaged.
    """
    skeleton = bundled_skeleton(data, name)
    count, seen = 0, set[Recording]()

    def entries() -> Iterator[tuple[Recording, bytes]]:
        nonlocal count
        for recording, group in groupby(read_sequence_detections(data, name), lambda item: item.sequence.recording):
            views: dict[str, np.ndarray] = {}
            for item in group:
                views[item.sequence.camera] = item.joints_2d
                if progress:
                    progress(item.sequence)
            if recording in seen:
                where = detections_path(data, name)
                raise H36MError(f"{where}: {recording.subject}/{recording.stem} is in two places; bundle it again")
            seen.add(recording)
            count += len(views)
            yield recording, pickled_part([[views.get(camera) for camera in CAMERA_IDS]]).stream

    # Sorted, as officially: for the hourglass VideoPose3D's flip thus pairs LHip with RFoot.
    metadata = {
        **({"layout_name": "h36m"} if skeleton == H36M_17 and name != GROUND_TRUTH.name else {}),
        "num_joints": len(skeleton),
        "keypoints_symmetry": [sorted(skeleton.left), sorted(skeleton.right)],
    }
    write_positions_npz(path, "positions_2d", entries(), {"metadata": metadata})
    return count
