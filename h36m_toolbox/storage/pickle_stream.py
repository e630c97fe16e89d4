"""A pickled list of dicts written part by part: other projects load the file whole, we never hold it whole."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.storage.files import written_whole

# Protocol 3 numbers its memo explicitly, so the memo can start anew with each part; protocol 4 counts implicitly.
_PROTOCOL = 3
PICKLE_HEADER = pickle.PROTO + bytes([_PROTOCOL])  # what every stream of `pickled_part` has to stand behind

# numpy 2 writes its private module name, which the numpy 1 of most code in the field cannot import; both read this one.
_NUMPY_2 = b"cnumpy._core.multiarray\n"
_NUMPY_1 = b"cnumpy.core.multiarray\n"
_NUMPY_GLOBALS = (b"_reconstruct\n", b"scalar\n")


@dataclass(frozen=True)
class PickledPart:
    """Some neighbouring elements of a list, `count` of them, ready for its file."""

    count: int
    stream: bytes


def write_pickled_list(path: Path, parts: Iterable[PickledPart]) -> int:
    """Write the concatenation of `parts` as one pickled list, whole or not at all; the number of elements.

    Objects shared within a part stay shared when loaded; objects shared between parts are copied.
    """
    count = 0
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(PICKLE_HEADER + pickle.EMPTY_LIST)
        for part in parts:
            if part.count:
                file.write(pickle.MARK + part.stream + pickle.APPENDS)
                count += part.count
        file.write(pickle.STOP)
    return count


def pickled_part(part: list[Any]) -> PickledPart:
    """Elements as bytes, to be called in the process that made them.

    Pickle writes an object twice where it is two objects, and arrays sent by another process bring dtypes of their own.
    """
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, _PROTOCOL)
    bodies = bytearray()
    for element in part:
        bodies += dumped(pickler, buffer, element)
    return PickledPart(len(part), portable(bytes(bodies)))


def dumped(pickler: pickle.Pickler, buffer: io.BytesIO, value: Any) -> bytes:
    """A value as the pickler, which writes to `buffer`, puts it into a stream behind what it wrote before."""
    buffer.seek(0)
    buffer.truncate()
    pickler.dump(value)
    return buffer.getvalue()[len(PICKLE_HEADER) : -len(pickle.STOP)]


def portable(stream: bytes) -> bytes:
    """What one pickler wrote, in names that numpy 1 and 2 have."""
    for name in _NUMPY_GLOBALS:  # the memo holds each global after its first use, so there is one occurrence
        stream = stream.replace(_NUMPY_2 + name, _NUMPY_1 + name, 1)
    return stream


def write_pickled_value(path: Path, value: Any) -> None:
    """Write one small value as a pickle that numpy 1 and 2 read, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(PICKLE_HEADER + pickled_part([value]).stream + pickle.STOP)


def write_object_npy(path: Path, value: Any) -> None:
    """Write one value as `numpy.save` writes an object array of one element, readable with numpy 1 and 2."""
    holder = np.empty((), object)
    holder[()] = value
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(PICKLE_HEADER + pickled_part([holder]).stream + pickle.STOP)
