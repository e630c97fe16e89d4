"""Patches, labels, disturbances and the way back to millimetres are those of the official program."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from integral_goldens import golden

from h36m_toolbox.pose_datasets.patches import (
    Augmentation,
    AugmentationRanges,
    Patch,
    cut_patch,
    drawn_augmentation,
    in_camera,
    in_image,
    inverted,
    mirrored_boxes,
    mirrored_order,
    moved,
    normalised_patch,
    patch_labels,
    patch_to_image,
)
from h36m_toolbox.skeletons import INTEGRAL_18

PATCHES = pytest.mark.parametrize(
    ("case", "number"), [(case, number) for case in ("patch_noaug", "patch_aug") for number in range(4)]
)


@PATCHES
def test_the_map_between_patch_and_image(case: str, number: int) -> None:
    stored = golden(case)
    patch, disturbed = stored.variants()[number]
    box, width = stored.given(f"box_{number}")[None], stored.given("image_bgr").shape[1]
    seen = mirrored_boxes(box, width) if disturbed.mirrored else box
    found = patch_to_image(seen, patch, disturbed.scale, disturbed.rotation_deg)
    np.testing.assert_allclose(found[0], stored.expected(f"trans_inv_{number}"), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(inverted(found)[0], stored.expected(f"trans_{number}"), rtol=1e-9, atol=1e-9)


@PATCHES
def test_the_pixels_of_a_patch_byte_for_byte_and_normalised(case: str, number: int) -> None:
    stored = golden(case)
    patch, disturbed = stored.variants()[number]
    cut = cut_patch(stored.given("image_bgr"), stored.given(f"box_{number}"), patch, disturbed)
    name = f"patch_bgr_u8_{number}"
    assert (stored.sampled(name, cut) == stored.expected(name)).all()
    name = f"patch_{number}"
    found = normalised_patch(cut[..., ::-1], disturbed.color_rgb)
    assert found.dtype == np.float32
    np.testing.assert_allclose(stored.sampled(name, found), stored.expected(name), rtol=1e-6, atol=1e-6)


@PATCHES
def test_the_label_of_a_patch(case: str, number: int) -> None:
    stored = golden(case)
    patch, disturbed = stored.variants()[number]
    joints, weights = stored.given("joints")[None], stored.given("joints_vis")[None]
    width = stored.given("image_bgr").shape[1]
    found = patch_labels(joints, weights, stored.given(f"box_{number}")[None], width, patch, disturbed)
    np.testing.assert_allclose(found[0].ravel(), stored.expected(f"label_{number}"), rtol=1e-5, atol=1e-7)
    assert (found[1].ravel() == stored.expected(f"label_weight_{number}")).all()


def test_disturbances_are_drawn_in_the_official_order() -> None:
    normal, uniform = np.random.RandomState(11), random.Random(11)
    drawn = (drawn_augmentation(normal, uniform) for _ in range(40))
    found = [[each.scale, each.rotation_deg, each.mirrored, *each.color_rgb] for each in drawn]
    np.testing.assert_allclose(found, golden("aug_draws").expected("draws"), rtol=0, atol=1e-12)


def test_disturbances_stay_in_their_ranges_and_can_be_switched_off() -> None:
    none = AugmentationRanges(scale=0, color=0, rotation_rate=-1, mirror_rate=-1)
    assert drawn_augmentation(np.random.default_rng(0), random.Random(0), none) == Augmentation()


def test_from_the_patch_to_the_image_and_to_the_camera() -> None:
    stored = golden("backprojection")
    poses = stored.given("preds_in_patch")[..., :3]
    image = in_image(poses, stored.given("box"), Patch())
    np.testing.assert_allclose(image, stored.expected("preds_in_image")[..., :3], rtol=1e-9, atol=1e-9)
    camera = in_camera(image, stored.given("focal"), stored.given("center"), stored.given("root_depth"))
    np.testing.assert_allclose(camera, stored.expected("preds_camera"), rtol=1e-9, atol=1e-9)


@given(st.floats(0.6, 1.6), st.floats(-90, 90), st.booleans(), st.sampled_from([None, 2000.0]))
def test_a_label_leads_back_to_its_joint(scale: float, rotation: float, mirrored: bool, depth: float | None) -> None:
    rng = np.random.default_rng(3)
    patch, disturbed = Patch(96, 128, depth), Augmentation(scale, rotation, mirrored)
    boxes = np.array([[300.0, 250, 180, 240], [120, 400, 90, 120]])
    joints = np.concatenate([rng.uniform(100, 400, (2, 18, 2)), rng.uniform(-500, 500, (2, 18, 1))], axis=2)
    labels, _ = patch_labels(joints, np.ones_like(joints), boxes, 640, patch, disturbed)
    places = (labels[..., :2].astype(np.float64) + 0.5) * (patch.width, patch.height)
    seen = mirrored_boxes(boxes, 640) if mirrored else boxes
    back = moved(places, patch_to_image(seen, patch, scale, rotation))
    if mirrored:
        back = back[:, mirrored_order(INTEGRAL_18)]
        back[..., 0] = 639 - back[..., 0]
    np.testing.assert_allclose(back, joints[..., :2], atol=1e-2)
