"""Normalisation, mirroring and flip test of Context-Aware PoseFormer, as the official batch preparation does them."""

from dataclasses import replace

import pytest
import torch
from poseformer_goldens import golden
from torch import nn

from h36m_toolbox.models.ca_poseformer import crop_places
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch, crop_mirror, normalised, poses_of
from h36m_toolbox.models.test_time import Mirror, flip_tested


@pytest.fixture(scope="module")
def batch() -> PoseFormerBatch:
    case = golden("prefetch_hrnet")
    joints_3d = case.given("joints_3d")[:, 0]
    return PoseFormerBatch(
        case.given("images_bgr_uint8").flip(-1),
        case.given("joints_2d_cpn", torch.float32),
        case.given("joints_2d_cpn_crop"),
        joints_3d - joints_3d[:, :1],
    )


@pytest.mark.parametrize("how", ["train_noflip", "train_flip", "eval_plain"])
def test_batches_are_prepared_as_officially(batch: PoseFormerBatch, how: str) -> None:
    case = golden("prefetch_hrnet")
    given = batch.mirrored() if how == "train_flip" else batch
    case.assert_matches(f"hrnet_32.{how}.images", normalised(given.images, "hrnet_32").permute(0, 2, 3, 1), 2e-6)
    case.assert_matches(f"{how}.keypoints_2d", given.joints_2d, 1e-6)
    case.assert_matches(f"{how}.keypoints_2d_crop", given.joints_crop, 1e-6)
    case.assert_matches(f"{how}.keypoints_3d_gt", given.targets[:, None], 1e-6)
    if how == "eval_plain":
        case.assert_matches("ref_from_crop", crop_places(given.joints_crop), 1e-6)


def test_the_flip_test_sees_the_batch_and_its_mirror_image(batch: PoseFormerBatch) -> None:
    case = golden("prefetch_hrnet")
    both = batch, batch.mirrored()
    images = torch.stack([normalised(each.images, "hrnet_32").permute(0, 2, 3, 1) for each in both], dim=1)
    case.assert_matches("hrnet_32.eval_fliptest.images", images, 2e-6)
    case.assert_matches("eval_fliptest.keypoints_2d", torch.stack([each.joints_2d for each in both], 1), 1e-6)
    case.assert_matches("eval_fliptest.keypoints_2d_crop", torch.stack([each.joints_crop for each in both], 1), 1e-6)


def test_cpn_gets_its_own_mean_and_no_deviation() -> None:
    found = normalised(torch.tensor([255, 0, 51], dtype=torch.uint8)[None, None, None], "cpn")
    expected = torch.tensor([1 - 122.7717 / 255, -115.9465 / 255, 0.2 - 102.9801 / 255])
    torch.testing.assert_close(found[0, :, 0, 0], expected, rtol=0, atol=2e-6)


def test_poses_of_the_mirror_image_are_mirrored_back_and_averaged() -> None:
    case = golden("flip_merge")
    official = Mirror[str](lambda _: "pred_flip", crop_mirror().poses)
    case.assert_matches("merged", flip_tested(case.given, official)("pred"), 1e-6)


class Mean(nn.Module):
    """Poses that depend on everything that is given."""

    def forward(self, images: torch.Tensor, joints_2d: torch.Tensor, joints_crop: torch.Tensor) -> torch.Tensor:
        left_half = images[..., : images.shape[-1] // 2].mean(dim=(1, 2, 3))
        return torch.cat([joints_2d, joints_crop[..., :1]], dim=-1) + left_half[:, None, None]


def test_one_pass_over_both_gives_what_two_passes_give(batch: PoseFormerBatch) -> None:
    def predict(each: PoseFormerBatch) -> torch.Tensor:
        return poses_of(Mean(), each, "hrnet_32")

    expected = flip_tested(predict, replace(crop_mirror(), joined=None))(batch)
    torch.testing.assert_close(flip_tested(predict, crop_mirror())(batch), expected)


def test_mirroring_twice_gives_the_batch_again(batch: PoseFormerBatch) -> None:
    twice = batch.mirrored().mirrored()
    assert torch.equal(twice.images, batch.images)
    torch.testing.assert_close(twice.joints_crop, batch.joints_crop)
    assert torch.equal(twice.targets, batch.targets)
