"""Human3.6M's pose files: CDF with one variable `Pose`, joints interleaved (x y z or x y)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from cdflib.cdfwrite import CDF

from h36m_toolbox.errors import H36MError
from h36m_toolbox.raw.cdf_in_memory import CdfInMemory
from h36m_toolbox.skeletons import H36M_32
from h36m_toolbox.storage.files import written_whole


def read_pose_cdf(path: Path, dims: int) -> np.ndarray:
    """The poses of one file, float32 (frames, 32, dims), in the file's own unit (mm for 3D, px for 2D).

    Accepts r- and z-variables, either majority, 4- and 8-byte floats, with or without the leading record axis.
    Raises H36MError for a missing, truncated or foreign file and for one without `Pose` or with another joint count.
    """
    expected = f"a CDF file whose variable Pose has {len(H36M_32) * dims} numbers a frame"
    if not path.is_file():
        raise H36MError(f"{path}: not found; expected {expected}")
    try:
        with CdfInMemory(path) as cdf:
            info = cdf.cdf_info()
            names = [*info.rVariables, *info.zVariables]
            values = cdf.values("Pose") if "Pose" in names else None
    except Exception as error:  # cdflib lets struct, index, zlib and many other errors out for damaged files
        raise H36MError(f"{path}: cannot be read as CDF ({error}); expected {expected}: get the file again") from error
    if values is None:
        raise H36MError(f"{path}: has the variables {', '.join(names) or '(none)'} but no Pose; expected {expected}")
    width = len(H36M_32) * dims
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or values.shape[1] != width or values.dtype.kind != "f":
        raise H36MError(f"{path}: Pose is {values.dtype} {values.shape}; expected {expected}: get the file again")
    if not np.isfinite(values).all():
        raise H36MError(f"{path}: Pose holds NaN or infinite numbers; expected {expected}: get the file again")
    return values.astype(np.float32, copy=False).reshape(len(values), len(H36M_32), dims)


def pose_cdf_frames(path: Path, dims: int) -> int:
    """How many poses a file holds, from its headers alone; H36MError where it is truncated or no such file.

    Tells in 0.1 ms what `read_pose_cdf` finds by reading everything, but for numbers that are NaN.
    """
    width = len(H36M_32) * dims
    expected = f"a CDF file whose variable Pose has {width} numbers a frame"
    try:
        missing = _missing_bytes(path)
        if missing > 0:
            raise H36MError(f"{path}: truncated, its last {missing:,} bytes are not there; get the file again")
        with CdfInMemory(path) as cdf:
            found = cdf.varinq("Pose")
        shape = [*([found.Last_Rec + 1] if found.Last_Rec or found.Num_Dims < 2 else []), *map(int, found.Dim_Sizes)]
    except H36MError:
        raise
    except Exception as error:  # as in `read_pose_cdf`
        raise H36MError(f"{path}: cannot be read as CDF ({error}); expected {expected}: get the file again") from error
    if len(shape) != 2 or shape[1] != width:
        raise H36MError(f"{path}: Pose is {shape}; expected {expected}: get the file again")
    return int(shape[0])


# First four bytes; offset of the pointer to the global record; its own fields before the length of the file.
_CDF_VERSIONS = {b"\xcd\xf3\x00\x01": (20, 36, ">q"), b"\xcd\xf2\x60\x02": (16, 20, ">i")}
_WHOLE_FILE_COMPRESSED = b"\xcc\xcc\x00\x01"


def _missing_bytes(path: Path) -> int:
    """By how much a file is shorter than its header says; 0 where it does not say (CDF internal format, GDR eof)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic, packing = file.read(4), file.read(4)
        if magic not in _CDF_VERSIONS or packing == _WHOLE_FILE_COMPRESSED:
            return 0
        pointer, before_end, number = _CDF_VERSIONS[magic]
        file.seek(pointer)
        (place,) = struct.unpack(number, file.read(struct.calcsize(number)))
        file.seek(place + before_end)
        (end,) = struct.unpack(number, file.read(struct.calcsize(number)))
    return max(0, end - size)


def write_pose_cdf(path: Path, poses: np.ndarray) -> None:
    """Poses (frames, 32, 3) in mm or (frames, 32, 2) in px as a zVariable `Pose` (1, frames, 96 or 64), float32.

    Uncompressed and without a date: equal poses give equal bytes. Raises H36MError for poses of any other shape.
    """
    if poses.ndim != 3 or poses.shape[1] != len(H36M_32) or poses.shape[2] not in (2, 3) or len(poses) == 0:
        raise H36MError(f"{path}: poses have shape {poses.shape}; a pose file holds (1 or more frames, 32, 2 or 3)")
    record = np.ascontiguousarray(poses, np.float32).reshape(1, len(poses), -1)
    spec = {
        "Variable": "Pose",
        "Data_Type": CDF.CDF_REAL4,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(record.shape[1:]),
        "Var_Type": "zVariable",
        "Compress": 0,
    }
    with written_whole(path) as temporary:
        named = temporary.with_suffix(".cdf")  # cdflib writes to no other suffix
        try:
            cdf = CDF(named, delete=True)
            cdf.write_var(spec, var_data=record)
            cdf.close()
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
