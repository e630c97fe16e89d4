"""Where the frames in DATA lie and how to read one: loose JPEG files or Parquet shards, in H36M-Toolbox's or
h36m-fetch's layout, whole or undistorted or cropped; and shards of lossless crops."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from h36m_toolbox.cameras import Camera, h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.crops import Box
from h36m_toolbox.frames.partial_jpeg import crop_of_jpeg, decoded_rgb
from h36m_toolbox.sequences import Sequence

if TYPE_CHECKING:  # Arrow starts slowly, and loose frames do without it
    from h36m_toolbox.frames.lossless_shards import LosslessCrops
    from h36m_toolbox.frames.packs import PackedImages

BOXES_FILE = "boxes.parquet"  # beside loose crops, in their folder

LAYOUTS = ("toolbox", "h36m-fetch")
_ROOTS = {"toolbox": "images", "h36m-fetch": "imageSequence"}
_CROP = re.compile(r"[a-z]+-([1-9]\d*)x([1-9]\d*)")


@dataclass(frozen=True)
class FrameStore:
    """One set of frames in DATA: their layout, whether the lens' distortion was taken out, and how they were cut.

    `crop` is "" for whole frames, else a box rule and a size, such as "toolbox-256x256". `lossless` crops are cut from
    the JPEG files of whole frames and not compressed by JPEG again; they always lie in shards. Raises H36MError for a
    layout or crop of another form, and for whole frames that are to be lossless.
    """

    layout: str = "toolbox"
    undistorted: bool = False
    crop: str = ""
    lossless: bool = False

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise H36MError(f"no layout {self.layout} of frames; there are {', '.join(LAYOUTS)}")
        if self.crop and not _CROP.fullmatch(self.crop):
            raise H36MError(f"no crop {self.crop!r}; it is a box rule and a size, such as toolbox-256x256")
        if self.lossless and not self.crop:
            raise H36MError("whole frames are JPEG files; only crops are kept without loss")

    @property
    def name(self) -> str:
        """What the store's folder is called, such as images, images-undistorted or images-crop-toolbox-256x256."""
        undistorted = "-undistorted" if self.undistorted else ""
        crop = (f"-crop-{self.crop}" if self.crop else "") + ("-lossless" if self.lossless else "")
        return _ROOTS[self.layout] + undistorted + crop

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """Width and height of the crops, px; None for whole frames."""
        match = _CROP.fullmatch(self.crop)
        return (int(match[1]), int(match[2])) if match else None

    def root(self, data: Path) -> Path:
        """The folder of DATA that holds the store."""
        return data / (self.name if self.layout == "toolbox" else "processed")

    def folder(self, data: Path, sequence: Sequence) -> Path:
        """Where the loose frames of a sequence lie."""
        if self.layout == "toolbox":
            return self.root(data) / sequence.folder
        take = f"{sequence.action}-{sequence.subaction}"
        return self.root(data) / sequence.subject / take / self.name / sequence.camera

    def shard(self, data: Path, sequence: Sequence) -> Path:
        """The Parquet file that holds the frames of a sequence where they are packed: named after their folder."""
        folder = self.folder(data, sequence)
        return folder.with_name(f"{folder.name}.parquet")

    def file_name(self, sequence: Sequence, frame: int) -> str:
        """File name of a frame that counts from 0; the number in the name counts from 1."""
        return f"{self._prefix(sequence)}{frame + 1:06d}.jpg"

    def frame_of(self, sequence: Sequence, name: str) -> int | None:
        """The frame (from 0) that a file name says, None for any other name."""
        number = name.removeprefix(self._prefix(sequence)).removesuffix(".jpg")
        known = number.isdigit() and int(number) > 0 and self.file_name(sequence, int(number) - 1) == name
        return int(number) - 1 if known else None

    def camera(self, sequence: Sequence) -> Camera:
        """The camera of whole frames: the calibrated one, with an ideal lens where they are undistorted."""
        camera = h36m_camera(sequence.subject, sequence.camera)
        return replace(camera, radial=np.zeros(3), tangential=np.zeros(2)) if self.undistorted else camera

    def _prefix(self, sequence: Sequence) -> str:
        return f"{sequence.folder}_" if self.layout == "toolbox" else "img_"


WHOLE_FRAMES = FrameStore()


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one sequence that a store holds, from loose files or a shard. Open with `open_frames`."""

    data: Path
    sequence: Sequence
    store: FrameStore
    frames: tuple[int, ...]  # from 0, ascending
    pack: PackedImages | None = field(default=None, repr=False)
    lossless: LosslessCrops | None = field(default=None, repr=False)  # and neither: loose files

    def jpeg(self, frame: int) -> bytes:
        """The JPEG file of a frame (from 0); H36MError where the store has no such frame, or lossless crops."""
        if self.lossless is not None:
            raise H36MError(f"{self.lossless.path}: holds pixels, no JPEG files; ask for the image of a frame")
        if self.pack is not None and frame in self.pack:
            return self.pack.jpeg(frame)
        path = self._path(frame)
        if self.pack is not None or not path.is_file():
            raise H36MError(f"{self._place(frame)}: no such frame; {making(self.data, self.store)}")
        return path.read_bytes()

    def image(self, frame: int, rows: int | None = None) -> np.ndarray:
        """A frame (from 0) as (height, width, 3) uint8 RGB; H36MError where it is missing or damaged.

        Who looks only at its first `rows` gets these, and perhaps more, in less time.
        """
        if self.lossless is not None:
            return self.lossless.image(frame)
        try:
            return decoded_rgb(self.jpeg(frame), rows)
        except ValueError as error:
            raise self._damaged(frame, error) from error

    def crop(self, frame: int, box: Box, size: tuple[int, int]) -> np.ndarray:
        """What a box (left, top, right, bottom px) shows of a whole frame (from 0): (height, width, 3) uint8 RGB.

        Cut as `cropped_image` does, in `size` (width, height) px. Raises as `image`.
        """
        try:
            return crop_of_jpeg(self.jpeg(frame), box, size)
        except ValueError as error:
            raise self._damaged(frame, error) from error

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """Left, top, right, bottom of each crop in its whole frame, px, by frame; H36MError for whole frames."""
        if not self.store.crop:
            raise H36MError(f"{self.store.name}: whole frames have no boxes; ask for the frames of a crop")
        from h36m_toolbox.frames.packs import read_boxes

        shard = self.pack or self.lossless
        return read_boxes(shard.path if shard else self.store.folder(self.data, self.sequence) / BOXES_FILE)

    def _damaged(self, frame: int, error: ValueError) -> H36MError:
        return H36MError(
            f"{self._place(frame)}: cannot be read as an image ({error}); remove it and {making(self.data, self.store)}"
        )

    def _path(self, frame: int) -> Path:
        return self.store.folder(self.data, self.sequence) / self.store.file_name(self.sequence, frame)

    def _place(self, frame: int) -> str:
        return str(self._path(frame)) if self.pack is None else f"{self.pack.path}, frame {frame} (from 0)"

    def camera(self, frame: int) -> Camera:
        """The camera of a frame (from 0): of the whole frame, or as it is after the crop."""
        camera = self.store.camera(self.sequence)
        if self.store.crop_size is None:
            return camera
        if frame not in self.boxes:
            raise H36MError(f"{self.sequence}: frame {frame} (from 0) has no box; {making(self.data, self.store)}")
        return cropped_camera(camera, self.boxes[frame], self.store.crop_size)


def cropped_camera(camera: Camera, box: Box, size: tuple[int, int]) -> Camera:
    """The camera of the image that shows a box (left, top, right, bottom px) in `size` (width, height) px."""
    left, top, right, bottom = box
    cut = camera.cropped(left, top, *size)
    scale = np.array([size[0] / (right - left), size[1] / (bottom - top)])
    return replace(cut, focal=cut.focal * scale, principal=cut.principal * scale)


def open_frames(data: Path, sequence: Sequence, store: FrameStore = WHOLE_FRAMES) -> Frames:
    """The frames of a sequence in DATA, loose or packed, whoever made them.

    Raises H36MError, with the command that makes them, where there are none, and for a damaged shard.
    """
    shard = store.shard(data, sequence)
    if shard.is_file():
        return _opened_shard(data, sequence, store, shard)
    frames = _loose_frames(data, sequence, store)
    if not frames:
        raise H36MError(f"{store.folder(data, sequence)}: no frames of {sequence}; {making(data, store)}")
    return Frames(data, sequence, store, frames)


def stored_frames(data: Path, sequence: Sequence, store: FrameStore = WHOLE_FRAMES) -> tuple[int, ...]:
    """Frame numbers (from 0, ascending) of a sequence that DATA holds, loose or packed; none: ()."""
    shard = store.shard(data, sequence)
    if shard.is_file():
        return _opened_shard(data, sequence, store, shard).frames
    return _loose_frames(data, sequence, store)


def _opened_shard(data: Path, sequence: Sequence, store: FrameStore, shard: Path) -> Frames:
    if store.lossless:
        from h36m_toolbox.frames.lossless_shards import LosslessCrops

        lossless = LosslessCrops.open(shard)
        return Frames(data, sequence, store, lossless.frames, lossless=lossless)
    from h36m_toolbox.frames.packs import PackedImages

    pack = PackedImages.open(shard)
    return Frames(data, sequence, store, pack.frames, pack)


def making(data: Path, store: FrameStore) -> str:
    """The command that fills a store, as advice at the end of a message."""
    if store.lossless and store.crop.startswith("views-"):
        return f"run `h36m crops {data} --crop views`"
    words = [] if store.layout == "toolbox" else [f"--layout {store.layout}"]
    words += ["--undistort"] if store.undistorted else []
    if store.crop:
        rule, size = store.crop.split("-")
        words += [f"--crop {rule} --size {size}", *(["--lossless"] if store.lossless else [])]
    return "run `" + " ".join(["h36m extract RAW --out", str(data), *words]) + "`"


def _loose_frames(data: Path, sequence: Sequence, store: FrameStore) -> tuple[int, ...]:
    folder = store.folder(data, sequence)
    if not folder.is_dir():
        return ()
    frames = (store.frame_of(sequence, entry.name) for entry in os.scandir(folder))
    return tuple(sorted(frame for frame in frames if frame is not None))
