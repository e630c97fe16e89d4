"""Videos as a stream of frames, and frames as JPEG files, on one thread and without a detour through RGB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import simplejpeg
from av.container import InputContainer
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from h36m_toolbox.errors import H36MError

_FULL_RANGE_420 = "yuvj420p"
_BT601_LIKE = {Colorspace.ITU601.value, 2, 6}  # 2: untagged, which every decoder takes for BT.601; 6: SMPTE 170M


def opened_video(path: Path) -> InputContainer:
    """A video file, opened; tags that are no text do not matter (PyAV 19 and later never look at them so closely)."""
    lenient: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
    return av.open(path, **lenient)


def video_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels from a video's header; H36MError for a file that is no video."""
    try:
        with opened_video(path) as container:
            stream = container.streams.video[0]
            return stream.width, stream.height
    except (av.FFmpegError, IndexError) as error:
        raise H36MError(f"{path}: cannot be read as a video ({error}); get the file again") from error


def video_stream(container: InputContainer) -> VideoStream:
    """The video of an opened file, set to decode on one thread; IndexError where it has none."""
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    return stream


def decoded_frames(path: Path) -> Iterator[av.VideoFrame]:
    """Every frame of a video from the start, decoded on one thread.

    The header's frame count is never trusted: a reader counts what comes. H36MError where decoding fails, at the start
    or after the frames that could be decoded.
    """
    count = 0
    try:
        with opened_video(path) as container:
            for frame in container.decode(video_stream(container)):
                yield frame
                count += 1
    except (av.FFmpegError, IndexError) as error:
        found = f"cannot be decoded beyond its first {count} frames" if count else "cannot be read as a video"
        raise H36MError(f"{path}: {found} ({error}); get the file again") from error


Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


def full_range_planes(frame: av.VideoFrame, scratch: Planes | None = None) -> Planes:
    """Luma (h, w), blue and red difference (h/2, w/2) of a frame, 0..255, as a JPEG stores them.

    They are written into `scratch` where it fits: new memory for every frame costs as much as the arithmetic.
    """
    is_full_range = frame.format.name == _FULL_RANGE_420 or frame.color_range == ColorRange.JPEG.value
    if frame.format.name not in ("yuv420p", _FULL_RANGE_420) or frame.colorspace not in _BT601_LIKE:
        frame = frame.reformat(
            format=_FULL_RANGE_420, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
        )
        is_full_range = True
    luma, blue, red = frame_planes(frame)
    if scratch is None or scratch[0].shape != luma.shape:
        scratch = (np.empty(luma.shape, np.uint8), np.empty(blue.shape, np.uint8), np.empty(red.shape, np.uint8))
    if is_full_range:
        for source, target in zip((luma, blue, red), scratch, strict=True):
            np.copyto(target, source)
    else:
        _full_range_luma(luma, scratch[0])
        _full_range_chroma(blue, scratch[1])
        _full_range_chroma(red, scratch[2])
    return scratch


def frame_planes(frame: av.VideoFrame) -> Planes:
    """The samples of a yuv420p frame as they were decoded: views into it, rows apart by more than their length."""
    luma, blue, red = (_plane(plane) for plane in frame.planes)
    return luma, blue, red


def _plane(plane: VideoPlane) -> np.ndarray:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _full_range_luma(codes: np.ndarray, target: np.ndarray) -> None:
    """ITU-R BT.601 luma 16..235 as 0..255, rounded and saturated."""
    _scaled(codes, 255 / 219, -16 * 255 / 219, target)


def _full_range_chroma(codes: np.ndarray, target: np.ndarray) -> None:
    """ITU-R BT.601 chroma 16..240 around 128 as 0..255 around 128, rounded and saturated."""
    _scaled(codes, 255 / 224, 128 - 128 * 255 / 224, target)


def _scaled(codes: np.ndarray, gain: float, offset: float, target: np.ndarray) -> None:
    """In one pass; OpenCV's function for one image turns what is negative into its absolute value."""
    cv2.addWeighted(codes, gain, codes, 0, offset, dst=target)


def encoded(planes: Planes, quality: int) -> bytes:
    """Full-range planes as a JPEG file (4:2:0, as in JFIF)."""
    return bytes(simplejpeg.encode_jpeg_yuv_planes(*planes, quality=quality, fastdct=False))


def bgr_image(planes: Planes) -> np.ndarray:
    """Full-range planes as (height, width, 3) uint8 BGR: as decoded from their JPEG file, but for its losses."""
    luma, blue, red = planes
    size = luma.shape[1], luma.shape[0]
    blue, red = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (blue, red))
    return np.asarray(cv2.cvtColor(cv2.merge([luma, red, blue]), cv2.COLOR_YCrCb2BGR), np.uint8)
