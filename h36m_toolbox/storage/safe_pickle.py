"""Reading other people's pickles and object-array npz files without running anything in them."""

from __future__ import annotations

import io
import math
import mmap
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.pickle_opcodes import check_opcodes


def _latin1_bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding} is not allowed")
    return text.encode("latin1")


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Literal["C", "F"]) -> np.ndarray:
    """How numpy 2 restores an array from pickle protocol 5."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


# zipfile names encryption with RuntimeError, unknown compression with NotImplementedError, bad names with ValueError
ZIP_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError, zlib.error)

_ARRAY_TYPE = "numpy.ndarray"  # in place of the type, whose constructor allocates as much as it is asked for
_numpy_scalar = np.float64(0).__reduce__()[0]


def _reconstruct(kind: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The empty array that numpy's pickles begin with; its content comes as its state."""
    if kind != _ARRAY_TYPE or shape != (0,):
        raise pickle.UnpicklingError(f"it begins an array with {kind} {shape}")
    return np.empty(0, np.int8)


def _scalar(dtype: np.dtype, content: bytes) -> Any:
    """A numpy number."""
    return _numpy_scalar(dtype, content)


# Plain containers and numbers need no class; numpy arrays need these, under the names of numpy 1 and 2.
ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which label files have no use for") from None


def read_plain_pickle(path: Path) -> Any:
    """What a pickle of containers, numbers, strings and numpy arrays holds; an H36MError for anything else.

    Nothing in the file is executed: only numpy's own array constructors can be named.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:  # reads no more than there is
                _check(content, size, path)
        return _load(file, path)


def read_object_npz(path: Path) -> dict[str, Any]:
    """The arrays of an npz file by name; pickled object arrays of one element (VideoPose3D's dicts) as that element."""
    values = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    values[name.removesuffix(".npy")] = _read_npy(member, path)
    except ZIP_DAMAGE as error:
        raise H36MError(f"{path}: no readable npz file ({error}); get it again") from error
    return values


def read_object_npy(path: Path) -> Any:
    """The array of an npy file; a pickled object array of one element (multi-view labels) as that element.

    Raises H36MError as `read_plain_pickle`.
    """
    with path.open("rb") as file:
        return _read_npy(file, path)


def _read_npy(file: IO[bytes], path: Path) -> Any:
    content = io.BytesIO(file.read())
    try:
        version = np.lib.format.read_magic(content)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(content)
    except Exception as error:  # numpy evaluates the header as Python, which fails in every way that Python can
        raise H36MError(f"{path}: holds something that is no npy array ({error}); get it again") from error
    start, size = content.tell(), content.getbuffer().nbytes
    if not dtype.hasobject:
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size - start:
            raise H36MError(
                f"{path}: announces an array {shape} of {dtype} but holds {size - start} bytes; get it again"
            )
        content.seek(0)
        return np.load(content, allow_pickle=False)
    _check(content, size, path)
    content.seek(start)
    array = _load(content, path)
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise H36MError(f"{path}: its pickled array is not the one its header announces; get it again")
    return array.item() if array.size == 1 else array


def _check(content: Any, size: int, path: Path) -> None:
    with _named(path):
        check_opcodes(content, size)


def _load(file: IO[bytes], path: Path) -> Any:
    with _named(path):
        # Python 2 strings hold raw bytes: latin1 keeps each of them, as numpy's own reader is told to do
        return _PlainUnpickler(file, encoding="latin1").load()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except pickle.UnpicklingError as error:
        raise H36MError(f"{path}: refused to unpickle ({error}); it is damaged or not what it claims to be") from error
    except Exception as error:  # a damaged stream makes the unpickler raise almost anything
        raise H36MError(f"{path}: cannot be unpickled ({type(error).__name__}: {error}); get it again") from error
