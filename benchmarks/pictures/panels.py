"""A sequence as pictures: its frames with the 2D skeleton, the true pose in 3D, a prediction over the true pose.

Panels of one size stand side by side. In 3D every pose has its pelvis above the middle of the floor, at its true
height, and keeps the directions of the world; the floor's lines pass by as the subject walks. Windows and limits are
those of the whole selection, so nothing jumps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from h36m_toolbox.benchmarks.pictures.drawing import (
    FAINT,
    PAPER,
    VIVID,
    draw_floor,
    draw_pose_2d,
    draw_pose_3d,
    draw_text,
    spectator,
)
from h36m_toolbox.benchmarks.pictures.files import Pictures
from h36m_toolbox.benchmarks.pictures.frames import FrameSource
from h36m_toolbox.benchmarks.pictures.scenes import Predicted, Scene, recording_name
from h36m_toolbox.cameras import Camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.skeletons import H36M_17

_MIN_EXTENT_MM = 2000  # of what a 3D panel shows
_MAX_EXTENT_MM = 3000
_MIN_WINDOW_PX = 200
_SLACK_PX = 2  # two cameras' videos are 1002 px high, the other two's 1000


@dataclass(frozen=True)
class Style:
    """How pictures look: `size` px of a panel's side (even), the 3D panels' `turn_degrees` from the filming camera's
    direction, and whether the whole camera frame is shown or the part of it where the person is."""

    size: int = 400
    turn_degrees: float = 50.0
    full_frame: bool = False


@dataclass(frozen=True)
class Window:
    """The part of a frame that a panel of `size` x `size` px shows, px of the frame; centred, in proportion."""

    left: int
    top: int
    width: int
    height: int
    size: int

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the part in the panel, px."""
        scale = self.size / max(self.width, self.height)
        return round(self.width * scale), round(self.height * scale)

    @property
    def margin(self) -> tuple[int, int]:
        """Where the part's left top corner lies in the panel, px."""
        return (self.size - self.shown[0]) // 2, (self.size - self.shown[1]) // 2

    def placed(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of the frame as those of the panel; whole numbers are centres of pixels in both."""
        scale = np.array(self.shown) / (self.width, self.height)
        return (pixels - (self.left, self.top) + 0.5) * scale - 0.5 + self.margin

    def paste(self, panel: np.ndarray, image: np.ndarray) -> None:
        """Draw the part of a frame into a panel; where the frame ends before the window does, the panel stays."""
        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        height, width = part.shape[:2]
        if not (height and width):
            return
        shown = (round(self.shown[0] * width / self.width), round(self.shown[1] * height / self.height))
        left, top = self.margin
        smaller = cv2.resize(part, shown, interpolation=cv2.INTER_AREA)
        panel[top : top + shown[1], left : left + shown[0]] = smaller


def window_of(pixels: np.ndarray, camera: Camera, size: int, full_frame: bool) -> Window:
    """The window of a panel: the whole frame, or a square within it around all `pixels` (..., 2) with a margin."""
    width, height = camera.size
    if full_frame:
        return Window(0, 0, width, height, size)
    inside = np.clip(pixels.reshape(-1, 2), 0, (width - 1, height - 1))
    low, high = inside.min(axis=0), inside.max(axis=0)
    side = int(min(max(1.45 * (high - low).max(), _MIN_WINDOW_PX), width, height))
    free = side - (high - low)
    corner = low - free * (0.5, 0.65)  # more room above, for the caption
    left, top = np.clip(np.rint(corner), 0, (width - side, height - side)).astype(int).tolist()
    return Window(left, top, side, side, size)


def pictures_of(scene: Scene, sources: tuple[FrameSource, ...], style: Style) -> Pictures:
    """The pictures of a scene, one a frame; `sources` are the frames of its views, in their order.

    Left the view, or up to four of them as a square; then the true pose in 3D; then, with predictions, those of all
    views over the true pose in grey, with their mean error in this frame and over the selection.
    """
    side = style.size if len(scene.sequences) == 1 else style.size // 2
    pixels = [_in_frame(*view) for view in zip(scene.pixels, scene.cameras, sources, strict=True)]
    windows = [
        window_of(poses, camera, side, style.full_frame) for poses, camera in zip(pixels, scene.cameras, strict=True)
    ]
    view = spectator(scene.cameras[0], style.turn_degrees, _extent_mm(scene), style.size)

    def draw(indices: Iterable[int]) -> Iterator[np.ndarray]:
        wanted = list(indices)
        numbers = [int(scene.frames[index]) for index in wanted]
        images = zip(*(source.read(numbers) for source in sources), strict=True)
        for index, seen in zip(wanted, images, strict=True):
            for sequence, camera, image in zip(scene.sequences, scene.cameras, seen, strict=True):
                _check_size(sequence, camera, image)
            frames = [
                _frame_panel(image, poses[index], window)
                for image, poses, window in zip(seen, pixels, windows, strict=True)
            ]
            panels = [_captioned_frames(scene, index, frames), _truth_panel(scene, index, view)]
            if scene.predicted is not None:
                panels.append(_predicted_panel(scene, scene.predicted, index, view))
            yield np.concatenate(panels, axis=1)

    return Pictures(len(scene.frames), draw)


def _check_size(sequence: Sequence, camera: Camera, image: np.ndarray | None) -> None:
    if (
        image is not None
        and max(abs(image.shape[1] - camera.size[0]), abs(image.shape[0] - camera.size[1])) > _SLACK_PX
    ):
        width, height = camera.size
        raise H36MError(
            f"the frames of {sequence} are {image.shape[1]}x{image.shape[0]} px, the labels are in pixels of "
            f"{width}x{height}; give frames or a video of the original size"
        )


def _in_frame(pixels: np.ndarray, camera: Camera, source: FrameSource) -> np.ndarray:
    return camera.undistort(pixels) if source.undistorted else pixels


def _extent_mm(scene: Scene) -> float:
    poses = [_above_origin(scene.world)]
    if scene.predicted is not None:
        heights = scene.world[:, :1] * (0, 0, 1)
        poses += [pose + heights for pose in scene.predicted.poses]
    reach = max(float(np.abs(pose[..., :2]).max()) for pose in poses)
    # a poor prediction may reach far; the floor bounds what is worth showing of it
    return float(np.clip(max(*(pose[..., 2].max() for pose in poses), 2 * reach), _MIN_EXTENT_MM, _MAX_EXTENT_MM))


def _above_origin(world: np.ndarray) -> np.ndarray:
    return world - world[..., :1, :] * (1, 1, 0)


def _frame_panel(image: np.ndarray | None, pixels: np.ndarray, window: Window) -> np.ndarray:
    panel = np.full((window.size, window.size, 3), PAPER, np.uint8)
    if image is not None:
        window.paste(panel, image)
    draw_pose_2d(panel, window.placed(pixels), H36M_17)
    return panel


def _captioned_frames(scene: Scene, index: int, frames: list[np.ndarray]) -> np.ndarray:
    panel = frames[0]
    if len(frames) > 1:
        blank = np.full_like(panel, PAPER)
        four = [*frames, blank, blank][:4]
        panel = np.concatenate([np.concatenate(four[:2], axis=1), np.concatenate(four[2:], axis=1)])
    else:
        place = f"camera {scene.sequences[0].camera}, frame {scene.frames[index]}"
        _caption(panel, recording_name(scene.recording), place)
    return panel


def _truth_panel(scene: Scene, index: int, view: Camera) -> np.ndarray:
    panel = _floor_panel(scene, index, view)
    draw_pose_3d(panel, _above_origin(scene.world[index]), H36M_17, view)
    lines = ["ground truth"]
    if len(scene.sequences) > 1:  # the views are too small for words
        lines.append(f"{recording_name(scene.recording)}, frame {scene.frames[index]}")
    _caption(panel, *lines)
    height = _letters(panel)
    below = panel.shape[0] - 2 * height
    draw_text(panel, "left", (height, below), height, VIVID.left)
    draw_text(panel, "right", (4 * height, below), height, VIVID.right)
    return panel


def _predicted_panel(scene: Scene, predicted: Predicted, index: int, view: Camera) -> np.ndarray:
    panel = _floor_panel(scene, index, view)
    height = scene.world[index, :1] * (0, 0, 1)
    draw_pose_3d(panel, _above_origin(scene.world[index]), H36M_17, view, FAINT)
    for pose in predicted.poses[:, index]:
        draw_pose_3d(panel, pose + height, predicted.skeleton, view, shadow=False)
    error, mean = predicted.errors_mm[:, index].mean(), predicted.errors_mm.mean()
    _caption(panel, f"{predicted.model} (grey: truth)", f"error {error:.1f} mm, on average {mean:.1f} mm")
    return panel


def _floor_panel(scene: Scene, index: int, view: Camera) -> np.ndarray:
    panel = np.full((view.size[1], view.size[0], 3), PAPER, np.uint8)
    draw_floor(panel, view, scene.world[index, 0, :2])
    return panel


def _caption(panel: np.ndarray, *lines: str) -> None:
    height = _letters(panel)
    for number, line in enumerate(lines):
        draw_text(panel, line, (height, height + round(1.7 * height * number)), height)


def _letters(panel: np.ndarray) -> int:
    return max(10, panel.shape[0] // 26)
