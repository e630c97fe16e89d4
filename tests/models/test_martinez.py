"""The linear network in its three forms against stored outputs of the official programs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fill_weights import fill
from lifting_goldens import golden

from h36m_toolbox.models.batch_norm import BatchNorm
from h36m_toolbox.models.martinez import (
    MARTINEZ_SEMGCN,
    MARTINEZ_TF,
    MARTINEZ_WEIGQ,
    Martinez,
    MartinezConfig,
)

PORTS = {"linear16_s1024_n2": MARTINEZ_SEMGCN, "linear_weigq_s1024_n2": MARTINEZ_WEIGQ}


@pytest.mark.parametrize("case", PORTS)
def test_ports_have_the_official_entries_and_outputs(case: str) -> None:
    stored = golden(case)
    model = fill(Martinez(PORTS[case])).eval()
    stored.assert_same_entries(model)
    assert sum(p.numel() for p in model.parameters()) == stored.facts["num_parameters"]
    stored.assert_matches("y", model(stored.tensor("x")))


@pytest.mark.parametrize("variant", golden("martinez_tf_forward").outputs)
def test_tensorflow_variants_have_the_official_outputs(variant: str) -> None:
    stored = golden("martinez_tf_forward")
    residual, batch_norm, max_norm = (part.endswith("1") for part in variant.split("_"))
    config = replace(MARTINEZ_TF, residual=residual, batch_norm=batch_norm, max_norm=max_norm)
    stored.assert_matches(variant, fill(Martinez(config)).eval()(stored.tensor("x")))


def test_tensorflow_evaluation_gives_the_official_loss_and_joint_errors() -> None:
    stored = golden("martinez_tf_eval")
    model = fill(Martinez(MARTINEZ_TF)).eval()
    with torch.inference_mode():
        predicted = model(stored.tensor("x")).numpy()
    target = stored.given("target")
    stored.assert_matches("loss", np.mean((predicted - target) ** 2, dtype=np.float64))

    used = stored.given("use_3d")
    millimetres = np.zeros((2, len(target), 96))
    millimetres[..., used] = (
        np.stack([predicted, target]) * stored.given("std_3d")[used] + stored.given("mean_3d")[used]
    )
    joints = np.concatenate(
        [[0], used.reshape(-1, 3)[:, 0] // 3]
    )  # the hip, exact by construction, and the 16 predicted
    poses = millimetres.reshape(2, -1, 32, 3)[:, :, joints]
    stored.assert_matches("joint_err_p1", np.linalg.norm(poses[0] - poses[1], axis=-1).mean(axis=0))


def test_poses_come_out_with_a_zero_root_in_front_of_the_flat_output() -> None:
    stored = golden("linear16_s1024_n2")
    model = fill(Martinez()).eval()
    poses = model(stored.tensor("x").reshape(8, 16, 2))
    assert poses.shape == (8, 16, 3)
    assert bool((poses[:, 0] == 0).all())
    stored.assert_matches("y", poses[:, 1:].flatten(1))


def test_biased_batch_norm_averages_the_biased_variance() -> None:
    layer = BatchNorm(1, momentum=0.25, biased=True)
    layer(torch.tensor([[0.0], [4.0]]))
    assert float(layer.running_mean) == pytest.approx(0.25 * 2)
    assert float(layer.running_var) == pytest.approx(0.75 * 1 + 0.25 * 4)
    assert int(layer.num_batches_tracked) == 1


def test_max_norm_leaves_small_matrices_alone() -> None:
    small = MartinezConfig(linear_size=4, max_norm=True, p_dropout=0)
    model, free = Martinez(small).eval(), Martinez(replace(small, max_norm=False)).eval()
    state = {name: values * 0.01 for name, values in model.state_dict().items()}
    model.load_state_dict(state)
    free.load_state_dict(state)
    flat = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(flat), free(flat))


def test_initial_values_are_those_of_each_variant() -> None:
    torch.manual_seed(0)
    ported, original = Martinez(MARTINEZ_WEIGQ), Martinez(MARTINEZ_TF)
    std = np.sqrt(2 / 1024)
    assert float(ported.linear_stages[0].w1.weight.detach().std()) == pytest.approx(std, rel=0.01)
    assert float(ported.linear_stages[0].w1.bias.detach().abs().max()) <= 1 / 32
    for values in (original.linear_stages[0].w1.weight, original.w1.bias):  # std of a normal cut at two sigma: 0.8796
        assert float(values.detach().abs().max()) <= 2 * std
        assert float(values.detach().std()) == pytest.approx(0.8796 * std, rel=0.05)
