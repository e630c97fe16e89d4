"""Lossless crops of DATA opened, unless the images there are no longer those they were cut from."""

from __future__ import annotations

import zlib
from pathlib import Path

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.lossless_shards import LosslessCrops
from h36m_toolbox.frames.stores import FrameStore, open_frames
from h36m_toolbox.sequences import Sequence


def open_crops(
    data: Path, sequence: Sequence, store: FrameStore, sources: tuple[FrameStore, ...]
) -> LosslessCrops | None:
    """The crops of a sequence in a store of lossless ones; None where there are none.

    Where one of `sources`, stores of whole frames, holds the first frame too, its file must be the one that was cut:
    H36MError otherwise, and for a damaged shard.
    """
    shard = store.shard(data, sequence)
    if not shard.is_file():
        return None
    crops = LosslessCrops.open(shard)
    if not len(crops.numbers):
        return crops
    first = int(crops.numbers[0])
    present = [jpeg for whole in sources if (jpeg := _jpeg(data, sequence, whole, first)) is not None]
    if present and zlib.crc32(present[0]) != crops.jpeg_crc32[0]:
        raise H36MError(
            f"{shard}: its crops are of other images than DATA holds now; run `h36m crops {data}` again, or remove the "
            "file"
        )
    return crops


def _jpeg(data: Path, sequence: Sequence, whole: FrameStore, frame: int) -> bytes | None:
    if whole.shard(data, sequence).is_file():
        frames = open_frames(data, sequence, whole)
        return frames.jpeg(frame) if frame in frames.frames else None
    path = whole.folder(data, sequence) / whole.file_name(sequence, frame)
    return path.read_bytes() if path.is_file() else None
