"""Trainings of models that see images: recipes, batches, tiny runs that learn, are interrupted and go on."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.recipe_files import read_recipe_file, recipe_as_toml
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.models.view_recipes import (
    ViewRecipe,
    changed_recipe,
    experiments,
    published_experiment,
    published_recipe,
)
from h36m_toolbox.models.view_steps import make_optimizer
from h36m_toolbox.models.view_training import train_views
from h36m_toolbox.views.samples import ViewInput

pytestmark = pytest.mark.usefixtures("one_thread")

LIMBS = {"limbs": {"mean": [250.0] * 16, "std": [20.0] * 16}}
TINY = {"layers": 18, "voxels": 16, "volume_std": 0.05}


def camera_at(degrees: float) -> np.ndarray:
    """A projection (3, 4) to 64x64 px from 4 m away, looking at the origin, turned about the vertical."""
    turn = np.radians(degrees)
    axes = [[-np.sin(turn), np.cos(turn), 0], [0, 0, -1], [-np.cos(turn), -np.sin(turn), 0]]
    pose = np.c_[np.array(axes), [0, 0, 4000]]
    return (np.array([[100, 0, 32], [0, 100, 32], [0, 0, 1]]) @ pose).astype(np.float32)


@dataclass
class MadeUp:
    """A few instants: images of blurred noise, one pose each, and which cameras were asked for."""

    cameras: tuple[tuple[int, ...], ...]
    asked: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.cameras)

    def load_views(self, sample: int, cameras: tuple[int, ...]) -> ViewInput:
        self.asked.append((sample, cameras))
        images = [np.random.default_rng([sample, camera]).integers(0, 256, (8, 8, 3)) for camera in cameras]
        blocks = np.stack(images).astype(np.uint8).repeat(8, 1).repeat(8, 2)
        return ViewInput(blocks, np.stack([camera_at(90 * c) for c in cameras]), np.zeros(3, np.float32))

    def target(self, sample: int) -> np.ndarray:
        rng = np.random.default_rng(sample)
        return (rng.uniform(-700, 700, (17, 3))).astype(np.float32)


def recipe_of(**changes: object) -> ViewRecipe:
    small = {"epochs": 2, "samples_per_epoch": 4, "batch_size": 2}
    return changed_recipe(published_recipe("contextpose"), {**small, **changes})


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return create_model("contextpose", **TINY, **LIMBS)


# Recipes


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_states_the_network_s_defaults_and_every_value_of_its_recipe(name: str) -> None:
    file = published_experiment(name)
    contract = model_card(file.model).contract(**file.options)
    assert isinstance(contract, FromViews)
    with torch.device("meta"):
        stated = model_card(file.model).build(**file.options)
        plain = model_card(file.model).build(**({"confidences": False} if "without" in name else {}))
    assert str(stated) == str(plain)
    assert stated.config == plain.config
    assert set(file.recipe) >= {"epochs", "samples_per_epoch", "batch_size", "pose_loss", "lr_backbone"}
    assert isinstance(changed_recipe(published_recipe(file.model), file.recipe), ViewRecipe)


@pytest.mark.parametrize(
    ("name", "batch", "samples", "rates", "weights"),
    [
        ("contextpose", 4, 15000, (1e-4, 1e-3, 1e-3), (0.01, 1e6)),
        ("volumetric", 5, 15000, (1e-4, 1e-3, 1e-3), (0.01, 0.0)),
        ("algebraic", 8, 15000, (1e-5,), None),
        ("algebraic-without-confidences", 8, 10000, (1e-5,), None),
    ],
)
def test_the_published_values(
    name: str, batch: int, samples: int, rates: tuple[float, ...], weights: tuple[float, float] | None
) -> None:
    file = published_experiment(name)
    recipe = changed_recipe(published_recipe(file.model), file.recipe)
    assert (recipe.batch_size, recipe.samples_per_epoch) == (batch, samples)
    model = model_card(file.model).build(**file.options, **(LIMBS if name == "contextpose" else {}))
    assert tuple(group["lr"] for group in make_optimizer(model, recipe).param_groups) == rates
    if weights:
        assert (recipe.cross_entropy_weight, recipe.attention_weight) == weights
        learnt = {id(p) for group in make_optimizer(model, recipe).param_groups for p in group["params"]}
        assert not learnt & {id(p) for p in model.get_submodule("backbone.final_layer").parameters()}
    assert recipe.pose_loss == ("absolute" if weights else "smooth")


def test_a_recipe_goes_through_a_file_unchanged(tmp_path: Path) -> None:
    recipe = recipe_of(milestones=(3, 5), clip_norm=1)
    (tmp_path / "own.toml").write_text(recipe_as_toml("contextpose", "", {"voxels": 16}, recipe))
    file = read_recipe_file(tmp_path / "own.toml")
    assert changed_recipe(published_recipe("contextpose"), file.recipe) == recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decay_steps": 3}, "has no decay_steps; it has epochs"),
        ({"batch_size": 2.5}, "batch_size is 2.5; expected a value of type int"),
        ({"epochs": 0}, "epochs is 0; it must be 1 or more"),
        ({"lr_backbone": -1.0}, r"lr_backbone is -1.0; it must be a positive number"),
        ({"pose_loss": "huber"}, "pose_loss is 'huber'; there are absolute, squared, smooth"),
        ({"most_views": 0}, "1 to 0 views"),
    ],
)
def test_values_that_make_no_recipe_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(H36MError, match=words):
        recipe_of(**changes)


def test_a_model_without_a_recipe_says_which_have_one() -> None:
    with pytest.raises(H36MError, match=r"ransac is not trained here; algebraic, .*contextpose, volumetric are"):
        published_recipe("ransac")


# Batches


def test_a_batch_of_contextpose_sees_one_random_view_that_all_its_samples_share(tmp_path: Path) -> None:
    views = MadeUp(((0, 1, 2, 3),) * 12)
    train_views(tiny(), views, recipe_of(epochs=1, samples_per_epoch=12), tmp_path)
    assert sorted(sample for sample, _ in views.asked) == list(range(12))
    batches = [{cameras for _, cameras in views.asked[i : i + 2]} for i in range(0, 12, 2)]
    assert all(len(batch) == 1 and len(next(iter(batch))) == 1 for batch in batches)
    assert len({next(iter(batch)) for batch in batches}) > 1


def test_a_position_is_the_nth_camera_that_saw_a_sample(tmp_path: Path) -> None:
    views = MadeUp(((1, 2, 3), (0, 1, 2, 3)))
    model = create_model("algebraic", layers=18, confidences=False)
    recipe = changed_recipe(published_recipe("algebraic"), {"epochs": 1, "samples_per_epoch": 2, "batch_size": 2})
    train_views(model, _without_base(views), recipe, tmp_path)
    assert dict(views.asked) == {0: (1, 2, 3), 1: (0, 1, 2)}  # the fourth camera of sample 1 is lost, as officially


def _without_base(views: MadeUp) -> MadeUp:
    load = views.load_views
    views.load_views = lambda sample, cameras: replace(load(sample, cameras), base_point=None)
    return views


# Runs


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    views = MadeUp(((0, 1, 2, 3),) * 4)
    one, other = tiny(), tiny()
    train_views(one, views, recipe_of(epochs=2), tmp_path / "whole")
    train_views(other, views, recipe_of(epochs=1), tmp_path / "parts")
    again = tiny()
    nn.init.ones_(again.get_submodule("backbone").conv1.weight)  # what it starts with does not matter
    result = train_views(again, views, recipe_of(epochs=2), tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert [row.epoch for row in result.epochs] == [1, 2]
    with (tmp_path / "parts" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"pose_loss", "cross_entropy", "attention_loss", "train_mpjpe_mm", "limb_length_error_mm"} <= set(rows[0])


def test_a_run_with_another_recipe_or_network_is_not_continued(tmp_path: Path) -> None:
    views = MadeUp(((0, 1, 2, 3),) * 4)
    train_views(tiny(), views, recipe_of(epochs=1), tmp_path)
    with pytest.raises(H36MError, match=r"a run with lr_backbone 0\.0001; continue"):
        train_views(tiny(), views, recipe_of(lr_backbone=1e-3), tmp_path)
    with pytest.raises(H36MError, match="a run with another network"):
        train_views(create_model("contextpose", layers=34, voxels=16, **LIMBS), views, recipe_of(), tmp_path)


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    errors = iter([30.0, 20.0, 25.0])
    views = MadeUp(((0, 1, 2, 3),) * 4)
    result = train_views(tiny(), views, recipe_of(epochs=3), tmp_path, validate=lambda model: next(errors))
    assert result.best is not None
    assert torch.load(result.best, weights_only=True)["epoch"] == 2


def test_rates_fall_after_a_milestone(tmp_path: Path) -> None:
    views = MadeUp(((0, 1, 2, 3),) * 4)
    result = train_views(tiny(), views, recipe_of(epochs=2, milestones=(1,)), tmp_path)
    assert [row.lr for row in result.epochs] == pytest.approx([1e-4, 1e-5])


def test_a_frozen_backbone_stays_as_it_is_and_others_learn(tmp_path: Path) -> None:
    model = tiny()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    train_views(model, MadeUp(((0, 1, 2, 3),) * 4), recipe_of(epochs=1, frozen_backbone=True), tmp_path)
    for name, values in model.state_dict().items():
        changed = not torch.equal(values, before[name])
        assert changed != name.startswith("backbone."), name


class Sick(MadeUp):
    """Its sample 0 has a pose that is no number."""

    def target(self, sample: int) -> np.ndarray:
        return super().target(sample) * (np.float32(math.nan) if sample == 0 else np.float32(1))


def test_a_loss_that_is_nan_changes_no_weight_or_ends_the_run(tmp_path: Path) -> None:
    model = tiny()
    views = Sick(((0, 1, 2, 3),) * 4)
    result = train_views(model, views, recipe_of(epochs=1), tmp_path / "skipping")
    assert result.epochs[0].skipped_steps == 1
    assert all(values.isfinite().all() for values in model.state_dict().values())
    with pytest.raises(H36MError, match="training loss became nan in epoch 1"):
        train_views(tiny(), views, recipe_of(epochs=1, skip_nan=False), tmp_path / "not")


@pytest.mark.slow
def test_a_tiny_contextpose_learns_a_few_poses_by_heart(tmp_path: Path) -> None:
    views = MadeUp(((0,),) * 2)
    rates = {"lr_backbone": 1e-3, "lr_process_features": 1e-2, "lr_volume_net": 3e-2}
    recipe = recipe_of(epochs=18, samples_per_epoch=2, random_rotation=False, **rates)
    result = train_views(tiny(), views, recipe, tmp_path)
    assert result.epochs[-1].train_mpjpe_mm < result.epochs[0].train_mpjpe_mm / 2.5
