"""Boxes from the segment masks: MATLAB v7.3 files, a cell array `Masks` with one full-size mask a video frame.

A mask is a filled rectangle that costs a megabyte or, as MATLAB's double, eight to inflate. Its rows are either zero or
all the same, so the first row that is not zero tells the rows of the box, and the checksum at the end of the
compressed stream tells how many such rows there are, and where: nothing more is inflated, all of it is vouched for.
The bytes of every chunk are looked at, in the file itself, but most are alike, and what one tells is found once.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.hdf5_chunks import ChunkedMatrix, ChunkReader, Chunks

_ADLER = 65521  # Adler-32's modulus, RFC 1950; a prime
_BLOCK = 1 << 15  # bytes to inflate at a time on the way to the first row
_ZLIB_HEADER = 2  # bytes
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
_Known = dict[ChunkedMatrix, dict[bytes, _Box]]  # what chunks have told so far


def read_mask_boxes(path: Path) -> np.ndarray:
    """Boxes top, left, bottom, right (frames, 4), px int32, of a mask file; bottom and right are exclusive.

    Masks of any numeric class are read, non-zero is inside. Raises H36MError for a file that is no such mask file or is
    damaged, and for a mask that is not one filled rectangle at least 2 px wide and high.
    """
    boxes = []
    known: _Known = {}
    try:
        with h5py.File(path, "r") as file, ChunkReader.of(path, file) as reader:
            for number, (reference, address) in enumerate(_references(file)):
                boxes.append(_checked(_mask_box(reader, reference, address, known), number))
    except _DAMAGE as error:
        raise H36MError(
            f"{path}: damaged or no mask file ({error}); expected MATLAB 7.3 with a cell array Masks, unpack "
            "Segments_mat_gt_bb_S*.tgz again"
        ) from error
    except H36MError as error:
        raise H36MError(f"{path}: {error}") from error
    return np.array([(box.top, box.left, box.bottom, box.right) for box in boxes], np.int32).reshape(-1, 4)


def _references(file: h5py.File) -> list[tuple[h5py.Reference, int]]:
    """The references to the masks, and their addresses, which are what a reference is on disk."""
    masks = file.get("Masks")
    if not isinstance(masks, h5py.Dataset) or masks.dtype != h5py.ref_dtype:
        raise ValueError(f"it holds {', '.join(file) or 'nothing'} and no cell array Masks")
    addresses = np.zeros(masks.shape, np.uint64)
    masks.id.read(h5py.h5s.ALL, h5py.h5s.ALL, addresses, h5py.h5t.STD_REF_OBJ)
    return list(zip(masks[()].ravel(), addresses.ravel().tolist(), strict=True))


def _checked(box: _Box | None, number: int) -> _Box:
    if box is None:
        raise H36MError(f"mask {number} (from 0) is not one filled rectangle")
    if min(box.right - box.left, box.bottom - box.top) < 2:
        raise H36MError(f"mask {number} (from 0) is thinner than 2 px: {box}")
    return box


def _mask_box(reader: ChunkReader, reference: h5py.Reference, address: int, known: _Known) -> _Box | None:
    """The rectangle of one stored mask; None where it is something else."""
    found = reader.chunks(reference, address)
    box = None
    if found is not None:
        matrix, chunks = found
        told = known.setdefault(matrix, {})
        if len(told) > _MOST_KNOWN:
            told.clear()
        box = _box_of_chunks(reader.content, matrix, chunks, told)
    return box or _box_of_pixels(reader.file[reference][()])


def _box_of_pixels(stored: np.ndarray) -> _Box | None:
    inside, width = stored != 0, stored.shape[1]
    left, top = divmod(int(inside.argmax()), width)
    right, bottom = divmod(inside.size - 1 - int(inside.ravel()[::-1].argmax()), width)
    box = _Box(left, right + 1, top, bottom + 1)
    filled = np.count_nonzero(inside[box.left : box.right, box.top : box.bottom])
    return box if 0 < box.area == filled == np.count_nonzero(inside) else None


def _box_of_chunks(content: mmap.mmap, matrix: ChunkedMatrix, chunks: Chunks, known: dict[bytes, _Box]) -> _Box | None:
    """The rectangle from the compressed chunks; None where they do not tell, whatever the reason."""
    if chunks.corners != matrix.corners:
        return None
    streams = [content[place : place + size] for place, size in zip(chunks.places, chunks.sizes, strict=True)]
    boxes = [known.get(stream) for stream in streams]
    if None in boxes:
        rows: dict[int, bytes] = {}  # by column: the row that a chunk further down has, most often in its first line
        for number in reversed(range(len(boxes))):
            if boxes[number] is None:
                stream, size = streams[number], chunks.sizes[number]
                if size > 2 * matrix.chunk_bytes:  # deflate never doubles anything
                    raise ValueError(f"a mask announces {size:,} compressed bytes")
                if len(stream) != size:
                    raise ValueError("a mask lies beyond the file's end")
                if stream not in known:
                    box = _box_in_chunk(stream, matrix, rows, matrix.corners[number][1])
                    if box is None:
                        return None
                    known[stream] = box
                boxes[number] = known[stream]
    return _union(
        [
            (row + box[0], row + box[1], column + box[2], column + box[3])
            for (row, column), box in zip(matrix.corners, boxes, strict=True)
            if box and box is not _NOTHING
        ]
    )


def _box_in_chunk(stream: bytes, matrix: ChunkedMatrix, rows: dict[int, bytes], column: int) -> _Box | None:
    """The rectangle in one chunk that begins at `column`, from its own corner; None where it does not tell."""
    if matrix.chunk_bytes <= _SMALL:
        return _box_of_bytes(zlib.decompress(stream), matrix)
    checksum = int.from_bytes(stream[-4:], "big")
    if checksum == _zeros_checksum(matrix.chunk_bytes):
        return _NOTHING
    height, row_bytes = matrix.chunk[0], matrix.chunk[1] * matrix.dtype.itemsize
    run = _run_of(rows[column], height, checksum) if column in rows else None
    if run is None:
        first, rows[column] = _first_row(stream, row_bytes)
        run = _run_of(rows[column], height, checksum)
        if run is None or run.start != first:
            return None
    inside = np.flatnonzero(np.frombuffer(rows[column], matrix.dtype))
    if not len(inside) or inside[-1] - inside[0] + 1 != len(inside):
        return None
    return _Box(run.start, run.stop, int(inside[0]), int(inside[-1]) + 1)


def _box_of_bytes(pixels: bytes, matrix: ChunkedMatrix) -> _Box | None:
    """The rectangle in a chunk's bytes: what MATLAB's logical or 255 fill is found sooner in them than in arrays."""
    if pixels == bytes(matrix.chunk_bytes):
        return _NOTHING
    (height, width), inside = matrix.chunk, b"\x01" if b"\x01" in pixels else b"\xff"
    if matrix.dtype.itemsize == 1 and inside in pixels:
        left, top = divmod(pixels.index(inside), width)
        right, bottom = divmod(pixels.rindex(inside), width)
        row = bytes(top) + inside * (bottom + 1 - top) + bytes(width - bottom - 1)
        if pixels == bytes(left * width) + row * (right + 1 - left) + bytes((height - right - 1) * width):
            return _Box(left, right + 1, top, bottom + 1)
    return _box_of_pixels(np.frombuffer(pixels, matrix.dtype).reshape(matrix.chunk))


def _union(parts: list[tuple[int, int, int, int]]) -> _Box | None:
    """The rectangle that these, which do not overlap, fill; None where they fill none."""
    if not parts:
        return None
    lefts, rights, tops, bottoms = zip(*parts, strict=True)
    whole = _Box(min(lefts), max(rights), min(tops), max(bottoms))
    filled = sum([(right - left) * (bottom - top) for left, right, top, bottom in parts])
    return whole if filled == whole.area else None


def _zeros_checksum(size: int) -> int:
    return (size % _ADLER) << 16 | 1


def _first_row(stream: bytes, row_bytes: int) -> tuple[int, bytes]:
    """Number and content of the first row that is not all zeros; hardly more than that is inflated.

    Without zlib's own checksum, which needs as long again: the caller solves the stream's.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    zeros, before = bytes(_BLOCK), 0
    inflated = inflater.decompress(stream[_ZLIB_HEADER:], _BLOCK)
    while inflated == zeros:
        before += _BLOCK
        inflated = inflater.decompress(inflater.unconsumed_tail, _BLOCK)
    number = (before + int((np.frombuffer(inflated, np.uint8) != 0).argmax())) // row_bytes
    begin = number * row_bytes - before  # negative where the row begins in a block of zeros
    rest = inflater.decompress(inflater.unconsumed_tail, max(1, begin + row_bytes - len(inflated)))
    row = bytes(max(0, -begin)) + (inflated + rest)[max(0, begin) : begin + row_bytes]
    if len(row) != row_bytes or not any(row):
        raise zlib.error("a compressed mask ends too early")
    return number, row


def _run_of(row: bytes, total: int, checksum: int) -> range | None:
    """Which of `total` rows are `row`, all others being zeros, if the checksum leaves exactly one answer.

    Adler-32 of n bytes d_k: 1 + sum d_k in its low half, n + sum (n - k) d_k in its high half, both modulo 65521, a
    prime: below it each half leaves one answer.
    """
    values = np.frombuffer(row, np.uint8).astype(np.int64)
    row_sum, row_moment = int(values.sum()), int(values @ np.arange(len(row)))
    shift = len(row) * row_sum % _ADLER
    if total >= _ADLER or not row_sum % _ADLER or not shift:
        return None
    count = ((checksum & 0xFFFF) - 1) * pow(row_sum, -1, _ADLER) % _ADLER
    if not 0 < count <= total:
        return None
    size = total * len(row)
    at_top = size + count * (size * row_sum - row_moment) - len(row) * row_sum * (count * (count - 1) // 2)
    start = (at_top - (checksum >> 16)) * pow(shift * count, -1, _ADLER) % _ADLER
    return range(start, start + count) if start <= total - count else None
