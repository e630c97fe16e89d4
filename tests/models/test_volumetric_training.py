"""Losses, their gradients and two training steps of the volumetric models are the official ones."""

import pytest
import torch
from torch import nn
from volumetric_goldens import Golden, golden

from h36m_toolbox.models.context_attention import LimbPrior
from h36m_toolbox.models.contextpose import ContextPose, ContextPoseConfig
from h36m_toolbox.models.learnable_triangulation import AlgebraicConfig, AlgebraicTriangulation
from h36m_toolbox.models.pose_resnet import PoseResNetConfig
from h36m_toolbox.models.view_recipes import ViewRecipe, published_recipe
from h36m_toolbox.models.view_steps import make_optimizer, view_step
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


def stepped(case: Golden, model: nn.Module, recipe: ViewRecipe) -> dict[str, torch.Tensor]:
    """Two official training steps: what they measured, and the network's entries after them."""
    optimizer = make_optimizer(model.train(), recipe)
    measured: dict[str, torch.Tensor] = {}
    for step in (0, 1):
        pose = torch.cat([case.given("cam_R")[step], case.given("cam_t")[step]], dim=-1)
        arguments = [case.given(f"images_step{step}"), case.given("cam_K")[step] @ pose]
        if "theta" in case.facts["inputs"]:
            arguments += [case.given("pred_keypoints_3d")[step][:, 6], case.given("theta")[step]]
        truth = case.given("keypoints_3d")[step]
        losses, grad_norm = view_step(model, optimizer, tuple(arguments), truth, recipe)
        measured |= {
            f"step{step}.MAE": losses.pose_loss,
            f"step{step}.MSESmooth": losses.pose_loss,
            f"step{step}.volumetric_ce_loss": losses.cross_entropy,
            f"step{step}.global_attention_loss": losses.attention_loss,
            f"step{step}.total_loss": losses.total,
            f"step{step}.limb_length_error": losses.limb_length_error_mm,
            f"step{step}.grad_norm_times_volume_net_lr": grad_norm * recipe.lr_volume_net,
            f"step{step}.grad_norm_times_lr": grad_norm * recipe.lr_backbone,
            f"step{step}.l2": losses.train_mpjpe_mm * CENTIMETRES,
        }
    return measured | {f"after.{name}": values for name, values in model.state_dict().items()}


@pytest.mark.slow
def test_two_training_steps_of_contextpose() -> None:
    case = golden("cp_train_r50_v32")
    prior = LimbPrior.of(case.given("limb_mean").numpy(), case.given("limb_std").numpy())
    model = case.filled(ContextPose(ContextPoseConfig(prior, PoseResNetConfig(50), voxels=32)))
    found = stepped(case, model, published_recipe("contextpose"))
    for name in set(case.facts["outputs"]) - {"step0.base_point_l2", "step1.base_point_l2"}:  # of no network
        case.assert_matches(name, found[name])


@pytest.mark.slow
def test_two_training_steps_of_the_algebraic_model() -> None:
    case = golden("lt_train_alg_r50")
    config = AlgebraicConfig(PoseResNetConfig(50, joint_confidences=True), heatmap_multiplier=1.0)
    model = case.filled(AlgebraicTriangulation(config))
    found = stepped(case, model, published_recipe("algebraic"))
    for name in case.facts["outputs"]:
        case.assert_matches(name, found[name])
