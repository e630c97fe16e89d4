"""The registry lists without torch, builds what it lists, and says what it does not know."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model, list_models
from h36m_toolbox.models.lifting import Lifting
from h36m_toolbox.models.registry import recipe_of
from h36m_toolbox.skeletons import H36M_17

CARDS = {card.name: card for card in list_models() if isinstance(card.contract(), Lifting)}


@pytest.mark.parametrize("name", CARDS)
def test_every_model_has_its_stated_size_and_lifts_a_pose(name: str) -> None:
    model = create_model(name)
    assert sum(p.numel() for p in model.parameters()) == CARDS[name].parameters
    contract = CARDS[name].contract()
    lifted = model.eval()(torch.zeros(1, len(contract.input_joints), 2))
    assert lifted.shape == (1, len(contract.output_joints), 3)


@pytest.mark.parametrize("name", CARDS)
def test_every_model_has_a_recipe_for_each_published_figure(name: str) -> None:
    assert CARDS[name].published
    for score in CARDS[name].published:
        assert recipe_of(name, score.detections).epochs >= 30
        assert 0 < (score.p_mpjpe_mm or 1) < score.mpjpe_mm < 100
        assert score.source.startswith("https://")


def test_options_reach_the_network() -> None:
    by_option, by_name = create_model("semgcn", non_local=True), create_model("semgcn-nonlocal")
    assert list(by_option.state_dict()) == list(by_name.state_dict())
    assert create_model("martinez", linear_size=8).w1.weight.shape == (8, 32)


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        H36MError,
        match=r"no model is called semgnc; there are algebraic, .*martinez, martinez-tf, martinez-weigq, .*semg",
    ):
        create_model("semgnc")


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(H36MError, match="semgcn has no option depth; it has joints, hid_dim, num_layers"):
        create_model("semgcn", depth=3)


def test_models_are_named_without_importing_torch() -> None:
    program = (
        "import sys; from h36m_toolbox.models.registry import model_names; print(model_names()); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("name", ["semgcn", "martinez"])
def test_seventeen_joints_are_an_option_of_network_and_contract(name: str) -> None:
    contract = CARDS[name].contract(joints=17)
    assert contract.input_joints == contract.output_joints == H36M_17
    assert create_model(name, joints=17).eval()(torch.zeros(2, 17, 2)).shape == (2, 17, 3)


def test_another_number_of_joints_is_refused() -> None:
    with pytest.raises(H36MError, match="lifters of 16 or 17 joints, not of 14"):
        CARDS["semgcn"].contract(joints=14)
