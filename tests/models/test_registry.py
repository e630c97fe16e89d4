"""The registry lists without torch, builds what it lists, and says what it does not know."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model, list_models
from h36m_toolbox.models.recipes import RECIPES

CARDS = {card.name: card for card in list_models()}


@pytest.mark.parametrize("name", CARDS)
def test_every_model_has_its_stated_size_and_lifts_a_pose(name: str) -> None:
    model = create_model(name)
    assert sum(p.numel() for p in model.parameters()) == CARDS[name].parameters
    assert model.eval()(torch.zeros(1, 16, 2)).shape == (1, 16, 3)


@pytest.mark.parametrize("name", CARDS)
def test_every_model_has_a_recipe_for_each_published_figure(name: str) -> None:
    assert CARDS[name].published
    for score in CARDS[name].published:
        assert (name, score.detections) in RECIPES
        assert 0 < score.p_mpjpe_mm < score.mpjpe_mm < 100
        assert score.source.startswith("https://")


def test_options_reach_the_network() -> None:
    by_option, by_name = create_model("semgcn", non_local=True), create_model("semgcn-nonlocal")
    assert list(by_option.state_dict()) == list(by_name.state_dict())
    assert create_model("martinez", linear_size=8).w1.weight.shape == (8, 32)


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(H36MError, match="no model is called semgnc; there are martinez, semgcn, semgcn-nonlocal"):
        create_model("semgnc")


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(H36MError, match="semgcn has no option depth; it has hid_dim, num_layers"):
        create_model("semgcn", depth=3)


def test_models_are_listed_without_importing_torch() -> None:
    program = (
        "import sys; from h36m_toolbox.models import list_models; list_models(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
