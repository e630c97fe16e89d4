from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_toolbox.detections.bundles import read_sequence_detections
from h36m_toolbox.sequences import CAMERA_IDS
from h36m_toolbox.videopose3d import ScreenCamera, screen_camera, screen_normalised, screen_to_pixels

CAMERAS = Path(__file__).parents[1] / "data" / "cameras"


def test_cameras_equal_videopose3ds_constants_bit_for_bit() -> None:
    golden = np.load(CAMERAS / "camera_table.npz")
    config = json.loads((CAMERAS / "camera_table.json").read_text())["config"]
    for i, subject in enumerate(config["subjects"]):
        for j, camera_id in enumerate(config["ids"]):
            camera = screen_camera(subject, camera_id)
            np.testing.assert_array_equal(camera.orientation, golden["output.orientation"][i, j])
            np.testing.assert_array_equal(camera.translation, golden["output.translation"][i, j])
            intrinsic = np.concatenate([camera.focal, camera.principal, camera.radial, camera.tangential])
            np.testing.assert_array_equal(intrinsic, golden["output.intrinsic"][i, j])
            assert camera.size == tuple(golden["output.resolution"][i, j])


@pytest.mark.parametrize(("suffix", "dtype"), [("", np.float32), ("_f64", np.float64)])
def test_camera_functions_equal_videopose3ds(suffix: str, dtype: type) -> None:
    golden = np.load(CAMERAS / "camera_functions.npz")
    facts = json.loads((CAMERAS / "camera_functions.json").read_text())
    world, points, pixels = (golden[f"input.{name}"].astype(dtype) for name in ("world", "camera_points", "pixels"))
    compared = 0
    for subject, index, camera_id in facts["config"]["cameras"]:
        camera = widened(screen_camera(subject, camera_id), dtype)
        full = screen_to_pixels(camera.project(camera.world_to_camera(world)), *camera.size).astype(dtype)
        made = {
            "world_to_camera": camera.world_to_camera(world),
            "camera_to_world": camera.camera_to_world(points),
            "project_to_2d": camera.project(points),
            "project_to_2d_linear": camera.project_linear(points),
            "normalize": screen_normalised(pixels, *camera.size),
            "full_pixels": full,
        }
        for name, value in made.items():
            key = f"output.{subject}_{index}_{name}{suffix}"
            if key in golden:
                np.testing.assert_allclose(
                    value, golden[key], rtol=0, atol=tolerance(facts, name + suffix), err_msg=key
                )
                compared += 1
    assert compared >= 20


def widened(camera: ScreenCamera, dtype: type) -> ScreenCamera:
    numbers = ("orientation", "translation", "focal", "principal", "radial", "tangential")
    return replace(camera, **{name: getattr(camera, name).astype(dtype) for name in numbers})


def tolerance(facts: dict[str, Any], name: str) -> float:
    matching = [key for key in facts["tolerance"] if fnmatch(name, key)]
    return facts["tolerance"][max(matching, key=len)] if matching else facts["tolerance"]["default"]


@given(st.tuples(st.floats(-2000, 3000), st.floats(-2000, 3000)), st.sampled_from([(1000, 1002), (1000, 1000)]))
def test_screen_units_there_and_back_are_the_identity(pixel: tuple[float, float], size: tuple[int, int]) -> None:
    there = screen_to_pixels(screen_normalised(np.array(pixel), *size), *size)
    np.testing.assert_allclose(there, pixel, atol=1e-9)


def test_slopes_beyond_one_are_clamped() -> None:
    camera = screen_camera("S1", CAMERA_IDS[0])
    np.testing.assert_array_equal(camera.project(np.array([5.0, 0, 1])), camera.project(np.array([1.0, 0, 1])))


def test_ground_truth_2d_equals_videopose3ds_file(prepared: Path, golden_folder: Path) -> None:
    golden = np.load(golden_folder / "data_2d_h36m_gt_flat.npz")
    found = list(read_sequence_detections(prepared, "gt"))
    assert len(found) == len(golden.files)
    for item in found:
        recording = item.sequence.recording
        key = f"{recording.subject}/{recording.canonical_name}/{item.sequence.camera_index}"
        np.testing.assert_allclose(item.joints_2d, golden[key], atol=0.002, err_msg=key)
