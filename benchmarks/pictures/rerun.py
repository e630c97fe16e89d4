"""A scene as a recording for the Rerun viewer (https://rerun.io): frames, cameras and skeletons on one timeline."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import simplejpeg

from h36m_toolbox.benchmarks.pictures.drawing import FAINT, VIVID, Colour, Paint
from h36m_toolbox.benchmarks.pictures.frames import FrameSource
from h36m_toolbox.benchmarks.pictures.scenes import Scene, recording_name
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import FPS
from h36m_toolbox.skeletons import H36M_17, Skeleton
from h36m_toolbox.storage.files import written_whole

_JPEG_QUALITY = 88
_BONE_MM = 12
_BONE_PX = 2
_METRES = 1e-3


def write_rerun(path: Path, scene: Scene, sources: tuple[FrameSource, ...]) -> None:
    """Write a scene as a Rerun recording, `.rrd`, metres, world z up.

    Entities: `world/truth`, `world/prediction/<camera>` (its pelvis on the true one's) and, for each camera,
    `world/<camera>` (pose and pinhole) with `world/<camera>/frame` (JPEG) and `.../pose_2d` (px). Timelines: `frame`
    (from 0) and `time` (s, at 50 frames a second). The error of the prediction, mm, is `error_mm/<camera>`.

    Raises H36MError as `check_rerun` does.
    """
    check_rerun(path)
    rr = _rerun()
    with written_whole(path) as temporary:
        # a stream of its own leaves a recording that the caller has open alone; recordings of one id would be merged
        name = " ".join([recording_name(scene.recording), *([scene.predicted.model] if scene.predicted else [])])
        with rr.RecordingStream("h36m", recording_id=name) as stream:
            stream.save(temporary)
            stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
            for sequence, camera in zip(scene.sequences, scene.cameras, strict=True):
                place = f"world/{sequence.camera}"
                pose = rr.Transform3D(translation=camera.center * _METRES, mat3x3=camera.rotation.T)
                pinhole = rr.Pinhole(image_from_camera=camera.intrinsics, resolution=camera.size)
                stream.log(place, pose, pinhole, static=True)
            numbers = [int(frame) for frame in scene.frames]
            images = zip(*(source.read(numbers) for source in sources), strict=True)
            for index, (number, seen) in enumerate(zip(numbers, images, strict=True)):
                stream.set_time("frame", sequence=number)
                stream.set_time("time", duration=number / FPS)
                _log_views(rr, stream, scene, sources, index, seen)
                _log_poses(rr, stream, scene, index)
        stream.disconnect()


def check_rerun(path: Path) -> None:
    """An H36MError for a name without `.rrd`, and where the package rerun-sdk is not installed."""
    if path.suffix.lower() != ".rrd":
        raise H36MError(f"{path}: a Rerun recording's name must end in .rrd")
    _rerun()


def _rerun() -> ModuleType:
    try:
        return import_module("rerun")
    except ImportError as error:
        raise H36MError(
            f"a Rerun recording needs the package rerun-sdk ({error}); install it with `pip install 'h36m[rerun]'`"
        ) from error


def _log_views(
    rr: ModuleType,
    stream: Any,
    scene: Scene,
    sources: tuple[FrameSource, ...],
    index: int,
    images: tuple[np.ndarray | None, ...],
) -> None:
    for view, (sequence, image) in enumerate(zip(scene.sequences, images, strict=True)):
        place = f"world/{sequence.camera}/frame"
        if image is None:
            stream.log(place, rr.Clear(recursive=False))
        else:
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=_JPEG_QUALITY)
            stream.log(place, rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))
        pixels = scene.pixels[view, index]
        if sources[view].undistorted:
            pixels = scene.cameras[view].undistort(pixels)
        lines = rr.LineStrips2D(_strips(pixels, H36M_17), colors=_bone_colours(H36M_17, VIVID), radii=_BONE_PX)
        stream.log(f"{place}/pose_2d", lines)


def _log_poses(rr: ModuleType, stream: Any, scene: Scene, index: int) -> None:
    truth = scene.world[index]
    paint = VIVID if scene.predicted is None else FAINT
    _log_pose(rr, stream, "world/truth", truth, H36M_17, paint)
    if scene.predicted is None:
        return
    made = scene.predicted
    for view, sequence in enumerate(scene.sequences):
        _log_pose(
            rr,
            stream,
            f"world/prediction/{sequence.camera}",
            made.poses[view, index] + truth[0],
            made.skeleton,
            VIVID,
        )
        error = rr.Scalars(float(made.errors_mm[view, index]))
        stream.log(f"error_mm/{sequence.camera}", error)


def _log_pose(rr: ModuleType, stream: Any, place: str, pose: np.ndarray, skeleton: Skeleton, paint: Paint) -> None:
    metres, radius = pose * _METRES, _BONE_MM * _METRES
    strips = rr.LineStrips3D(_strips(metres, skeleton), colors=_bone_colours(skeleton, paint), radii=radius)
    stream.log(f"{place}/bones", strips)
    points = rr.Points3D(metres, colors=paint.joints(skeleton), radii=1.4 * radius)
    stream.log(f"{place}/joints", points)


def _strips(points: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    return points[np.array(skeleton.bones)]  # (bones, 2, dims)


def _bone_colours(skeleton: Skeleton, paint: Paint) -> list[Colour]:
    colours = paint.joints(skeleton)
    return [colours[child] for _, child in skeleton.bones]
