"""ContextPose and learnable triangulation give the official outputs for the same weights."""

import numpy as np
import pytest
import torch
from volumetric_goldens import Golden, golden

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.context_attention import LIMBS, ContextAttention, LimbPrior, limb_kernels
from h36m_toolbox.models.contextpose import ContextPose, ContextPoseConfig, ContextV2V
from h36m_toolbox.models.learnable_triangulation import (
    AlgebraicConfig,
    AlgebraicTriangulation,
    VolumetricConfig,
    VolumetricTriangulation,
    triangulated,
)
from h36m_toolbox.models.pose_resnet import PoseResNet, PoseResNetConfig
from h36m_toolbox.models.v2v import V2V
from h36m_toolbox.models.volumes import (
    AGGREGATIONS,
    aggregated,
    coordinate_volumes,
    soft_argmax_2d,
    soft_argmax_3d,
    unprojected,
    voxel_offsets,
)

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = 6


@pytest.fixture(autouse=True)
def no_gradients() -> None:
    with torch.inference_mode():
        yield


def prior(case: Golden) -> LimbPrior:
    return LimbPrior.of(case.given("limb_mean").numpy(), case.given("limb_std").numpy())


def test_the_backbone_and_its_heads() -> None:
    case = golden("lt_backbone_r152")
    config = PoseResNetConfig(joint_confidences=True, channel_confidences=True)
    found = case.filled(PoseResNet(config))(case.given("images"))
    for name, values in zip(("heatmaps", "features", "alg_confidences", "vol_confidences"), found, strict=True):
        case.assert_matches(name, values)


@pytest.mark.parametrize(("case", "layers"), [("lt_alg_conf_r152", 152), ("lt_alg_noconf_r50_b2", 50)])
def test_the_algebraic_model(case: str, layers: int) -> None:
    stored = golden(case)
    backbone = PoseResNetConfig(layers, joint_confidences=stored.facts["config"]["model"]["use_confidences"])
    model = stored.filled(AlgebraicTriangulation(AlgebraicConfig(backbone, heatmap_multiplier=1.0)))
    found = model(stored.given("images"), stored.given("proj"))
    stored.assert_matches("heatmaps", found.heatmaps)
    stored.assert_matches("keypoints_2d", found.joints_2d)
    stored.assert_matches("confidences", found.confidences)
    stored.assert_matches("keypoints_3d", found.joints_3d)


@pytest.mark.parametrize("with_confidences", [False, True])
def test_triangulation_of_given_points(with_confidences: bool) -> None:
    case = golden("lt_triangulate")
    points = case.given("points")
    confidences = case.given("confidences") if with_confidences else torch.ones(points.shape[:3])
    found = triangulated(case.given("proj"), points, confidences)
    case.assert_matches("confidences" if with_confidences else "no_confidences", found)


def test_soft_argmax_in_the_plane_and_in_space() -> None:
    case = golden("lt_integrate")
    for softmax, word in ((True, "softmax"), (False, "relu")):
        places, maps = soft_argmax_2d(case.given("heatmaps"), softmax)
        case.assert_matches(f"2d_{word}", places)
        case.assert_matches(f"2d_{word}_map", maps)
        joints, weights = soft_argmax_3d(case.given("volumes"), case.given("coord_volumes"), softmax)
        case.assert_matches(f"3d_{word}_map", weights)
        case.assert_matches(f"3d_coord_{word}", joints)


@pytest.mark.parametrize(("name", "half_pixel_error"), [("lt_unproject", True), ("cp_unproject", False)])
def test_unprojection_and_every_way_to_put_views_together(name: str, half_pixel_error: bool) -> None:
    case = golden(name)
    lifted = unprojected(case.given("heatmaps"), case.given("proj"), case.given("coord_volumes"), half_pixel_error)
    for how in AGGREGATIONS:
        if how in case.facts["outputs"]:
            case.assert_matches(how, aggregated(lifted, how, case.given("confidences")))


def test_the_two_programs_sample_at_different_places() -> None:
    case = golden("cp_unproject")
    given = case.given("heatmaps"), case.given("proj"), case.given("coord_volumes")
    assert (unprojected(*given, True) - unprojected(*given, False)).abs().max() > 0.1


def test_views_are_put_together_only_in_known_ways_and_with_what_they_need() -> None:
    volumes = torch.zeros(1, 2, 3, 4, 4, 4)
    with pytest.raises(H36MError, match="by 'mean'; there are sum, max, softmax, conf, conf_norm"):
        aggregated(volumes, "mean")  # type: ignore[arg-type]
    with pytest.raises(H36MError, match="only with confidences"):
        aggregated(volumes, "conf")


def test_volumes_are_turned_about_the_vertical_through_the_base_point() -> None:
    case = golden("cp_coord_volumes")
    fine = coordinate_volumes(case.given("base_points"), voxel_offsets(2500.0, 64), case.given("theta"))
    case.assert_matches("coord_volumes", fine)
    case.assert_matches("coord_volumes_aux", fine[:, ::4, ::4, ::4])


@pytest.mark.parametrize("name", [pytest.param("cp_attention_16", marks=pytest.mark.slow), "cp_attention_6_b2"])
def test_the_context_attention(name: str) -> None:
    case = golden(name)
    temperature = case.facts["config"]["temperature"]
    layer = case.filled(ContextAttention(prior(case), temperature=temperature))
    found, attention = layer(case.given("volumes"))
    case.assert_matches("output", found)
    case.assert_matches("global_attention", attention)
    side = case.facts["inputs"]["volumes"]["shape"][-1]
    kernels = limb_kernels(prior(case), temperature, 2500.0, side)
    steps = torch.arange(side)
    whole = kernels[:, (steps[:, None] - steps).abs()]  # (limbs, x, x, yz, yz)
    pairwise = whole.permute(0, 1, 3, 2, 4).reshape(len(LIMBS), side**3, side**3)
    case.assert_matches("pairwise", pairwise / pairwise.sum(2, keepdim=True))


def test_a_joint_that_is_surely_elsewhere_leaves_numbers_and_no_nan() -> None:
    sharp = LimbPrior.of(np.full(16, 100.0), np.full(16, 0.01))
    layer = ContextAttention(sharp, temperature=1.0)
    volumes = torch.zeros(1, 51, 8, 8, 8)
    volumes[..., 0, 0, 0] = 1e4
    found, _ = layer(volumes)
    assert torch.isfinite(found).all()


def test_each_layer_has_its_own_statistics_however_many_there_are() -> None:
    volumes = golden("cp_attention_6_b2").given("volumes")
    layers = [ContextAttention(LimbPrior.of(np.full(16, mean), np.full(16, 20.0))) for mean in (200.0, 600.0)]
    layers[1].load_state_dict(layers[0].state_dict())
    first, second = (layer(volumes)[0] for layer in layers)
    assert (first - second).abs().max() > 1e-3


def test_statistics_of_too_few_limbs_are_refused_and_longer_ones_cut() -> None:
    with pytest.raises(H36MError, match="statistics of 3 limbs; ContextPose needs 16"):
        LimbPrior.of(np.ones(3), np.ones(3))
    assert len(LimbPrior.of(np.ones(18), np.ones(18)).mean) == 16


def test_the_volume_networks() -> None:
    case = golden("lt_v2v_32")
    case.assert_matches("volumes", case.filled(V2V())(case.given("volumes")))
    case = golden("cp_v2vnet_16")
    volumes, attention = case.filled(ContextV2V(ContextPoseConfig(prior(case)), 32))(case.given("volumes"))
    case.assert_matches("volumes", volumes)
    case.assert_matches("global_attention", attention)


@pytest.mark.parametrize(
    ("name", "layers", "voxels"),
    [("cp_full_r50_v32", 50, 32), pytest.param("cp_full_r152_v64", 152, 64, marks=pytest.mark.slow)],
)
def test_contextpose(name: str, layers: int, voxels: int) -> None:
    case = golden(name)
    multiplier = case.facts["config"]["model"]["volume_net"]["volume_multiplier"]
    config = ContextPoseConfig(prior(case), PoseResNetConfig(layers), voxels=voxels, volume_multiplier=multiplier)
    model = case.filled(ContextPose(config))
    found = model(case.given("images"), case.given("proj"), case.given("pred_keypoints_3d")[:, ROOT])
    case.assert_matches("keypoints_3d", found.joints_3d)
    case.assert_matches("volumes", found.volumes)
    case.assert_matches("global_attention", found.attention)
    case.assert_matches("coord_volumes", found.coordinates)


@pytest.mark.parametrize(
    ("name", "layers", "voxels"),
    [("lt_vol_sum_r50_v32", 50, 32), pytest.param("lt_vol_softmax_r152_v64", 152, 64, marks=pytest.mark.slow)],
)
def test_volumetric_triangulation(name: str, layers: int, voxels: int) -> None:
    case = golden(name)
    asked = case.facts["config"]["model"]
    config = VolumetricConfig(
        PoseResNetConfig(layers),
        asked["volume_aggregation_method"],
        voxels=voxels,
        volume_multiplier=asked["volume_multiplier"],
    )
    model = case.filled(VolumetricTriangulation(config))
    found = model(case.given("images"), case.given("proj"), case.given("pred_keypoints_3d")[:, ROOT])
    case.assert_matches("keypoints_3d", found.joints_3d)
    case.assert_matches("volumes", found.volumes)
