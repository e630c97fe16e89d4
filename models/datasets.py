"""A prepared DATA folder as a torch Dataset: one item a labelled frame, or an instant seen by all four cameras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import Dataset

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.detections.bundles import bundled_skeleton, match_detections, read_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.stores import Frames, FrameStore, making, open_frames, stored_frames
from h36m_toolbox.labels import label_sequences
from h36m_toolbox.limb_lengths import SELECTIONS
from h36m_toolbox.pose_tables import pose_array, pose_field, row_keys, sequence_of_code
from h36m_toolbox.sequences import CAMERA_IDS, Sequence
from h36m_toolbox.skeletons import H36M_16, H36M_17, Skeleton

Item = dict[str, Any]

TARGETS = ("joints_3d_camera", "joints_3d_world", "joints_3d_universal")
VIEWS = len(CAMERA_IDS)
_OPEN_SEQUENCES = 32  # a packed one keeps the row group it read last, some 4 MB
_CAMERA_FIELDS = tuple(field.name for field in fields(Camera) if field.name != "size")


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class _Rows:
    """Labelled frames, sorted by sequence and frame; or instants, their views in camera order."""

    keys: np.ndarray  # (rows,) pose_tables.row_keys; of instants those of their first view
    joints_2d: np.ndarray  # (rows, joints, 2) or (rows, views, joints, 2), px
    joints_3d: np.ndarray  # (rows, joints, 3), mm


class PoseDataset(Dataset[Item]):
    """Labelled frames of one split of DATA with 2D input, 3D target, camera, key and, if wanted, image.

    An item is a dict; J joints are those of `skeleton`, tensors are float32 unless said otherwise. In a multi-view item
    V is 4, in the order of `sequences.CAMERA_IDS`; in a single view the V stands for nothing.

    - `joints_2d` (V, J, 2): the detections called `detections`, px of the image as the item has it
    - `joints_3d` (J, 3): column `target` of the labels, mm; multi-view: in the world frame
    - `camera`: a dict of the fields of `h36m_toolbox.cameras.Camera`: `rotation` (V, 3, 3), `center` (V, 3) mm, `focal`
      and `principal` (V, 2) px, `radial` (V, 3), `tangential` (V, 2)
    - `key`: int, the `pose_tables.row_keys` of the frame, multi-view: in its first view
    - `image`, only with `store`: (3, height, width) uint8 RGB; multi-view: a tuple of four

    Without a store, or with whole frames, pixels hold the lens distortion. With undistorted or cropped frames pixels
    and camera are those of the undistorted or cropped image. Whole frames are 1000x1000 or 1000x1002 px, so a batch of
    several cameras needs crops or a `transform` (Item -> anything) that brings them to one size.

    Arrays lie in three tensors, which worker processes share and do not copy; frames are opened in the process that
    reads them. Items share the tensors of their camera: a transform makes new ones and changes none in place.
    `without_image` and `without_views` count labelled frames left out because the store has no such frame or because
    the instant is not seen by all four cameras.
    """

    def __init__(
        self,
        data: Path,
        split: str,
        detections: str = "gt",
        *,
        target: str | None = None,
        multiview: bool = False,
        skeleton: Skeleton | None = None,
        selection: str = "all",
        keep: Callable[[Sequence], bool] | None = None,
        store: FrameStore | None = None,
        transform: Callable[[Item], Any] | None = None,
    ) -> None:
        """Read labels and detections.

        `target`: one of TARGETS (default camera frame; multi-view has world alone). `skeleton`: default H36M_17, or
        H36M_16 for detections without Neck/Nose. `selection`: "all", or "h36m-fetch", the frames which that tool keeps.
        `keep`: which sequences. Raises H36MError where labels, detections or frames are missing, and for a target or
        selection that does not exist.
        """
        target = target or (TARGETS[1] if multiview else TARGETS[0])
        if target not in TARGETS or (multiview and target != TARGETS[1]):
            allowed = TARGETS[1:2] if multiview else TARGETS
            raise H36MError(f"no target {target} here; choose {', '.join(allowed)}")
        bundled = bundled_skeleton(data, detections)
        self.skeleton = skeleton or (H36M_17 if set(H36M_17.joints) <= set(bundled.joints) else H36M_16)
        labels, self.without_image = _labels(data, split, target, selection, keep, store)
        rows = _rows(labels, data, detections, target, self.skeleton)
        self.without_views = 0
        if multiview:
            every = rows
            rows = _by_instant(every)
            self.without_views = len(every.keys) - VIEWS * len(rows.keys)
        if not len(rows.keys):
            needs = f"; {making(data, store)}" if store and self.without_image else ""
            raise H36MError(f"{data}: no item of the {split} split is left of what was asked for{needs}")
        self.data, self.store, self.multiview, self.transform = data, store, multiview, transform
        self._keys, self._joints_2d, self._joints_3d = (
            torch.from_numpy(np.require(array, requirements=["C", "W"]))
            for array in (rows.keys, rows.joints_2d, rows.joints_3d)
        )
        self._opened: dict[Sequence, Frames] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Item:
        """One item, after `transform`; negative indices count from the end."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Item]:
        """The items of a batch; frames are read in the order of the sequences, whatever that of the indices."""
        every = range(len(self))
        chosen = torch.tensor([every[index] for index in indices])  # negative ones from the end; IndexError
        keys = self._keys[chosen].tolist()
        joints_2d, joints_3d = self._joints_2d[chosen].unbind(), self._joints_3d[chosen].unbind()
        items: list[Item] = [{}] * len(keys)
        for i in sorted(range(len(keys)), key=keys.__getitem__):
            seen = self._seen(keys[i], joints_2d[i])
            items[i] = {"joints_2d": joints_2d[i], "joints_3d": joints_3d[i], **seen, "key": keys[i]}
        return [self.transform(item) for item in items] if self.transform else items

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}

    def sequence_and_frame(self, index: int) -> tuple[Sequence, int]:
        """Where an item comes from: its sequence (multi-view: of the first camera) and its frame, from 0."""
        key = int(self._keys[index])
        return sequence_of_code(key >> 32), key & 0xFFFFFFFF

    def _seen(self, key: int, joints_2d: torch.Tensor) -> Item:
        """Camera, pixels and image of an item: what depends on the frames that it is shown with."""
        first, frame = sequence_of_code(key >> 32), key & 0xFFFFFFFF
        if self.store is None:
            return {"camera": dict(_calibrated(first.subject, "" if self.multiview else first.camera))}
        sequences = first.recording.views if self.multiview else (first,)
        views = [self._view(sequence, frame, self.store) for sequence in sequences]
        cameras, images = [view.camera for view in views], tuple(view.image for view in views)
        item: Item = {"camera": _camera_tensors(cameras) if self.multiview else _unstacked(_camera_tensors(cameras))}
        item["image"] = images if self.multiview else images[0]
        if self.store.undistorted or self.store.crop:
            pixels = joints_2d.numpy().reshape(len(views), -1, 2)
            moved = [view.moved(of_view) for view, of_view in zip(views, pixels, strict=True)]
            item["joints_2d"] = torch.from_numpy(np.stack(moved)).reshape(joints_2d.shape)
        return item

    def _view(self, sequence: Sequence, frame: int, store: FrameStore) -> _View:
        frames = self._frames(sequence, store)
        image = torch.from_numpy(np.require(frames.image(frame), requirements="W")).permute(2, 0, 1).contiguous()
        return _View(h36m_camera(sequence.subject, sequence.camera), frames.camera(frame), image)

    def _frames(self, sequence: Sequence, store: FrameStore) -> Frames:
        if sequence in self._opened:
            return self._opened[sequence]
        opened = open_frames(self.data, sequence, store)
        if opened.pack is None and not store.crop:
            opened = replace(opened, frames=())  # long, and known
        elif len(self._opened) >= _OPEN_SEQUENCES:
            del self._opened[next(iter(self._opened))]
        self._opened[sequence] = opened
        return opened


@dataclass(frozen=True, eq=False)
class _View:
    """What one camera adds to an item: the camera of whole frames, and the image with its own."""

    whole: Camera
    camera: Camera
    image: torch.Tensor

    def moved(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of the whole distorted frame as pixels of the image, float32."""
        if np.any(self.whole.radial) and not np.any(self.camera.radial):
            rays = self.whole.undistorted_rays(pixels)
        else:
            rays = (pixels - self.whole.principal) / self.whole.focal
        return (rays * self.camera.focal + self.camera.principal).astype(np.float32)


def _camera_tensors(cameras: list[Camera]) -> dict[str, torch.Tensor]:
    """The fields of cameras, each with a leading size of their number, float32."""
    return {
        name: torch.tensor(np.stack([getattr(camera, name) for camera in cameras]), dtype=torch.float32)
        for name in _CAMERA_FIELDS
    }


def _unstacked(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor[0] for name, tensor in tensors.items()}


@cache
def _calibrated(subject: str, camera: str) -> dict[str, torch.Tensor]:
    """A subject's camera, or all of them for ""."""
    tensors = _camera_tensors([h36m_camera(subject, name) for name in CAMERA_IDS if camera in ("", name)])
    return _unstacked(tensors) if camera else tensors


def _labels(
    data: Path,
    split: str,
    target: str,
    selection: str,
    keep: Callable[[Sequence], bool] | None,
    store: FrameStore | None,
) -> tuple[pa.Table, int]:
    """Keys and target of the labelled frames that were asked for, and how many lack an image in the store."""
    if selection not in SELECTIONS:
        raise H36MError(f"no selection {selection}; there are {', '.join(SELECTIONS)}")
    parts, lacking = [], 0
    for sequence, rows in label_sequences(data, split, [target, "in_h36m_fetch"]):
        if keep and not keep(sequence):
            continue
        if selection == "h36m-fetch":
            if rows.column("in_h36m_fetch").null_count:
                raise H36MError(f"{sequence}: its labels have no universal poses, by which h36m-fetch selects")
            rows = rows.filter(pc.field("in_h36m_fetch"))
        if store:
            there = np.isin(rows.column("frame").to_numpy(), stored_frames(data, sequence, store))
            lacking += len(rows) - int(there.sum())
            rows = rows.filter(pa.array(there))
        parts.append(rows.drop_columns("in_h36m_fetch"))
    if not parts:
        raise H36MError(f"{data}: the labels of the {split} split have none of the sequences that were asked for")
    return pa.concat_tables(parts), lacking


def _rows(labels: pa.Table, data: Path, detections: str, target: str, skeleton: Skeleton) -> _Rows:
    joints_2d = match_detections(labels, read_detections(data, detections), detections, skeleton.joints)
    labelled = pose_field(labels.schema, target).skeleton
    return _Rows(row_keys(labels), joints_2d, labelled.select(pose_array(labels, target), skeleton.joints))


def _by_instant(rows: _Rows) -> _Rows:
    """The instants that all cameras see."""
    cameras = rows.keys >> 32 & 0xF
    instants = rows.keys >> 36 << 32 | rows.keys & 0xFFFFFFFF
    order = np.lexsort((cameras, instants))
    _, starts, counts = np.unique(instants[order], return_index=True, return_counts=True)
    places = order[starts[counts == VIEWS, None] + np.arange(VIEWS)]  # (instants, views)
    return _Rows(rows.keys[places[:, 0]], rows.joints_2d[places], rows.joints_3d[places[:, 0]])
