"""The box rules and the cutting of images by boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.frames.crops import (
    BoxGeometry,
    box_geometry,
    cropped_image,
    joint_boxes,
    mask_boxes,
    person_boxes,
    poseformer_boxes,
    poseformer_coordinates,
)
from h36m_toolbox.frames.stores import cropped_camera

CAMERA = h36m_camera("S1", "54138969")
ROOTS = np.random.default_rng(0).uniform((-900, -900, 3000), (900, 900, 6000), (20, 3)).astype(np.float32)
RULES = {
    "toolbox": lambda: person_boxes(CAMERA, ROOTS).astype(np.float64),
    "poseformer": lambda: poseformer_boxes(box_geometry(CAMERA, ROOTS)),
    "mask": lambda: mask_boxes(np.array([[100, 200, 400, 300], [50, 10, 60, 90]], np.int32)),
    "joints": lambda: joint_boxes(np.random.default_rng(1).uniform(0, 1000, (20, 17, 2)).astype(np.float32)),
}


def test_the_toolboxs_box_is_two_metres_wide_at_the_roots_depth() -> None:
    box = person_boxes(CAMERA, np.array([[0, 0, 4000]], np.float32))[0]
    np.testing.assert_allclose(box[2:] - box[:2], CAMERA.focal * 2000 / 4000, rtol=1e-5)
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, CAMERA.principal + CAMERA.focal * (0, 100 / 4000), rtol=1e-5)


def test_poseformers_box_gives_the_coordinates_of_its_pickles() -> None:
    geometry = box_geometry(CAMERA, ROOTS)
    pixels = np.random.default_rng(2).uniform(0, 1000, (len(ROOTS), 17, 2))
    boxes = poseformer_boxes(geometry)
    corners, sizes = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    ours = (pixels - corners) / sizes * (192, 256)
    np.testing.assert_allclose(ours, poseformer_coordinates(pixels, geometry), atol=1e-4)


def test_poseformers_crop_is_the_official_one_to_the_last_bit(golden_folder: Path) -> None:
    golden = np.load(golden_folder / "poseformer_crop.npz")
    center, scale = (golden[name][None].astype(np.float64) for name in ("center", "scale"))
    (box,) = poseformer_boxes(BoxGeometry(golden["box"][None], center, scale)).tolist()
    crop = cropped_image(golden["image"], tuple(box), (192, 256))
    np.testing.assert_array_equal(crop[::4, ::4], golden["crop_every_4px"])


def test_the_box_of_a_mask_is_a_square_about_it() -> None:
    np.testing.assert_array_equal(RULES["mask"](), [[100, 100, 400, 400], [10, 15, 90, 95]])


def test_the_box_of_joints_is_their_longer_side_and_a_fifth() -> None:
    joints = np.array([[[100, 200], [300, 600], [200, 300]]], np.float32)
    np.testing.assert_allclose(joint_boxes(joints), [[200 - 240, 400 - 240, 200 + 240, 400 + 240]])


@pytest.mark.parametrize("rule", RULES)
def test_a_point_is_seen_in_the_crop_where_its_camera_projects_it(rule: str) -> None:
    size = (192, 256)
    columns, rows = np.meshgrid(np.arange(1000.0), np.arange(1002.0))
    places = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.float32)  # each pixel shows its place
    left, top, right, bottom = RULES[rule]()[0].tolist()
    crop = cropped_image(places, (left, top, right, bottom), size)
    camera = cropped_camera(CAMERA, (left, top, right, bottom), size)
    pixels = np.array([(400.0, 350.0), (430.0, 410.0), (380.0, 300.0)])
    if rule == "mask":
        pixels = np.array([(150.0, 150.0), (300.0, 250.0), (390.0, 120.0)])
    rays = np.concatenate([CAMERA.undistorted_rays(pixels), np.ones((3, 1))], axis=1)
    seen = camera.project(rays).astype(np.float32)
    found = cv2.remap(crop, seen[:, None], None, cv2.INTER_LINEAR)[:, 0, :2]
    inside = ((seen >= 0) & (seen <= np.array(size) - 1)).all(axis=1)
    assert inside.any()
    step = (right - left) / size[0]
    np.testing.assert_allclose(found[inside], pixels[inside], atol=0.05 + step / 16)  # 1/32 px of either image


def test_a_crop_is_black_beyond_the_image() -> None:
    crop = cropped_image(np.full((100, 100, 3), 255, np.uint8), (-50, -50, 50, 50), (64, 64))
    assert (crop[:31] == 0).all() and (crop[:, :31] == 0).all()
    assert (crop[33:, 33:] == 255).all()


@given(st.integers(0, 60), st.integers(0, 60), st.integers(8, 40))
def test_a_crop_of_its_boxs_own_size_is_cut_out(left: int, top: int, side: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    crop = cropped_image(image, (left, top, left + side, top + side), (side, side))
    np.testing.assert_array_equal(crop, image[top : top + side, left : left + side])
