"""Boxes from the segment masks: MATLAB v7.3 files, a cell array `Masks` with one full-size mask a video frame.

A mask is a filled rectangle that costs a megabyte or, as MATLAB's double, eight to inflate. Its rows are either zero or
all the same, so the first row that is not zero tells the rows of the box, and the checksum at the end of the
compressed stream tells how many such rows there are, and where: nothing more is inflated, all of it is vouched for.
The bytes of every chunk are looked at, in the file itself, but most are alike, and what one tells is found once.
"""

from __future__ import annotations

import io
import mmap
import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from h36m_toolbox.errors import H36MError

_ADLER = 65521  # Adler-32's modulus, RFC 1950
_SMALL = 1 << 14  # bytes of a chunk that is inflated sooner than its checksum is solved
_MOST_KNOWN = 10_000  # chunks of different content to remember; about 100 bytes each where they are small
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, zlib.error)  # what h5py makes of a damaged file


class _Box(NamedTuple):
    """Inside of a stored mask, ends exclusive; columns of the image are rows of what MATLAB stores."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)


_NOTHING = _Box(0, 0, 0, 0)  # in a chunk of zeros


def read_mask_boxes(path: Path) -> np.ndarray:
    """Boxes top, left, bottom, right (frames, 4), px int32, of a mask file; bottom and right are exclusive.

    Masks of any numeric class are read, non-zero is inside. Raises H36MError for a file that is no such mask file or is
    damaged, and for a mask that is not one filled rectangle at least 2 px wide and high.
    """
    boxes = []
    try:
        with h5py.File(path, "r") as file, _Stored.of(path, file) as stored:
            for number, reference in enumerate(_references(file)):
                boxes.append(_checked(_mask_box(h5py.h5r.dereference(reference, file.id), stored), number))
    except _DAMAGE as error:
        raise H36MError(
            f"{path}: damaged or no mask file ({error}); expected MATLAB 7.3 with a cell array Masks, unpack "
            "Segments_mat_gt_bb_S*.tgz again"
        ) from error
    except H36MError as error:
        raise H36MError(f"{path}: {error}") from error
    return np.array([(box.top, box.left, box.bottom, box.right) for box in boxes], np.int32).reshape(-1, 4)


def _references(file: h5py.File) -> np.ndarray:
    masks = file.get("Masks")
    if not isinstance(masks, h5py.Dataset) or masks.dtype != h5py.ref_dtype:
        raise ValueError(f"it holds {', '.join(file) or 'nothing'} and no cell array Masks")
    return masks[()].ravel()


def _checked(box: _Box | None, number: int) -> _Box:
    if box is None:
        raise H36MError(f"mask {number} (from 0) is not one filled rectangle")
    if min(box.right - box.left, box.bottom - box.top) < 2:
        raise H36MError(f"mask {number} (from 0) is thinner than 2 px: {box}")
    return box


@dataclass(frozen=True, eq=False)
class _Stored:
    """A mask file's own bytes, and what chunks in it have told so far."""

    content: mmap.mmap
    start: int  # where in the file HDF5's addresses begin
    known: dict[tuple[tuple[int, int], np.dtype], dict[bytes, _Box]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, file: h5py.File) -> _Stored:
        with path.open("rb") as opened:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(content, 0 if _addresses_count_the_user_block() else file.userblock_size)

    def __enter__(self) -> _Stored:
        return self

    def __exit__(self, *failure: object) -> None:
        self.content.close()


@cache
def _addresses_count_the_user_block() -> bool:
    """Whether this HDF5 gives addresses of chunks from the file's start; older ones count from the user block's end."""
    image, mark = io.BytesIO(), np.arange(1, 65, dtype=np.uint8)
    with h5py.File(image, "w", userblock_size=512) as file:
        (chunk,) = _chunks(file.create_dataset("mark", data=mark[None], chunks=(1, 64)).id)
    return image.getvalue().find(mark.tobytes()) == chunk.byte_offset


def _chunks(mask: h5py.h5d.DatasetID) -> list[h5py.h5d.StoreInfo]:
    found: list[h5py.h5d.StoreInfo] = []
    mask.chunk_iter(found.append)
    return found


def _mask_box(mask: h5py.h5d.DatasetID, stored: _Stored) -> _Box | None:
    """The rectangle of one stored mask; None where it is something else."""
    if not isinstance(mask, h5py.h5d.DatasetID) or len(mask.shape) != 2 or mask.dtype.kind not in "buif":
        raise ValueError("a mask is no numeric matrix")
    plan = mask.get_create_plist()
    if plan.get_layout() == h5py.h5d.CHUNKED:
        deflated = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())] == [h5py.h5z.FILTER_DEFLATE]
        box = _box_of_chunks(mask, plan.get_chunk(), stored) if deflated else None
        if box is not None:
            return box
    return _box_of_pixels(h5py.Dataset(mask)[()])


def _box_of_pixels(stored: np.ndarray) -> _Box | None:
    inside, width = stored != 0, stored.shape[1]
    left, top = divmod(int(inside.argmax()), width)
    right, bottom = divmod(inside.size - 1 - int(inside.ravel()[::-1].argmax()), width)
    box = _Box(left, right + 1, top, bottom + 1)
    filled = np.count_nonzero(inside[box.left : box.right, box.top : box.bottom])
    return box if 0 < box.area == filled == np.count_nonzero(inside) else None


def _box_of_chunks(mask: h5py.h5d.DatasetID, chunk: tuple[int, int], stored: _Stored) -> _Box | None:
    """The rectangle from the compressed chunks; None where they do not tell, whatever the reason."""
    shape, dtype = mask.shape, mask.dtype
    content, start, known = stored.content, stored.start, stored.known.setdefault((chunk, dtype), {})
    most = 2 * chunk[0] * chunk[1] * dtype.itemsize  # deflate never doubles anything
    chunks = _chunks(mask)
    if len(chunks) != -(-shape[0] // chunk[0]) * -(-shape[1] // chunk[1]):
        return None
    if len(known) > _MOST_KNOWN:
        known.clear()
    parts = []
    rows: dict[int, bytes] = {}  # by offset: the row that a chunk further right has, most often in its first line
    for (left, top), skipped_filters, address, size in reversed(chunks):
        if size > most:
            raise ValueError(f"a mask announces {size:,} compressed bytes")
        if skipped_filters:
            return None
        stream = content[start + address : start + address + size]
        box = known.get(stream)
        if box is None:
            if len(stream) != size:
                raise ValueError("a mask lies beyond the file's end")
            box = _box_in_chunk(stream, chunk, dtype, rows, top)
            if box is None:
                return None
            known[stream] = box
        if box is not _NOTHING:
            parts.append(_Box(left + box.left, left + box.right, top + box.top, top + box.bottom))
    return _union(parts)


def _box_in_chunk(
    stream: bytes, chunk: tuple[int, int], dtype: np.dtype, rows: dict[int, bytes], top: int
) -> _Box | None:
    """The rectangle in one chunk at the offset `top`, from the chunk's own corner; None where it does not tell."""
    checksum, row_bytes = int.from_bytes(stream[-4:], "big"), chunk[1] * dtype.itemsize
    if checksum == _zeros_checksum(chunk[0] * row_bytes):
        return _NOTHING
    if chunk[0] * row_bytes <= _SMALL:
        return _box_of_pixels(np.frombuffer(zlib.decompress(stream), dtype).reshape(chunk))
    run = _run_of(rows[top], chunk[0], checksum) if top in rows else None
    if run is None:
        first, rows[top] = _first_row(stream, row_bytes)
        run = _run_of(rows[top], chunk[0], checksum)
        if run is None or run.start != first:
            return None
    inside = np.flatnonzero(np.frombuffer(rows[top], dtype))
    if not len(inside) or inside[-1] - inside[0] + 1 != len(inside):
        return None
    return _Box(run.start, run.stop, int(inside[0]), int(inside[-1]) + 1)


def _union(parts: list[_Box]) -> _Box | None:
    """The rectangle that these, which do not overlap, fill; None where they fill none."""
    if not parts:
        return None
    lefts, rights, tops, bottoms = zip(*parts, strict=True)
    whole = _Box(min(lefts), max(rights), min(tops), max(bottoms))
    return whole if sum(part.area for part in parts) == whole.area else None


def _zeros_checksum(size: int) -> int:
    return (size % _ADLER) << 16 | 1


def _first_row(stream: bytes, row_bytes: int) -> tuple[int, bytes]:
    """Number and content of the first row that is not all zeros; no more than that is inflated."""
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(stream, row_bytes)
    zeros, number = bytes(row_bytes), 0
    while len(inflated) == row_bytes and inflated == zeros:
        inflated = inflater.decompress(inflater.unconsumed_tail, row_bytes)
        number += 1
    if len(inflated) != row_bytes:
        raise zlib.error("a compressed mask ends too early")
    return number, inflated


def _run_of(row: bytes, total: int, checksum: int) -> range | None:
    """Which of `total` rows are `row`, all others being zeros, if the checksum leaves exactly one answer.

    Adler-32 of n bytes d_k: 1 + sum d_k in its low half, n + sum (n - k) d_k in its high half, both modulo 65521.
    """
    values = np.frombuffer(row, np.uint8).astype(np.int64)
    row_sum, row_moment = int(values.sum()), int(values @ np.arange(len(row)))
    (counts,) = np.nonzero((1 + np.arange(1, total + 1) * row_sum) % _ADLER == checksum & 0xFFFF)
    if len(counts) != 1:
        return None
    count, size = int(counts[0]) + 1, total * len(row)
    at_top = size + count * (size * row_sum - row_moment) - len(row) * row_sum * (count * (count - 1) // 2)
    starts = np.arange(total - count + 1)
    shift = len(row) * row_sum * count % _ADLER
    (fitting,) = np.nonzero((at_top % _ADLER - starts * shift) % _ADLER == checksum >> 16)
    return range(int(fitting[0]), int(fitting[0]) + count) if len(fitting) == 1 else None
