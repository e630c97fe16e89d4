"""SemGCN against stored outputs of the official program, with weights filled by name."""

import numpy as np
import pytest
import torch
from fill_weights import fill
from hypothesis import given
from hypothesis import strategies as st
from lifting_goldens import golden
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.semgcn import (
    ChannelSemGraphConv,
    GraphConvBlock,
    NonLocal,
    SemGCN,
    SemGCNConfig,
    SemGraphConv,
    mask_of,
)
from h36m_toolbox.skeletons import H36M_16, H36M_17

CASES = {
    "semgcn_h128_l4": SemGCNConfig(),
    "semgcn_nonlocal_h128_l4": SemGCNConfig(non_local=True),
    "semgcn_dropout_h128_l4": SemGCNConfig(p_dropout=0.25),
}


@pytest.mark.parametrize("case", CASES)
def test_state_dict_has_the_official_names_order_and_shapes(case: str) -> None:
    model = SemGCN(CASES[case])
    golden(case).assert_same_entries(model)
    assert sum(p.numel() for p in model.parameters()) == golden(case).facts["num_parameters"]


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_hidden_features_are_the_official_ones(case: str) -> None:
    stored = golden(case)
    model = fill(SemGCN(CASES[case])).eval()
    hidden: dict[str, torch.Tensor] = {}
    places = {
        "after_gconv_input": model.gconv_input,
        "after_gconv_layers_0": model.gconv_layers[0],
        "after_gconv_layers": model.gconv_layers,
    }
    for name, layer in places.items():
        layer.register_forward_hook(lambda _layer, _inputs, output, name=name: hidden.update({name: output[:2]}))
    stored.assert_matches("y", model(stored.tensor("x")))
    for name in places:
        stored.assert_matches(name, hidden[name])


@pytest.mark.parametrize(
    "case, layer", [("sem_graph_conv_3_5", SemGraphConv), ("sem_ch_graph_conv_3_5", ChannelSemGraphConv)]
)
def test_graph_convolutions_are_the_official_ones(case: str, layer: type[nn.Module]) -> None:
    stored = golden(case)
    model = fill(layer(3, 5, mask_of(H36M_16)))
    stored.assert_same_entries(model)
    stored.assert_matches("y", model(stored.tensor("x")))


def test_non_local_block_is_the_official_one() -> None:
    stored = golden("graph_non_local_c16_sub2")
    model = fill(NonLocal(16, torch.arange(16).reshape(8, 2))).eval()
    stored.assert_same_entries(model)
    channels_first = stored.tensor("x")
    stored.assert_matches("y", model(channels_first.mT).mT)


@pytest.mark.parametrize("case, skeleton", [("graph_h36m16", H36M_16), ("graph_h36m17", H36M_17)])
def test_mask_entries_are_in_the_official_order(case: str, skeleton) -> None:
    stored = golden(case)
    rows, columns = mask_of(skeleton).nonzero().T
    stored.assert_matches("mask_rows", rows)
    stored.assert_matches("mask_cols", columns)


def test_a_fresh_graph_convolution_averages_over_neighbours() -> None:
    layer = SemGraphConv(2, 4, mask_of(H36M_16))
    features = torch.randn(3, 16, 2, generator=torch.Generator().manual_seed(0))
    weights = mask_of(H36M_16).float()
    weights /= weights.sum(1, keepdim=True)
    own = weights.diagonal()[:, None] * features
    expected = own @ layer.W[0] + (weights @ features - own) @ layer.W[1] + layer.bias
    torch.testing.assert_close(layer(features), expected)


@given(st.lists(st.floats(-4, 4), min_size=46, max_size=46))
def test_equal_inputs_and_weights_give_the_same_output_at_every_joint(edges: list[float]) -> None:
    layer = SemGraphConv(2, 3, mask_of(H36M_16)).double()
    with torch.no_grad():
        layer.e.copy_(torch.tensor([edges]))
        layer.W[1] = layer.W[0]  # then rows that sum to one leave a constant alone
    output = layer(torch.ones(1, 16, 2, dtype=torch.float64))
    torch.testing.assert_close(output, output[:, :1].expand_as(output))


def test_non_local_blocks_start_as_the_identity() -> None:
    torch.manual_seed(0)
    block = NonLocal(8, torch.arange(16).reshape(8, 2))
    features = torch.randn(2, 16, 8)
    torch.testing.assert_close(block(features), features)


def test_initial_weights_stay_within_the_published_bounds() -> None:
    layer = SemGraphConv(128, 64, mask_of(H36M_16))
    bound = 1.414 * np.sqrt(6 / (64 * (128 + 2)))
    assert 0.95 * bound < float(layer.W.detach().abs().max()) <= bound
    assert float(layer.bias.detach().abs().max()) <= 64**-0.5
    assert bool((layer.e == 1).all())


def test_batch_norm_weights_can_start_as_under_pytorch_1_1() -> None:
    torch.manual_seed(0)
    blocks = [m for m in SemGCN(SemGCNConfig(batch_norm_init="uniform")).modules() if isinstance(m, GraphConvBlock)]
    drawn = torch.cat([block.bn.weight.detach() for block in blocks])
    assert 0 <= float(drawn.min()) < 0.01 and 0.99 < float(drawn.max()) < 1
    assert all(bool((m.bn.weight == 1).all()) for m in SemGCN().modules() if isinstance(m, GraphConvBlock))


def test_seventeen_joints_work_without_non_local_blocks() -> None:
    model = SemGCN(SemGCNConfig(skeleton=H36M_17))
    assert model(torch.zeros(2, 17, 2)).shape == (2, 17, 3)
    assert model.gconv_output.e.shape == (1, 49)


def test_seventeen_joints_with_non_local_blocks_are_refused() -> None:
    with pytest.raises(H36MError, match="skeleton h36m-17 has 17 joints"):
        SemGCN(SemGCNConfig(skeleton=H36M_17, non_local=True))


def test_a_float64_network_computes_in_float64() -> None:
    stored = golden("semgcn_nonlocal_h128_l4")
    model = fill(SemGCN(SemGCNConfig(non_local=True))).double().eval()
    output = model(stored.tensor("x").double())
    assert output.dtype == torch.float64
    stored.assert_matches("y", output)


def test_poses_of_a_batch_do_not_influence_each_other_in_eval_mode() -> None:
    model = fill(SemGCN(SemGCNConfig(non_local=True))).eval()
    poses = golden("semgcn_nonlocal_h128_l4").tensor("x")
    alone = torch.cat([model(pose[None]) for pose in poses])
    torch.testing.assert_close(model(poses), alone, rtol=0, atol=1e-5)
