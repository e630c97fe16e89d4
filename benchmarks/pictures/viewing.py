"""`h36m view` as a function: one recording of DATA, seen by one camera or all, drawn into files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from h36m_toolbox.benchmarks.pictures.files import BITRATE_KBIT_S, check_suffix, write_pictures
from h36m_toolbox.benchmarks.pictures.frames import FrameSource, frames_of_data, frames_of_video
from h36m_toolbox.benchmarks.pictures.panels import Style, pictures_of
from h36m_toolbox.benchmarks.pictures.rerun import check_rerun, write_rerun
from h36m_toolbox.benchmarks.pictures.scenes import Scene, Selection, read_scene
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS, FPS, Recording


@dataclass(frozen=True)
class ViewRequest:
    """What to draw and where to. `camera` is an id or "all"; `fps` None plays as fast as life.

    `frame` asks for one frame (from 0) and nothing else; otherwise the first `skip` frames are left out and at most
    `limit` of every `downsample`-th drawn (None: all of them, one for a PNG). `video` replaces the frames of DATA.
    """

    data: Path
    subject: str
    action: str
    subaction: int = 1
    camera: str = "54138969"
    out: Path | None = None
    rerun: Path | None = None
    predictions: Path | None = None
    video: Path | None = None
    size: int = 400
    full_frame: bool = False
    turn: float = 50.0
    frame: int | None = None
    skip: int = 0
    downsample: int = 1
    limit: int | None = None
    fps: float | None = None
    bitrate: int = BITRATE_KBIT_S  # kbit/s


def view(request: ViewRequest, progress: Callable[[], None] | None = None) -> list[str]:
    """Draw what is asked for and write it, whole or not at all; says what was written, line by line.

    `progress` is called after each frame.

    Raises H36MError for a suffix that is no format, an unknown sequence, labels, predictions or a video that are
    missing or damaged, and a selection without a frame.
    """
    if request.out is not None:
        check_suffix(request.out)
    if request.rerun is not None:
        check_rerun(request.rerun)
    cameras = CAMERA_IDS if request.camera == "all" else (request.camera,)
    if request.video is not None and len(cameras) > 1:
        raise H36MError(f"{request.video}: a video is of one camera; name it with --camera instead of all")
    recording = Recording(request.subject, request.action, request.subaction)
    scene = read_scene(request.data, recording, cameras, _selection(request), request.predictions)
    if request.video is not None:
        sources = [frames_of_video(request.video)]
    else:
        sources = [frames_of_data(request.data, sequence) for sequence in scene.sequences]
    missing: set[tuple[int, int]] = set()
    watched = tuple(_watched(source, number, missing, progress) for number, source in enumerate(sources))
    return [*_written(request, scene, watched), *_missing(request, len(missing))]


def _written(request: ViewRequest, scene: Scene, sources: tuple[FrameSource, ...]) -> list[str]:
    lines = []
    frames = _number(len(scene.frames), "frame")
    if scene.predicted is not None:
        lines.append(f"{scene.predicted.model}: {scene.predicted.errors_mm.mean():.2f} mm on average over {frames}")
    if request.out is not None:
        style = Style(request.size + request.size % 2, request.turn, request.full_frame)
        fps = request.fps or FPS / request.downsample
        write_pictures(request.out, pictures_of(scene, sources, style), fps, request.bitrate)
        lines.append(f"wrote {request.out}: {frames}, {request.out.stat().st_size:,} bytes")
    if request.rerun is not None:
        write_rerun(request.rerun, scene, sources)
        lines.append(f"wrote {request.rerun}: {frames}; open it with `rerun {request.rerun}`")
    return lines


def _missing(request: ViewRequest, count: int) -> list[str]:
    if not count:
        return []
    why = f"{request.video} ends before" if request.video else f"`h36m extract RAW --out {request.data}` makes them"
    return [f"{_number(count, 'frame')} without an image, drawn on plain ground ({why})"]


def _selection(request: ViewRequest) -> Selection:
    if request.frame is not None:
        return Selection(only=request.frame)
    is_png = request.out is not None and request.out.suffix.lower() == ".png"
    limit = 1 if request.limit is None and is_png else request.limit
    return Selection(request.skip, request.downsample, limit)


def _watched(
    source: FrameSource, view: int, missing: set[tuple[int, int]], progress: Callable[[], None] | None
) -> FrameSource:
    """The same source, which notes the frames that it does not have; the first view's tells that a frame is read."""

    def read(numbers: Iterable[int]) -> Iterator[np.ndarray | None]:
        wanted = list(numbers)
        for number, image in zip(wanted, source.read(wanted), strict=True):
            if image is None:
                missing.add((view, number))
            yield image
            if progress and view == 0:
                progress()

    return FrameSource(read, source.undistorted)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
