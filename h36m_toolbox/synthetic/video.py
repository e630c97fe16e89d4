"""Videos of the synthetic subjects: H.264 in mp4 as Human3.6M has them, with a bar code in every frame.

The bar code names sequence and frame, so that an off-by-one error in anything that reads videos is visible: 24 squares
of 20 x 20 px from (16, 16), 12 a row, bright is 1, least significant bit first. Row 1 holds subject & 15 | action id &
15 << 4 | sub-action & 3 << 8 | camera index << 10, row 2 the frame's number, from 0, & 0xFFF.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import ACTION_IDS, CAMERA_IDS, FPS, SUBACTIONS, Sequence
from h36m_toolbox.storage.files import written_whole
from h36m_toolbox.synthetic.figure import draw_figure, figure_of
from h36m_toolbox.synthetic.motion import Motion
from h36m_toolbox.synthetic.room import room_image

_SQUARE_PX = 20
_CORNER_PX = 16
_ROW_BITS = 12
_BRIGHT, _DARK = 235, 20
_ENCODER = {"preset": "ultrafast", "crf": "20", "threads": "1"}  # one thread: the same bytes every time


@dataclass(frozen=True)
class BarCode:
    """What a synthetic video frame says about itself; `frame` counts from 0 and wraps at 4096."""

    sequence: Sequence
    frame: int


def write_synthetic_video(path: Path, sequence: Sequence, motion: Motion, frames: int) -> None:
    """Film `motion` with one of the real cameras: `frames` frames at 50 Hz, the last pose held."""
    images = synthetic_images(sequence, motion, frames)
    encode_video(path, images, h36m_camera(sequence.subject, sequence.camera).size)


def synthetic_images(sequence: Sequence, motion: Motion, frames: int) -> Iterator[np.ndarray]:
    """The video's frames, uint8 BGR (height, width, 3), one after the other."""
    room = room_image(sequence.subject, sequence.camera)
    camera = h36m_camera(sequence.subject, sequence.camera)
    figure = figure_of(sequence.subject_number, motion.world, motion.seat, camera)
    for frame in range(frames):
        image = room.copy()
        draw_figure(figure, min(frame, len(motion.world) - 1), image)
        draw_bar_code(image, BarCode(sequence, frame))
        yield image


def encode_video(path: Path, images: Iterable[np.ndarray], size: tuple[int, int]) -> None:
    """H.264 yuv420p mp4 at 50 frames a second from uint8 BGR images of `size` (width, height), streamed."""
    with written_whole(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=_ENCODER)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.codec_context.thread_count = 1
        for number, image in enumerate(images):
            planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def draw_bar_code(image: np.ndarray, code: BarCode) -> None:
    """Draw a bar code into a uint8 image (height, width, channels), in place."""
    sequence = code.sequence
    view = (
        sequence.subject_number & 15
        | (sequence.action_id & 15) << 4
        | (sequence.subaction & 3) << 8
        | sequence.camera_index << 10
    )
    bits = np.array([[value >> bit & 1 for bit in range(_ROW_BITS)] for value in (view, code.frame & 0xFFF)], bool)
    squares = np.where(bits, np.uint8(_BRIGHT), np.uint8(_DARK)).repeat(_SQUARE_PX, axis=0).repeat(_SQUARE_PX, axis=1)
    rows, columns = (slice(_CORNER_PX, _CORNER_PX + length) for length in squares.shape)
    image[rows, columns] = squares[..., None]


def read_bar_code(image: np.ndarray) -> BarCode:
    """The bar code of a decoded frame, uint8 (height, width) or (height, width, channels) in any order of channels.

    Raises H36MError for an image without one, or one too small or damaged to read.
    """
    height, width = 2 * _SQUARE_PX, _ROW_BITS * _SQUARE_PX
    area = image[_CORNER_PX : _CORNER_PX + height, _CORNER_PX : _CORNER_PX + width]
    if area.shape[:2] != (height, width):
        raise H36MError(f"an image of shape {image.shape} is too small for a bar code; give a whole synthetic frame")
    gray = area.reshape(2, _SQUARE_PX, _ROW_BITS, _SQUARE_PX, -1)
    levels = gray[:, 5:15, :, 5:15].mean(axis=(1, 3, 4))  # (2, 12), the middle of each square
    if (np.abs(levels - 128) < 48).any():
        raise H36MError("the image has no bar code; only frames of synthetic videos have one")
    view, frame = ((levels > 128) @ (1 << np.arange(_ROW_BITS))).tolist()
    actions = {action_id & 15: action for action, action_id in ACTION_IDS.items()}
    subject, action, subaction = view & 15, actions.get(view >> 4 & 15), view >> 8 & 3
    if action is None or subaction not in SUBACTIONS or not 1 <= subject <= 11:
        raise H36MError(f"the image's bar code reads {view:#05x}, which is no sequence; is it a synthetic frame?")
    return BarCode(Sequence(f"S{subject}", action, subaction, CAMERA_IDS[view >> 10]), frame)
