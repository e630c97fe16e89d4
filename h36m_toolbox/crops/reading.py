"""Lossless crops of DATA opened, unless the images there are no longer those they were cut from."""

from __future__ import annotations

import zlib
from pathlib import Path

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.lossless_shards import LosslessCrops
from h36m_toolbox.frames.stores import FrameStore, open_frames
from h36m_toolbox.sequences import Sequence


def open_crops(
    data: Path,
    sequence: Sequence,
    store: FrameStore,
    sources: tuple[FrameStore, ...],
    chosen: FrameStore | None = None,
) -> LosslessCrops | None:
    """The crops of a sequence in a store of lossless ones, made of one of `sources`; None where there are none.

    Where their source still holds the first frame, its file must be the one that was cut, and `chosen`, the store that
    would be read without crops, must be their source: H36MError otherwise, and for a damaged shard.
    """
    shard = store.shard(data, sequence)
    if not shard.is_file():
        return None
    crops = LosslessCrops.open(shard)
    if not len(crops.numbers):
        return crops
    source = source_of(crops, sources)
    jpeg = _jpeg(data, sequence, source, int(crops.numbers[0]))
    is_other = jpeg is not None and zlib.crc32(jpeg) != crops.jpeg_crc32[0]
    if is_other or (chosen is not None and chosen != source):
        rule = store.crop.split("-")[0]
        raise H36MError(
            f"{shard}: its crops are of other images than DATA holds now; run `h36m crops {data} --crop {rule}` again, "
            "or remove the file"
        )
    return crops


def source_of(crops: LosslessCrops, sources: tuple[FrameStore, ...]) -> FrameStore:
    """Which of the stores of whole frames crops say that they are of; the first where they came from a video."""
    return next((source for source in sources if source.name == crops.about.get("made_from")), sources[0])


def _jpeg(data: Path, sequence: Sequence, whole: FrameStore, frame: int) -> bytes | None:
    if whole.shard(data, sequence).is_file():
        frames = open_frames(data, sequence, whole)
        return frames.jpeg(frame) if frame in frames.frames else None
    path = whole.folder(data, sequence) / whole.file_name(sequence, frame)
    return path.read_bytes() if path.is_file() else None
