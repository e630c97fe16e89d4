"""The lifting transformer and its deformable block: official outputs and gradients for the same weights."""

import numpy as np
import pytest
import torch
from poseformer_goldens import entries_of, golden

from h36m_toolbox.models.pose_transformer import (
    DeformableBlock,
    PoseTransformer,
    TransformerConfig,
    dropped_path,
    projected_atlases,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_whole_transformer(dtype: torch.dtype) -> None:
    case = golden("pose_transformer_hrnet32")
    model = case.filled(PoseTransformer()).to(dtype)
    stages: dict[str, torch.Tensor] = {}
    for kind in ("res", "joint", "context"):
        for number, block in enumerate(getattr(model, f"{kind}_blocks")):
            block.register_forward_hook(lambda _, __, out, name=f"{kind}{number}": stages.update({name: out}))
    with torch.inference_mode():
        found = model(case.given("keypoints_2d", dtype), case.given("ref", dtype), case.maps(dtype))
    if dtype == torch.float64:
        case.assert_matches("keypoints_3d_float64", found[:, None], case.facts["tolerance"]["float64_atol"])
    else:
        case.assert_matches("keypoints_3d", found[:, None], case.facts["tolerance"]["float32_atol"])
        assert len(stages) == 12
        for name, values in stages.items():
            case.assert_matches(f"stage.{name}", values, of_largest=2e-5)


@pytest.mark.parametrize(
    ("name", "channels"),
    [("names_pose_transformer_hrnet48", (48, 96, 192, 384)), ("names_pose_transformer_cpn", (256,) * 4)],
)
def test_the_entries_on_other_backbones(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        assert entries_of(PoseTransformer(TransformerConfig(channels))) == golden(name).official_entries


def test_other_skeletons_have_as_many_rows_as_joints() -> None:
    maps = [torch.randn(2, channels, 4, 3) for channels in (32, 64, 128, 256)]
    found = PoseTransformer(TransformerConfig(joints=16))(torch.rand(2, 16, 2), torch.rand(2, 16, 2), maps)
    assert found.shape == (2, 16, 3)


def test_a_deformable_block_with_its_gradients() -> None:
    case = golden("deformable_block")
    block = case.filled(DeformableBlock((32, 64, 128, 256), 128))

    def output(dtype: torch.dtype, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        blocks = torch.nn.ModuleList([block.to(dtype)])
        (atlas,) = projected_atlases(blocks, case.maps(dtype))
        return block(tokens, places, atlas)

    with torch.inference_mode():
        found = output(torch.float32, case.given("x"), case.given("ref"))
    case.assert_matches("x", found, case.facts["tolerance"]["output.x"]["atol"])
    tokens, places = (case.given(name, torch.float64).requires_grad_() for name in ("x", "ref"))
    found = output(torch.float64, tokens, places)
    case.assert_matches("x_float64", found, 1e-9)
    weights = np.random.RandomState(41 + 1000).randn(*found.shape)
    (found * torch.from_numpy(weights)).sum().backward()
    case.assert_matches("grad.x", tokens.grad, of_largest=1e-8)
    case.assert_matches("grad.ref", places.grad, of_largest=1e-8)
    for name, parameter in block.named_parameters():
        sums = torch.stack([parameter.grad.sum(), parameter.grad.abs().sum()])
        case.assert_matches(f"grad.sum_abs.{name}", sums, of_largest=1e-8)


def test_offsets_begin_in_four_directions_at_four_distances() -> None:
    block = DeformableBlock((32, 64, 128, 256), 128)
    golden("deformable_block").assert_matches("init.sampling_offsets.bias", block.sampling_offsets.bias, 1e-8)
    for layer in (block.sampling_offsets, block.attention_weights):
        assert not layer.weight.any()


def test_a_huge_level_never_leaks_into_its_neighbour() -> None:
    maps = [torch.full((1, 32, 64, 48), 1e12), *(torch.zeros(1, c, 8, 6) for c in (64, 128, 256))]
    block = DeformableBlock((32, 64, 128, 256), 128)
    torch.nn.init.zeros_(block.embed_proj[1].bias)
    (atlas,) = projected_atlases(torch.nn.ModuleList([block]), maps)
    edges = torch.linspace(-1.5, 1.5, 31)
    places = torch.stack(torch.meshgrid(edges, edges, indexing="xy"), -1).reshape(1, 1, 1, -1, 2).expand(1, 4, 1, -1, 2)
    assert not atlas.sampled(places)[:, :, 1].any()


def test_stochastic_depth_drops_whole_rows_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    found = dropped_path(torch.ones(4000, 3, 2), 0.2)
    assert set(found[:, 0, 0].tolist()) == {0.0, 1.25}
    assert torch.equal(found, found[:, :1, :1].expand_as(found))
    assert abs(found.mean().item() - 1) < 0.05


def test_blocks_drop_at_rates_that_rise_to_the_last() -> None:
    rates = [block.drop_path for block in PoseTransformer().res_blocks]
    np.testing.assert_allclose(rates, [0, 0.2 / 3, 0.4 / 3, 0.2])


def test_a_place_that_is_no_number_gives_a_pose_that_is_none() -> None:
    maps = [torch.randn(2, channels, 4, 3) for channels in (32, 64, 128, 256)]
    places = torch.zeros(2, 17, 2)
    places[1, 5, 0] = torch.nan
    found = PoseTransformer().eval()(torch.zeros(2, 17, 2), places, maps)
    found.sum().backward()  # torch's own sampling ends the process here
    assert torch.isfinite(found[0]).all()
    assert torch.isnan(found[1]).all()
