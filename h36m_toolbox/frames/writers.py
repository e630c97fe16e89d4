"""From a decoded frame to what a store holds of it, and the files of a sequence written whole."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import simplejpeg

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.frames.crops import Box, cropped_image
from h36m_toolbox.frames.partial_jpeg import crop_of_jpeg
from h36m_toolbox.frames.stores import BOXES_FILE, FrameStore
from h36m_toolbox.frames.undistortion import UndistortMap, undistort_map, undistorted
from h36m_toolbox.frames.videos import Planes, bgr_image, encoded, full_range_planes
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.storage.files import folder_written_whole

_UNSURE_ROWS = 2

Add = Callable[[int, bytes], None]  # takes a frame's number (from 0) and its JPEG file


def frame_encoder(
    sequence: Sequence, store: FrameStore, quality: int, boxes: np.ndarray | None
) -> Callable[[int, av.VideoFrame], bytes]:
    """A function from a frame's number (from 0) and the decoded frame to the JPEG file of a store.

    Whole frames, without `boxes`, stay in YUV. What is undistorted or cropped, or both in this order, goes through BGR.
    """
    maps: UndistortMap | None = None
    scratch: Planes | None = None

    def encode(number: int, frame: av.VideoFrame) -> bytes:
        nonlocal maps, scratch
        scratch = full_range_planes(frame, scratch)
        if not store.undistorted and boxes is None:
            return encoded(scratch, quality)
        image = bgr_image(scratch)
        if store.undistorted:
            maps = maps or undistort_map(_filming_camera(sequence, frame))
            image = undistorted(image, maps)
        if boxes is not None and store.crop_size is not None:
            image = cropped_image(image, box_of(boxes, number), store.crop_size)
        return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "BGR", "420"))

    return encode


def _filming_camera(sequence: Sequence, frame: av.VideoFrame) -> Camera:
    """The calibrated camera; sources disagree on two rows of some subjects' videos, so the height is the file's."""
    camera = h36m_camera(sequence.subject, sequence.camera)
    width, height = camera.size
    known = frame.width == width and abs(frame.height - height) <= _UNSURE_ROWS
    return replace(camera, size=(frame.width, frame.height)) if known else camera


def box_of(boxes: np.ndarray, frame: int) -> Box:
    """The box of a frame (from 0) among boxes (frames, 4), px."""
    left, top, right, bottom = boxes[frame].tolist()
    return left, top, right, bottom


@contextmanager
def frames_written_whole(
    data: Path, sequence: Sequence, store: FrameStore, quality: int, packed: bool, boxes: np.ndarray | None
) -> Iterator[Add]:
    """A function that takes frames in ascending order; they are in place, loose or packed, when all went well.

    What the store held of the sequence before, in either form, is replaced.
    """
    folder, shard = store.folder(data, sequence), store.shard(data, sequence)
    about: dict[str, str | int] = {"store": store.name, "quality": quality, "subsampling": "4:2:0"}
    if store.lossless and store.crop_size is not None and boxes is not None:
        from h36m_toolbox.frames.lossless_shards import LosslessCrop, lossless_written_whole

        size = store.crop_size
        with lossless_written_whole(shard, sequence, size, about) as lossless:

            def add_crop(frame: int, jpeg: bytes) -> None:
                box = box_of(boxes, frame)
                lossless.add(LosslessCrop(frame, crop_of_jpeg(jpeg, box, size), box, zlib.crc32(jpeg)))

            yield add_crop
        return
    if packed:
        from h36m_toolbox.frames.packs import PackedImage, pack_written_whole

        with pack_written_whole(shard, sequence, about, boxes is not None) as writer:

            def add_row(frame: int, jpeg: bytes) -> None:
                box = None if boxes is None else box_of(boxes, frame)
                writer.add(PackedImage(frame, jpeg, store.file_name(sequence, frame), box))

            yield add_row
        shutil.rmtree(folder, ignore_errors=True)
        return
    with folder_written_whole(folder) as temporary:
        written: list[int] = []

        def add_file(frame: int, jpeg: bytes) -> None:
            (temporary / store.file_name(sequence, frame)).write_bytes(jpeg)
            written.append(frame)

        yield add_file
        if boxes is not None:
            from h36m_toolbox.frames.packs import write_boxes

            write_boxes(temporary / BOXES_FILE, sequence, {n: box_of(boxes, n) for n in written}, about)
    shard.unlink(missing_ok=True)


def remove_frames(data: Path, sequence: Sequence, store: FrameStore) -> None:
    """Remove what a store holds of a sequence, loose or packed."""
    shutil.rmtree(store.folder(data, sequence), ignore_errors=True)
    store.shard(data, sequence).unlink(missing_ok=True)


@dataclass(frozen=True)
class StoredSize:
    """Images and bytes (of JPEG files, or of the shard) that a store holds of a sequence."""

    images: int
    bytes: int


def stored_size(data: Path, sequence: Sequence, store: FrameStore, packed: bool) -> StoredSize | None:
    """What is on disk in one of the two forms; None where it is not there, is no shard, or its boxes are missing."""
    if packed:
        import pyarrow as pa
        import pyarrow.parquet as pq

        shard = store.shard(data, sequence)
        try:
            return StoredSize(pq.read_metadata(shard).num_rows, shard.stat().st_size)
        except (pa.ArrowException, OSError):
            return None
    folder = store.folder(data, sequence)
    if not folder.is_dir() or (store.crop and not (folder / BOXES_FILE).is_file()):
        return None
    sizes = [entry.stat().st_size for entry in os.scandir(folder) if entry.name != BOXES_FILE]
    return StoredSize(len(sizes), sum(sizes))
