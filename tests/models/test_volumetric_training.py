"""Losses, their gradients and two training steps of the volumetric models are the official ones."""

import pytest
import torch
from volumetric_goldens import Golden, golden

from h36m_toolbox.models.context_attention import LimbPrior
from h36m_toolbox.models.contextpose import ContextPose, ContextPoseConfig
from h36m_toolbox.models.pose_resnet import PoseResNetConfig
from h36m_toolbox.models.volumes import coordinate_volumes, voxel_offsets
from h36m_toolbox.models.volumetric_losses import (
    CENTIMETRES,
    attention_target,
    limb_length_error,
    mean_absolute_error,
    mean_distance,
    mean_squared_error,
    nearest_voxels,
    smooth_squared_error,
    volumetric_cross_entropy,
)

pytestmark = pytest.mark.usefixtures("one_thread")

LOSSES = {"mse": mean_squared_error, "mse_smooth_400": smooth_squared_error, "mae": mean_absolute_error}


def as_weights(logits: torch.Tensor) -> torch.Tensor:
    return logits.flatten(2).softmax(2).reshape(logits.shape)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_poses_and_their_gradients(name: str) -> None:
    case = golden("lt_losses")
    predicted = (case.given("keypoints_pred") * CENTIMETRES).requires_grad_()
    loss = LOSSES[name](predicted, case.given("keypoints_gt") * CENTIMETRES, case.given("validity"))
    loss.backward()
    case.assert_matches(name, loss)
    case.assert_matches(f"{name}.grad", predicted.grad)


def test_the_watched_distance() -> None:
    case = golden("lt_losses")
    poses = [case.given(name) * CENTIMETRES for name in ("keypoints_pred", "keypoints_gt")]
    case.assert_matches("l2", mean_distance(*poses, case.given("validity")))


def test_the_cross_entropy_of_volumes_and_its_gradient() -> None:
    case = golden("lt_losses")
    logits = case.given("volumes_logits").requires_grad_()
    truth, validity = case.given("keypoints_gt"), case.given("validity")
    loss = volumetric_cross_entropy(case.given("coord_volumes"), as_weights(logits), truth, validity)
    loss.backward()
    case.assert_matches("volumetric_ce", loss)
    case.assert_matches("volumetric_ce.grad", logits.grad)


def test_contextpose_s_total_loss_and_its_gradients() -> None:
    case = golden("cp_losses")
    truth, validity = case.given("keypoints_gt"), case.given("validity")
    predicted = case.given("keypoints_pred").requires_grad_()
    volumes, attention = (case.given(f"{name}_logits").requires_grad_() for name in ("volumes", "attention"))
    absolute = mean_absolute_error(predicted * CENTIMETRES, truth * CENTIMETRES, validity)
    entropy = volumetric_cross_entropy(case.given("coord_volumes"), as_weights(volumes), truth, validity)
    target = attention_target(case.given("coord_volumes_aux"), truth)
    attended = (target - attention.softmax(2)).square().mean()
    total = absolute + 0.01 * entropy + 1e6 * attended
    total.backward()
    for name, value in (
        ("mae", absolute),
        ("volumetric_ce", entropy),
        ("ga_mask_gt", target),
        ("global_attention_loss", attended),
        ("total", total),
        ("pred.grad", predicted.grad),
        ("volumes.grad", volumes.grad),
        ("attention.grad", attention.grad),
        ("limb_length_error", limb_length_error(predicted, truth)),
    ):
        case.assert_matches(name, value)


def test_the_nearest_voxel_is_found_without_looking_at_all_of_them() -> None:
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(3, 3, generator=generator) * 500
    grid = coordinate_volumes(base, voxel_offsets(2500.0, 11), torch.tensor([0.0, 1.0, 4.0]))
    points = base[:, None] + torch.randn(3, 200, 3, generator=generator) * 900  # some lie outside
    distances = (grid.flatten(1, 3)[:, None].double() - points[:, :, None].double()).square().sum(-1)
    assert torch.equal(nearest_voxels(grid, points), distances.argmin(2))


def stepped(case: Golden) -> tuple[ContextPose, dict[str, torch.Tensor]]:
    """Two official training steps: what they measured, and the network after them."""
    prior = LimbPrior.of(case.given("limb_mean").numpy(), case.given("limb_std").numpy())
    model = case.filled(ContextPose(ContextPoseConfig(prior, PoseResNetConfig(50), voxels=32))).train()
    assert isinstance(model, ContextPose)
    parts = [
        ([*model.backbone.parameters()], 1e-4),
        ([*model.volume_net.parameters()], 1e-3),
        ([*model.process_features.parameters()], 1e-3),
    ]
    optimizer = torch.optim.Adam([{"params": [p for p in each if p.requires_grad], "lr": lr} for each, lr in parts])
    measured = {}
    for step in (0, 1):
        rotation, translation = case.given("cam_R")[step], case.given("cam_t")[step]
        projections = case.given("cam_K")[step] @ torch.cat([rotation, translation], dim=-1)
        truth, base = case.given("keypoints_3d")[step], case.given("pred_keypoints_3d")[step][:, 6]
        found = model(case.given(f"images_step{step}"), projections, base, case.given("theta")[step])
        validity = torch.ones(*truth.shape[:2], 1)
        scaled = found.joints_3d * CENTIMETRES, truth * CENTIMETRES, validity
        absolute = mean_absolute_error(*scaled)
        entropy = volumetric_cross_entropy(found.coordinates, found.volumes, truth, validity)
        target = attention_target(found.coordinates[:, ::4, ::4, ::4], truth)
        attended = (target - found.attention).square().mean()
        total = absolute + 0.01 * entropy + 1e6 * attended
        optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        measured |= {
            f"step{step}.MAE": absolute,
            f"step{step}.volumetric_ce_loss": entropy,
            f"step{step}.global_attention_loss": attended,
            f"step{step}.total_loss": total,
            f"step{step}.limb_length_error": limb_length_error(found.joints_3d, truth),
            f"step{step}.grad_norm_times_volume_net_lr": norm * 1e-3,
            f"step{step}.l2": mean_distance(*scaled),
        }
        optimizer.step()
    return model, measured


@pytest.mark.slow
def test_two_training_steps_of_contextpose() -> None:
    case = golden("cp_train_r50_v32")
    model, measured = stepped(case)
    for name, value in measured.items():
        case.assert_matches(name, value)
    state = model.state_dict()
    for name in case.facts["outputs"]:
        if name.startswith("after."):
            case.assert_matches(name, state[name.removeprefix("after.")])
