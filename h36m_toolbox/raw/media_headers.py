"""How many frames a video and how many masks a mask file holds, from their headers, without decoding anything."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import h5py

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames.videos import opened_video

_MASK_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, AttributeError)  # what h5py makes of a damaged file


def video_header_frames(path: Path) -> int:
    """Frames that an mp4's header counts; H36MError where the file is truncated or no video."""
    missing = _missing_bytes(path)
    if missing:
        raise H36MError(f"{path}: truncated, its last {missing:,} bytes are not there; get the file again")
    try:
        with opened_video(path) as container:
            return int(container.streams.video[0].frames)
    except (av.FFmpegError, IndexError) as error:
        raise H36MError(f"{path}: cannot be read as a video ({error}); get the file again") from error


def mask_count(path: Path) -> int:
    """Masks that a MATLAB 7.3 mask file holds; H36MError where it is truncated or no such file."""
    try:
        with h5py.File(path, "r") as file:
            return int(file["Masks"].size)
    except _MASK_DAMAGE as error:
        raise H36MError(
            f"{path}: damaged or no mask file ({error}); expected MATLAB 7.3 with a cell array Masks, get it again"
        ) from error


def _missing_bytes(path: Path) -> int:
    """By how much a file is shorter than its outermost boxes say (ISO/IEC 14496-12, 4.2); 0 for no such file."""
    size, place = path.stat().st_size, 0
    with path.open("rb") as file:
        while place + 8 <= size:
            file.seek(place)
            length, name = struct.unpack(">I4s", file.read(8))
            if place == 0 and name != b"ftyp":
                return 0
            if length == 1:  # the length follows, in eight bytes
                wide = file.read(8)
                length = struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0
            if length < 8:  # 0: to the end of the file
                return 0
            place += length
    return max(0, place - size)
