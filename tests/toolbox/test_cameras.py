from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_toolbox.cameras import Camera, h36m_camera, h36m_cameras, rotation_from_angles
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import CAMERA_IDS, SUBJECTS

CAMERAS = Path(__file__).parents[1] / "data" / "cameras"

cameras = st.builds(h36m_camera, st.sampled_from(SUBJECTS), st.sampled_from(CAMERA_IDS))
# points that every camera of the room sees: half a metre around the middle of the capture area
points = st.lists(st.tuples(*[st.floats(-500, 500)] * 3), min_size=1, max_size=20).map(
    lambda rows: np.array(rows) + [0, 0, 900]
)


def test_all_44_cameras_equal_the_calibration_of_the_metadata() -> None:
    published = json.loads((CAMERAS / "mmpose_cameras.json").read_text())
    assert len(published) == len(h36m_cameras()) == 44
    for entry in published:
        camera = h36m_camera(entry["subject"], entry["id"])
        np.testing.assert_allclose(camera.rotation.T, entry["R"], atol=1e-14)
        np.testing.assert_allclose(camera.center, np.ravel(entry["T"]) * 1000, rtol=1e-14)
        for name, value in zip("fckp", (camera.focal, camera.principal, camera.radial, camera.tangential), strict=True):
            np.testing.assert_allclose(value, np.ravel(entry[name]), rtol=1e-14)
        assert camera.size == (entry["w"], entry["h"])


def test_projection_equals_3d_pose_baseline() -> None:
    golden = np.load(CAMERAS / "martinez_camera.npz")
    for subject, index in json.loads((CAMERAS / "martinez_camera.json").read_text())["config"]["cameras"]:
        camera = h36m_camera(f"S{subject}", CAMERA_IDS[index])
        name = f"output.S{subject}_{index}_"
        in_camera = camera.world_to_camera(golden["input.world_mm"])
        np.testing.assert_allclose(in_camera, golden[name + "world_to_camera"], atol=1e-6)
        np.testing.assert_allclose(camera.project(in_camera), golden[name + "pixels"], atol=1e-6)


@given(cameras, points)
def test_world_to_camera_and_back_is_the_identity(camera: Camera, world: np.ndarray) -> None:
    np.testing.assert_allclose(camera.camera_to_world(camera.world_to_camera(world)), world, atol=1e-8)


@given(cameras, points)
def test_undistorting_a_projection_gives_the_ideal_projection(camera: Camera, world: np.ndarray) -> None:
    in_camera = camera.world_to_camera(world)
    np.testing.assert_allclose(camera.undistort(camera.project(in_camera)), camera.project_linear(in_camera), atol=1e-6)


@given(cameras, st.floats(100, 10_000))
def test_a_point_on_the_axis_lands_on_the_principal_point(camera: Camera, depth: float) -> None:
    np.testing.assert_allclose(camera.project(np.array([0, 0, depth])), camera.principal)


@given(cameras, points, st.floats(-300, 300), st.floats(-300, 300))
def test_a_cropped_camera_sees_the_same_points_shifted(
    camera: Camera, world: np.ndarray, left: float, top: float
) -> None:
    in_camera = camera.world_to_camera(world)
    cropped = camera.cropped(left, top, 256, 256)
    np.testing.assert_allclose(cropped.project(in_camera), camera.project(in_camera) - [left, top], atol=1e-9)
    assert cropped.size == (256, 256)


@given(cameras, points, st.integers(10, 3000), st.integers(10, 3000))
def test_a_resized_camera_sees_the_same_points_scaled(
    camera: Camera, world: np.ndarray, width: int, height: int
) -> None:
    in_camera = camera.world_to_camera(world)
    scale = [width / camera.size[0], height / camera.size[1]]
    np.testing.assert_allclose(camera.resized(width, height).project(in_camera), camera.project(in_camera) * scale)


@given(st.tuples(*[st.floats(-np.pi, np.pi)] * 3))
def test_angles_make_a_rotation(angles: tuple[float, float, float]) -> None:
    rotation = rotation_from_angles(*angles)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_distortion_is_not_opencvs() -> None:
    # with OpenCV's doubled cross terms this corner would land 0.5 px and more elsewhere (dataset facts, section 2)
    camera = h36m_camera("S1", "54138969")
    x, y = 0.4, 0.4
    p1, p2 = camera.tangential
    opencv_extra = np.array([p1 * x * y + p2 * x * x, p1 * y * y + p2 * x * y]) * camera.focal
    k1, k2, k3 = camera.radial
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    opencv = (
        np.array(
            [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y]
        )
        * camera.focal
        + camera.principal
    )
    np.testing.assert_allclose(camera.project(np.array([x, y, 1.0])), opencv - opencv_extra, atol=1e-9)
    assert np.linalg.norm(opencv_extra) > 0.5


def test_an_unknown_camera_is_named() -> None:
    with pytest.raises(H36MError, match="no camera 12345678 for subject S1"):
        h36m_camera("S1", "12345678")
