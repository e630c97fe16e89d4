"""Videos as a stream of frames, and frames as JPEG files, on one thread and without a detour through RGB."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import simplejpeg
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace

from h36m_toolbox.errors import H36MError

_FULL_RANGE_420 = "yuvj420p"
_BT601_LIKE = {Colorspace.ITU601.value, 2, 6}  # 2: untagged, which every decoder takes for BT.601; 6: SMPTE 170M


def video_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from a video's header; H36MError for a file that is no video."""
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            return stream.width, stream.height
    except (av.FFmpegError, IndexError) as error:
        raise H36MError(f"{path}: cannot be read as a video ({error}); get the file again") from error


def decoded_frames(path: Path) -> Iterator[av.VideoFrame]:
    """Every frame of a video from the start, decoded on one thread.

    The header's frame count is never trusted: a reader counts what comes. H36MError where decoding fails, at the start
    or after the frames that could be decoded.
    """
    count = 0
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                yield frame
                count += 1
    except (av.FFmpegError, IndexError) as error:
        raise H36MError(
            f"{path}: cannot be decoded beyond its first {count} frames ({error}); get the file again"
        ) from error


def jpeg_of(frame: av.VideoFrame, quality: int) -> bytes:
    """A decoded frame as a JPEG file, chroma subsampled 4:2:0 and full range, as JFIF wants it."""
    luma, blue, red = _full_range_planes(frame)
    return simplejpeg.encode_jpeg_yuv_planes(luma, blue, red, quality=quality, fastdct=False)


def _full_range_planes(frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    is_full_range = frame.format.name == _FULL_RANGE_420 or frame.color_range == ColorRange.JPEG.value
    if frame.format.name not in ("yuv420p", _FULL_RANGE_420) or frame.colorspace not in _BT601_LIKE:
        frame = frame.reformat(
            format=_FULL_RANGE_420, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
        )
        is_full_range = True
    luma, blue, red = (_plane(plane) for plane in frame.planes)
    if is_full_range:
        return np.ascontiguousarray(luma), np.ascontiguousarray(blue), np.ascontiguousarray(red)
    luma_table, chroma_table = _studio_to_full_range()
    return cv2.LUT(luma, luma_table), cv2.LUT(blue, chroma_table), cv2.LUT(red, chroma_table)


def _plane(plane: VideoPlane) -> np.ndarray:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


@cache
def _studio_to_full_range() -> tuple[np.ndarray, np.ndarray]:
    """Look-up tables of ITU-R BT.601: luma 16..235 and chroma 16..240 to 0..255."""
    codes = np.arange(256, dtype=np.float64)
    luma = np.clip(np.rint((codes - 16) * 255 / 219), 0, 255).astype(np.uint8)
    chroma = np.clip(np.rint((codes - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)
    return luma, chroma
