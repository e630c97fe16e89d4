"""The invented videos: their bar codes, their frames and the figure where the 2D poses say it is."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS, Recording, sequences
from h36m_toolbox.skeletons import H36M_17, H36M_32
from h36m_toolbox.synthetic.motion import poses_in_camera, synthetic_motion
from h36m_toolbox.synthetic.room import room_image
from h36m_toolbox.synthetic.video import (
    BarCode,
    draw_bar_code,
    read_bar_code,
    synthetic_images,
    write_synthetic_video,
)

RECORDING = Recording("S9", "WalkingTogether", 2)
POSES, FRAMES = 6, 8


@given(st.sampled_from(sequences()), st.integers(0, 4095))
def test_a_bar_code_reads_back(sequence, frame) -> None:
    image = np.full((64, 300, 3), 128, np.uint8)
    draw_bar_code(image, BarCode(sequence, frame))
    assert read_bar_code(image) == read_bar_code(image[..., 0]) == BarCode(sequence, frame)


def test_the_bar_code_is_laid_out_as_in_the_golden_archive() -> None:
    image = np.zeros((64, 300, 3), np.uint8)
    draw_bar_code(image, BarCode(Recording("S11", "Eating", 2).view(CAMERA_IDS[3]), 5))
    squares = image[26:56:20, 26:256:20, 0] > 128
    values = squares @ (1 << np.arange(12))
    assert values.tolist() == [11 | 4 << 4 | 2 << 8 | 3 << 10, 5]


@pytest.mark.parametrize("image", [np.full((1000, 1000, 3), 120, np.uint8), np.zeros((40, 40, 3), np.uint8)])
def test_an_image_without_bar_code_is_refused(image: np.ndarray) -> None:
    with pytest.raises(H36MError, match="bar code"):
        read_bar_code(image)


def test_a_dark_corner_is_no_sequence() -> None:
    with pytest.raises(H36MError, match="no sequence"):
        read_bar_code(np.zeros((1000, 1000, 3), np.uint8))


@pytest.mark.parametrize("camera", CAMERA_IDS)
def test_a_video_decodes_to_every_frame_in_order_at_the_cameras_size(camera: str, tmp_path: Path) -> None:
    view = RECORDING.view(camera)
    path = tmp_path / "walk.mp4"
    write_synthetic_video(path, view, synthetic_motion(RECORDING, POSES), FRAMES)
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 50)
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(stream)]
    assert [read_bar_code(image) for image in images] == [BarCode(view, frame) for frame in range(FRAMES)]
    assert {image.shape for image in images} == {(*h36m_camera("S9", camera).size[::-1], 3)}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("camera", CAMERA_IDS)
def test_the_figure_is_drawn_where_the_2d_poses_say(camera: str) -> None:
    motion = synthetic_motion(RECORDING, POSES)
    pixels = H36M_32.select(poses_in_camera(motion, h36m_camera("S9", camera)).image, H36M_17.joints)
    room = room_image("S9", camera)
    for image, joints in zip(synthetic_images(RECORDING.view(camera), motion, POSES), pixels, strict=True):
        columns, rows = np.rint(joints).astype(int).T
        changed = np.abs(image.astype(int) - room).max(axis=-1) > 20
        assert changed[rows, columns].all()
        elsewhere = np.ones_like(changed)
        elsewhere[:60, :260] = False  # the bar code
        low, high = np.floor(joints.min(axis=0)).astype(int) - 60, np.ceil(joints.max(axis=0)).astype(int) + 60
        high[1] += 60  # the shadow, where the body leans towards the camera
        elsewhere[low[1] : high[1], low[0] : high[0]] = False
        assert not changed[elsewhere].any()


def test_the_right_arm_is_orange_and_the_left_one_blue() -> None:
    recording = Recording("S1", "Directions", 1)
    motion = synthetic_motion(recording, 1)
    seen = {"R": [], "L": []}
    for camera in CAMERA_IDS:
        (image,) = synthetic_images(recording.view(camera), motion, 1)
        pixels = poses_in_camera(motion, h36m_camera("S1", camera)).image[0]
        for side, shades in seen.items():
            upper, lower = (pixels[H36M_32.joints.index(side + name)] for name in ("Elbow", "Wrist"))
            column, row = np.rint((upper + lower) / 2).astype(int)
            blue, _, red = image[row, column].astype(int)
            shades.append(red - blue)
    assert max(seen["R"]) > 80 and min(seen["L"]) < -80  # in the views where the trunk does not hide the arm


def test_the_last_pose_is_held_when_the_video_is_longer() -> None:
    motion = synthetic_motion(RECORDING, 2)
    images = list(synthetic_images(RECORDING.views[1], motion, 4))
    np.testing.assert_array_equal(images[1][60:], images[3][60:])
    assert (images[0][60:] != images[1][60:]).any()
