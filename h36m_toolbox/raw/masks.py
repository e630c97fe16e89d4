"""Boxes from the segment masks: MATLAB v7.3 files, a cell array `Masks` with one full-size mask a video frame.

A mask is a filled rectangle that costs a megabyte or, as MATLAB's double, eight to inflate. Its rows are either zero or
all the same, so the first row that is not zero tells the rows of the box, and the checksum at the end of the
compressed stream tells how many such rows there are, and where: nothing more is inflated, all of it is vouched for.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from h36m_toolbox.errors import H36MError

_ADLER = 65521  # Adler-32's modulus, RFC 1950
_MOST_CHUNKS = 100  # with more of them, one by one is slower than all together
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, zlib.error)  # what h5py makes of a damaged file


@dataclass(frozen=True)
class _Box:
    """Inside of a stored mask, ends exclusive; columns of the image are rows of what MATLAB stores."""

    left: int
    right: int
    top: int
    bottom: int

    @property
    def area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)


def read_mask_boxes(path: Path) -> np.ndarray:
    """Boxes top, left, bottom, right (frames, 4), px int32, of a mask file; bottom and right are exclusive.

    Masks of any numeric class are read, non-zero is inside. Raises H36MError for a file that is no such mask file or is
    damaged, and for a mask that is not one filled rectangle at least 2 px wide and high.
    """
    boxes = []
    try:
        with h5py.File(path, "r") as file:
            for number, reference in enumerate(_references(file)):
                boxes.append(_checked(_mask_box(h5py.h5r.dereference(reference, file.id)), number))
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


def _mask_box(mask: h5py.h5d.DatasetID) -> _Box | None:
    """The rectangle of one stored mask; None where it is something else."""
    if not isinstance(mask, h5py.h5d.DatasetID) or len(mask.shape) != 2 or mask.dtype.kind not in "buif":
        raise ValueError("a mask is no numeric matrix")
    plan = mask.get_create_plist()
    if plan.get_layout() == h5py.h5d.CHUNKED and mask.get_num_chunks() <= _MOST_CHUNKS:
        deflated = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())] == [h5py.h5z.FILTER_DEFLATE]
        box = _box_of_chunks(mask, plan.get_chunk()) if deflated else None
        if box is not None:
            return box
    return _box_of_pixels(h5py.Dataset(mask)[()])


def _box_of_pixels(stored: np.ndarray) -> _Box | None:
    inside = stored != 0
    columns, rows = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(columns):
        return None
    box = _Box(int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1)
    return box if np.count_nonzero(inside) == box.area else None


def _box_of_chunks(mask: h5py.h5d.DatasetID, chunk: tuple[int, int]) -> _Box | None:
    """The rectangle from the compressed chunks; None where they do not tell, whatever the reason."""
    count = -(-mask.shape[0] // chunk[0]) * -(-mask.shape[1] // chunk[1])
    if mask.get_num_chunks() != count:
        return None
    parts = []
    rows: dict[int, bytes] = {}  # by offset: the row that a chunk further right has, most often in its first line
    for i in reversed(range(count)):
        info = mask.get_chunk_info(i)
        left, top = info.chunk_offset
        if info.size > 2 * chunk[0] * chunk[1] * mask.dtype.itemsize:  # deflate never doubles anything
            raise ValueError(f"a mask announces {info.size:,} compressed bytes")
        skipped_filters, stream = mask.read_direct_chunk((left, top))
        if skipped_filters:
            return None
        checksum = int.from_bytes(stream[-4:], "big")
        if checksum == _zeros_checksum(chunk[0] * chunk[1] * mask.dtype.itemsize):
            continue
        run = _run_of(rows[top], chunk[0], checksum) if top in rows else None
        if run is None:
            first, rows[top] = _first_row(stream, chunk[1] * mask.dtype.itemsize)
            run = _run_of(rows[top], chunk[0], checksum)
            if run is None or run.start != first:
                return None
        inside = np.flatnonzero(np.frombuffer(rows[top], mask.dtype))
        if not len(inside) or inside[-1] - inside[0] + 1 != len(inside):
            return None
        ends = top + int(inside[0]), top + int(inside[-1]) + 1
        parts.append(_Box(left + run.start, left + run.stop, *ends))
    return _union(parts)


def _union(parts: list[_Box]) -> _Box | None:
    """The rectangle that these, which do not overlap, fill; None where they fill none."""
    if not parts:
        return None
    whole = _Box(
        min(part.left for part in parts),
        max(part.right for part in parts),
        min(part.top for part in parts),
        max(part.bottom for part in parts),
    )
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
