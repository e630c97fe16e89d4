"""The frames of DATA as Context-Aware PoseFormer sees them: boxes and coordinates from tables, crops from frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Lock, local
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.crops.poseformer import POSEFORMER_CROPS
from h36m_toolbox.crops.reading import open_crops
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.poseformer import screen_normalised_float32
from h36m_toolbox.formats.poseformer_inputs import DETECTIONS, read_official_inputs
from h36m_toolbox.frames.crops import (
    POSEFORMER_SIZE,
    BoxGeometry,
    box_geometry,
    poseformer_boxes,
    poseformer_coordinates,
)
from h36m_toolbox.frames.lossless_shards import LosslessCrops
from h36m_toolbox.frames.stores import WHOLE_FRAMES, Frames, FrameStore, making, open_frames, stored_frames
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch
from h36m_toolbox.pose_tables import pose_array, pose_field, row_keys, sequence_of_code
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_17

CROP_STORE = FrameStore(crop=f"poseformer-{POSEFORMER_SIZE[0]}x{POSEFORMER_SIZE[1]}")
_AHEAD = 2  # batches that are read while one is used
_OPEN_SEQUENCES = 32  # a thread; a packed one keeps the row group it read last, some 4 MB


Read = Callable[[Iterable[np.ndarray]], Iterator[PoseFormerBatch]]  # indices of rows -> a batch for each


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class PoseFormerRows:
    """Labelled frames, all but their pixels: some 500 bytes each."""

    keys: np.ndarray  # (rows,) pose_tables.row_keys
    boxes: np.ndarray  # (rows, 4) left, top, right, bottom of what the crop shows, px
    joints_2d: np.ndarray  # (rows, 17, 2) float32, screen units
    joints_crop: np.ndarray  # (rows, 17, 2) float32, px of the crop
    targets: np.ndarray  # (rows, 17, 3) float32, camera axes, relative to the root, m

    def __len__(self) -> int:
        return len(self.keys)

    def taken(self, rows: np.ndarray | slice) -> PoseFormerRows:
        """Some of the rows."""
        arrays = (self.keys, self.boxes, self.joints_2d, self.joints_crop, self.targets)
        return PoseFormerRows(*(array[rows] for array in arrays))

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """2D poses on the screen and in the crop, and targets."""
        return torch.from_numpy(self.joints_2d), torch.from_numpy(self.joints_crop), torch.from_numpy(self.targets)


def poseformer_rows(labels: pa.Table, pixels: np.ndarray) -> PoseFormerRows:
    """Rows of labels with the column `joints_3d_camera`, and their 2D poses (rows, 17, 2), px, in H36M_17's order.

    As in the official pickles the box stands on the true root, at test time too.
    """
    if pixels.shape != (len(labels), len(H36M_17), 2):
        raise H36MError(f"2D poses have shape {pixels.shape}; expected ({len(labels)}, {len(H36M_17)}, 2)")
    keys = row_keys(labels)
    skeleton = pose_field(labels.schema, "joints_3d_camera").skeleton
    poses = skeleton.select(pose_array(labels, "joints_3d_camera"), H36M_17.joints)
    metres = poses / np.float32(1000)
    boxes = np.empty((len(keys), 4))
    crop = np.empty(pixels.shape, np.float32)
    codes = keys >> 32
    for code in np.unique(codes):
        of_sequence = codes == code
        sequence = sequence_of_code(int(code))
        camera = h36m_camera(sequence.subject, sequence.camera)
        geometry = box_geometry(camera, poses[of_sequence, 0])
        seen = pixels[of_sequence].astype(np.float32, copy=False)
        boxes[of_sequence] = poseformer_boxes(geometry)
        crop[of_sequence] = poseformer_coordinates(seen, geometry)
    return PoseFormerRows(keys, boxes, _on_screen(keys, pixels), crop, metres - metres[:, :1])


def _on_screen(keys: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Pixels (rows, joints, 2) in screen units, by the size of each row's camera."""
    codes = keys >> 32
    screen = np.empty(pixels.shape, np.float32)
    for code in np.unique(codes):
        sequence = sequence_of_code(int(code))
        size = h36m_camera(sequence.subject, sequence.camera).size
        screen[codes == code] = screen_normalised_float32(pixels[codes == code].astype(np.float32, copy=False), *size)
    return screen


def rows_of_data(data: Path, labels: pa.Table, pixels: np.ndarray, detections: str) -> PoseFormerRows:
    """As `poseformer_rows`; from the official values themselves where DATA was made from the official pickles.

    Boxes and targets are then the pickles', and with their detections, cpn, the 2D poses too.
    """
    official = read_official_inputs(data, row_keys(labels))
    if official is None:
        return poseformer_rows(labels, pixels)
    geometry = BoxGeometry(np.empty((len(labels), 0)), official.centers, official.scales)
    relative = official.joints_3d - official.joints_3d[:, :1]
    rows = PoseFormerRows(
        row_keys(labels), poseformer_boxes(geometry), official.joints_2d, official.joints_crop, relative
    )
    if detections == DETECTIONS:
        return rows
    return replace(rows, joints_2d=_on_screen(rows.keys, pixels), joints_crop=poseformer_coordinates(pixels, geometry))


def rows_with_frames(rows: PoseFormerRows, data: Path, store: FrameStore = WHOLE_FRAMES) -> PoseFormerRows:
    """Those whose frame DATA holds, or the lossless crop of it where whole frames are asked for.

    An H36MError, with the command that makes frames, where it holds none of them.
    """
    stores = (store, POSEFORMER_CROPS) if store == WHOLE_FRAMES else (store,)
    there = np.zeros(len(rows), bool)
    codes, frames = rows.keys >> 32, rows.keys & 0xFFFFFFFF
    for code in np.unique(codes):
        for each in stores:
            stored = stored_frames(data, sequence_of_code(int(code)), each)
            there |= (codes == code) & np.isin(frames, stored)
    if not there.any():
        raise H36MError(f"{store.root(data)}: none of the {len(rows)} frames is there; {making(data, store)}")
    return rows.taken(there)


class ReadsCrops(Protocol):
    """Reads crops of rows, from several threads at once."""

    def crop(self, key: int, box: np.ndarray) -> np.ndarray:
        """(256, 192, 3) uint8 RGB of a row's key and box (4,)."""
        ...


class CropReader:
    """Reads crops of rows from the frames in DATA, from several threads at once.

    From whole frames the crops are the official ones; where `h36m crops` has cut them already, those are read, the same
    byte for byte. `CROP_STORE` holds crops that were compressed once more.
    """

    def __init__(self, data: Path, store: FrameStore = WHOLE_FRAMES) -> None:
        if store not in (WHOLE_FRAMES, CROP_STORE):
            raise H36MError(f"no crops of {store.name}; there are those of {WHOLE_FRAMES.name} and {CROP_STORE.name}")
        self._data, self._store = data, store
        self._lossless: dict[Sequence, LosslessCrops | None] = {}
        self._lock = Lock()
        self._opened = local()  # a packed sequence keeps what it read last, which two threads must not exchange

    def crop(self, key: int, box: np.ndarray) -> np.ndarray:
        """(256, 192, 3) uint8 RGB of a frame.

        Raises H36MError where it is missing or damaged, and where the lossless crop of it is of another box or image.
        """
        sequence, frame = sequence_of_code(key >> 32), key & 0xFFFFFFFF
        if self._store.crop:
            return self._frames(sequence).image(frame)
        lossless = self._crops(sequence)
        if lossless is not None and frame in lossless:
            return lossless.image(frame, box)
        left, top, right, bottom = box.tolist()
        return self._frames(sequence).crop(frame, (left, top, right, bottom), POSEFORMER_SIZE)

    def _crops(self, sequence: Sequence) -> LosslessCrops | None:
        with self._lock:
            if sequence not in self._lossless:
                self._lossless[sequence] = open_crops(self._data, sequence, POSEFORMER_CROPS, (WHOLE_FRAMES,))
            return self._lossless[sequence]

    def _frames(self, sequence: Sequence) -> Frames:
        opened: dict[Sequence, Frames] = self._opened.__dict__.setdefault("by_sequence", {})
        if sequence not in opened:
            if len(opened) >= _OPEN_SEQUENCES:
                del opened[next(iter(opened))]
            frames = open_frames(self._data, sequence, self._store)
            opened[sequence] = frames if frames.pack else replace(frames, frames=())  # long, and known
        return opened[sequence]


def reading(rows: PoseFormerRows, reader: ReadsCrops, threads: int = 4, pinned: bool = False) -> Read:
    """`batches` of these rows, for whoever chooses the parts."""
    return lambda parts: batches(rows, reader, parts, threads, pinned)


def batches(
    rows: PoseFormerRows, reader: ReadsCrops, parts: Iterable[np.ndarray], threads: int = 2, pinned: bool = False
) -> Iterator[PoseFormerBatch]:
    """A batch for each of `parts`, which are indices of rows; the next ones are read while one is used.

    Memory holds three batches, however many rows there are.
    """
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[tuple[PoseFormerRows, list[Future[np.ndarray]]]] = deque()
        remaining = iter(parts)

        def read(part: np.ndarray) -> None:
            some = rows.taken(part)
            frames = zip(some.keys.tolist(), some.boxes, strict=True)
            ahead.append((some, [pool.submit(reader.crop, *each) for each in frames]))

        for part in islice(remaining, _AHEAD):
            read(part)
        while ahead:
            some, crops = ahead.popleft()
            for part in islice(remaining, 1):
                read(part)
            try:
                batch = _batch(some, [crop.result() for crop in crops])
            except H36MError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            yield batch.pinned() if pinned else batch


def _batch(rows: PoseFormerRows, crops: list[np.ndarray]) -> PoseFormerBatch:
    width, height = POSEFORMER_SIZE
    images = np.stack(crops) if crops else np.empty((0, height, width, 3), np.uint8)
    return PoseFormerBatch(torch.from_numpy(images), *rows.tensors())
