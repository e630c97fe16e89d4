"""The npz files that lifting papers pass on, `data_train_3dhp.npz` and `data_test_3dhp.npz`, from the annotations.

One pickled dict under the key `data`; `univ_annot3`, absolute, mm; pixels of the whole image and, for Context-Aware
PoseFormer, of its crops (P-STMO's and PoseFormerV2's files lack them). Rows are not cut to the videos' lengths.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.positions_npz import write_object_member
from h36m_toolbox.jobs import Jobs, map_in_order
from h36m_toolbox.mpi_inf_3dhp.annotations import read_test_annotations
from h36m_toolbox.mpi_inf_3dhp.archive import Archive, TestSequence, TrainSequence
from h36m_toolbox.mpi_inf_3dhp.crops import crop_affines, crop_camera, crop_camera_of_test_set, crop_coordinates
from h36m_toolbox.mpi_inf_3dhp.sequences import CAMERA_SETS, TRAIN_RECORDINGS
from h36m_toolbox.mpi_inf_3dhp.views import prepared_path, read_views
from h36m_toolbox.skeletons import MPI_INF_3DHP_17, MPI_INF_3DHP_28
from h36m_toolbox.storage.files import written_whole
from h36m_toolbox.storage.pickle_stream import pickled_part

# `data_2d_crop` by the camera's number, as the pictures are cut; by its place in the list, as published; or not at all.
CROPS = ("corrected", "published", "none")


def lifting_npz_path(data: Path, split: str) -> Path:
    """Where the npz file of "train" or "test" lies in a DATA folder."""
    return prepared_path(data, "labels", "lifting", f"data_{split}_3dhp.npz")


def write_lifting_npz(
    archive: Archive,
    path: Path,
    split: str,
    crops: str = "corrected",
    jobs: Jobs = 1,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Write the npz file of a split, sequence by sequence, whole or not at all; the number of sequences.

    Training has the eight default cameras. With `crops="published"` values equal those of the published script. Raises
    H36MError for damaged annotations or an archive without the split.
    """
    if crops not in CROPS:
        raise H36MError(f"no crops {crops!r}; there are {', '.join(CROPS)}")
    work: list[Any] = list(archive.train if split == "train" else archive.test)
    if not work:
        raise H36MError(f"{archive.root}: has no sequence of the {split} set of MPI-INF-3DHP")
    make = partial(_train_entry if split == "train" else _test_entry, crops)
    entries = _reported(work, map_in_order(make, work, jobs), progress)
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        write_object_member(file, "data", _pickled_dict(entries))
    return len(work)


def _reported(
    work: list[Any], streams: Iterable[bytes], progress: Callable[[str], None] | None
) -> Iterator[tuple[str, bytes]]:
    for sequence, stream in zip(work, streams, strict=True):
        if progress:
            progress(sequence.name)
        yield sequence.name.replace("/", " "), stream


def _pickled_dict(entries: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    yield pickle.EMPTY_DICT
    for name, stream in entries:
        yield pickled_part([name]).stream + stream + pickle.SETITEM


def _train_entry(crops: str, sequence: TrainSequence) -> bytes:
    views = {}
    for camera, view in read_views(sequence, CAMERA_SETS["vnect"]).views.items():
        image, universal = (
            MPI_INF_3DHP_28.select(array, MPI_INF_3DHP_17.joints) for array in (view.image, view.universal)
        )
        views[str(camera)] = _arrays(image, universal, crops, crop_camera(camera, by_place=crops == "published"))
    return pickled_part([[views, TRAIN_RECORDINGS[sequence.name].fps]]).stream


def _test_entry(crops: str, sequence: TestSequence) -> bytes:
    found = read_test_annotations(sequence.annotations, sequence.name)
    arrays = _arrays(found.image, found.universal, crops, crop_camera_of_test_set(sequence.name))
    return pickled_part([{**arrays, "valid": found.valid.astype(np.float64)}]).stream


def _arrays(image: np.ndarray, universal: np.ndarray, crops: str, camera: Camera) -> dict[str, np.ndarray]:
    cropped = {} if crops == "none" else {"data_2d_crop": crop_coordinates(crop_affines(camera, universal), image)}
    return {"data_2d": image, **cropped, "data_3d": universal}
