"""Folded lifters give the poses of the networks they stand for, and leave these as they were."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from h36m_toolbox.models import create_model
from h36m_toolbox.models.folded_lifters import Foldable, rarer_colour
from h36m_toolbox.models.lifting import predict
from h36m_toolbox.skeletons import H36M_16, H36M_17

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("martinez", {}),
    ("martinez", {"joints": 17, "num_stages": 3, "linear_size": 64}),
    ("martinez", {"residual": False}),
    ("martinez", {"batch_norm": False, "num_stages": 1}),
    ("martinez-weigq", {}),
    ("martinez-tf", {}),
    ("semgcn", {}),
    ("semgcn", {"joints": 17, "hid_dim": 32, "num_layers": 2}),
]


def trained(name: str, **options: Any) -> nn.Module:
    """A network whose batch norms are far from the identity and whose joints pass unlike shares to each other."""
    torch.manual_seed(0)
    model = create_model(name, **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.get_buffer("running_mean").normal_(0, 0.5)
            module.get_buffer("running_var").uniform_(0.3, 3)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
        if hasattr(module, "e"):
            module.e.data.normal_()
    return model


def inputs_of(options: dict[str, Any], rows: int) -> np.ndarray:
    shape = rows, options.get("joints", 16), 2
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_poses_are_those_of_the_network(name: str, options: dict[str, Any]) -> None:
    model = trained(name, **options)
    before = {key: values.clone() for key, values in model.state_dict().items()}
    inputs = inputs_of(options, 300)  # batches of 128, 128 and 44 where the default is 128
    found = predict(model, inputs)
    with torch.inference_mode():
        expected = model.double()(torch.from_numpy(inputs).double()).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())
    assert all(torch.equal(values, before[key]) for key, values in model.float().state_dict().items())


def test_flat_poses_stay_flat() -> None:
    model = trained("martinez")
    assert isinstance(model, Foldable)
    poses = torch.from_numpy(inputs_of({}, 5))
    folded = model.folded()
    assert folded is not None
    assert torch.equal(folded(poses)[:, 1:].flatten(1), folded(poses.flatten(1)))


def test_a_form_is_of_the_weights_of_its_day() -> None:
    model, inputs = trained("semgcn"), inputs_of({}, 4)
    once = predict(model, inputs)
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    assert np.abs(predict(model, inputs) - once).max() > 1e-3


def test_non_local_blocks_run_as_they_are() -> None:
    model, inputs = trained("semgcn-nonlocal"), inputs_of({}, 4)
    with torch.inference_mode():
        np.testing.assert_array_equal(predict(model, inputs), model(torch.from_numpy(inputs)).numpy())


@pytest.mark.parametrize("skeleton", [H36M_16, H36M_17])
def test_bones_join_joints_of_two_colours(skeleton: Any) -> None:
    few = rarer_colour(skeleton.bones, len(skeleton))
    assert len(few) <= len(skeleton) // 2
    assert all((parent in few) != (child in few) for parent, child in skeleton.bones)
