"""Boxes, crops, pixels and cameras of the volumetric models' inputs are the official ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from h36m_toolbox.formats.multiview import CAMERA_DTYPE
from h36m_toolbox.frames.crops import squared_boxes
from h36m_toolbox.frames.stores import open_frames
from h36m_toolbox.frames.undistortion import undistort_map, undistorted
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.views.crops import (
    cut,
    erased,
    intrinsics_of_cut,
    intrinsics_of_resized,
    normalisation,
    normalised,
    projection,
    resized,
    scaled_boxes,
)
from h36m_toolbox.views.samples import person_crop, person_view

GOLDENS = Path(__file__).parents[1] / "data" / "volumetric"


class Golden:
    """Arrays of a case, and comparison within its tolerance."""

    def __init__(self, case: str) -> None:
        self.arrays = dict(np.load(GOLDENS / f"{case}.npz"))
        self.facts = json.loads((GOLDENS / f"{case}.json").read_text())

    def given(self, name: str) -> np.ndarray:
        return self.arrays[f"input.{name}"]

    def assert_matches(self, name: str, found: np.ndarray) -> None:
        assert list(found.shape) == self.facts["outputs"][name]["shape"]
        if f"index.{name}" in self.arrays:
            found = found.ravel()[self.arrays[f"index.{name}"]]
        tolerance = self.facts["tolerance"][name]
        expected = self.arrays[f"output.{name}"].astype(np.float64)
        np.testing.assert_allclose(found, expected, rtol=tolerance["rtol"], atol=tolerance["atol"], err_msg=name)


def test_boxes_are_squared_and_scaled_to_the_pixel() -> None:
    case = Golden("lt_image_ops")
    boxes = case.given("boxes_ltrb")
    case.assert_matches("square_the_bbox_tlbr", squared_boxes(case.given("boxes_tlbr")))
    case.assert_matches("square_bbox", squared_boxes(boxes[:, [1, 0, 3, 2]])[:, [1, 0, 3, 2]])
    case.assert_matches("scale_bbox", np.stack([scaled_boxes(boxes, scale) for scale in case.given("scales")], axis=1))
    np.testing.assert_array_equal(scaled_boxes(boxes, 1.0), boxes)


@pytest.mark.parametrize("number", range(4))
def test_crops_are_cut_resized_and_normalised(number: int) -> None:
    case = Golden("lt_image_ops")
    piece = cut(case.given("image"), case.given("crops_ltrb")[number])
    case.assert_matches(f"crop{number}", piece)
    small = resized(piece, 24, 24)
    case.assert_matches(f"crop{number}_down", small)
    case.assert_matches(f"crop{number}_up", resized(piece, 64, 64))
    case.assert_matches(f"crop{number}_norm", normalised(small))


@pytest.mark.parametrize("box", [(-50, 3, -10, 43), (3, -50, 43, -10), (60, 3, 90, 33), (3, 50, 33, 80)])
def test_a_box_outside_the_image_shows_black(box: tuple[int, ...]) -> None:
    piece = cut(Golden("lt_image_ops").given("image"), np.array(box))
    assert piece.shape == (box[3] - box[1], box[2] - box[0], 3)
    assert not piece.any()


def test_cameras_follow_the_crop_and_the_size_without_half_pixels() -> None:
    case = Golden("lt_camera_updates")
    matrices, projections = [], []
    sizes = zip(case.given("boxes_ltrb"), case.given("old_shape_hw"), case.given("new_shape_hw"), strict=True)
    for box, (old_height, old_width), (height, width) in sizes:
        after_cut = intrinsics_of_cut(case.given("K"), box)
        after = intrinsics_of_resized(after_cut, (old_width, old_height), (width, height))
        assert after.dtype == np.float32
        matrices.append([after_cut, after])
        projections.append(projection(after, case.given("R"), case.given("t")))
    case.assert_matches("K_after_crop_and_resize", np.array(matrices))
    case.assert_matches("projection", np.array(projections))


def test_a_sample_is_the_official_dataset_s() -> None:
    case = Golden("lt_dataset_sample")
    cameras = np.zeros((7, 4), CAMERA_DTYPE)
    for name in CAMERA_DTYPE.names or ():
        cameras[name] = case.given(f"cameras.{name}")
    boxes = case.given("table.bbox_by_camera_tlbr")[0][:, [1, 0, 3, 2]].astype(np.int64)
    of_subject = cameras[case.given("table.subject_idx")[0]]
    views = [
        person_view(case.given("images_bgr")[place], boxes[camera], of_subject[camera], size=48)
        for place, camera in enumerate(case.given("image_views"))
    ]
    images = np.stack([view.image for view in views])
    case.assert_matches("images", normalised(images))
    case.assert_matches("proj_matrices", np.stack([view.projection for view in views]))


def test_one_product_and_one_sum_normalise_as_the_official_float64_arithmetic() -> None:
    values = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
    factor, shift = normalisation()
    np.testing.assert_allclose(values.astype(np.float32) * factor + shift, normalised(values), rtol=0, atol=1e-6)


def test_statistics_of_red_meet_the_first_channel_which_is_blue() -> None:
    blue = np.array([[255, 0, 0]], np.uint8)
    assert normalised(blue)[0, 0] == (1 - 0.485) / 0.229


@pytest.mark.parametrize(("name", "size"), [("mean_fill", 70), ("small", 20)])
def test_squares_around_joints_are_erased_at_their_mean(name: str, size: int) -> None:
    case = Golden("cp_erase_image")
    case.assert_matches(name, erased(normalised(case.given("image")), case.given("centers_xy"), size))


@settings(deadline=None, max_examples=12)
@given(
    st.tuples(st.integers(-400, 1100), st.integers(-400, 1100), st.integers(2, 900), st.integers(2, 900)),
    st.booleans(),
)
def test_a_box_is_cut_as_from_the_whole_undistorted_frame(
    prepared: Path, place: tuple[int, int, int, int], distorted: bool
) -> None:
    view = Sequence("S9", "Walking", 1, "54138969")
    frames = open_frames(prepared, view)
    maps = undistort_map(frames.camera(3)) if distorted else None
    whole = undistorted(frames.image(3), maps) if maps else frames.image(3)
    left, top, width, height = place
    box = np.array([left, top, left + width, top + height])
    found = person_crop(frames, 3, box, 48, maps)
    np.testing.assert_array_equal(found, resized(cut(whole, box), 48, 48))
