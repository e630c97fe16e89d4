"""Integral regression is trained by the published recipes, on a mixture, and an interrupted run ends as a whole one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from integral_goldens import golden
from test_processes import on_two_processes

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model
from h36m_toolbox.models.integral_data import Mixture, read_batches
from h36m_toolbox.models.integral_recipes import RECIPES, IntegralRecipe
from h36m_toolbox.models.integral_training import load_imagenet, make_optimizer, train
from h36m_toolbox.models.resnet import ResNetTrunk
from h36m_toolbox.pose_datasets.patches import AugmentationRanges, Patch
from h36m_toolbox.pose_datasets.people import People

SMALL = {"layers": 18, "deconv_channels": 8, "patch": "64x64"}
RECIPE = IntegralRecipe(epochs=2, batch_size=4, drops=(2,), lr=1e-3)
WRITTEN = {  # the official file of each recipe, by the end of its folder
    "integral d-mh": "integral_human_pose/experiments/hm36/resnet50v1_ft/d-mh_ps-256_deconv256x3",
    "integral-direct d-mh": "integral_human_pose/experiments/hm36/resnet50v1_ft/d-mh_ps-256_dj",
    "challenge d-mh": "hm36_challenge/experiments/hm36/resnet152v1_ft/d-mh_ps-256",
    "challenge d-mch": "hm36_challenge/experiments/hm36/resnet152v1_ft/d-mch_384x288",
}


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    """Five people with depth and seven without, in noise."""
    folder, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(0)
    sets = []
    for name, count, deep in (("flat", 5, 0.0), ("deep", 7, 1.0)):
        images = []
        for number in range(count):
            images.append(folder / f"{name}{number}.png")
            cv2.imwrite(str(images[-1]), rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
        joints = np.concatenate(
            [rng.uniform(20, 80, (count, 18, 2)), deep * rng.normal(0, 300, (count, 18, 1))], axis=2
        )
        weights = np.broadcast_to([1.0, 1.0, deep], joints.shape)
        sets.append(People(tuple(images), np.tile([50.0, 50, 80, 80], (count, 1)), joints, weights))
    return Mixture(tuple(sets), Patch(64, 64))


def fresh() -> torch.nn.Module:
    torch.manual_seed(3)
    return create_model("integral", **SMALL)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_are_the_published_ones(name: str) -> None:
    written = [facts for path, facts in golden("recipes").facts["recipes"].items() if path.startswith(WRITTEN[name])]
    assert len(written) == 1
    recipe, config = RECIPES[name], written[0]["config"]
    assert recipe.epochs == config["train"]["end_epoch"]
    assert recipe.batch_size == 4 * config["dataiter"]["batch_images_per_ctx"]
    assert recipe.loss == config["loss"]["loss_type"]
    for epoch, lr in written[0]["lr_from_epoch_1_based"]:
        assert recipe.learning_rate(epoch) == pytest.approx(lr, rel=1e-12)
        assert epoch == 1 or recipe.learning_rate(epoch - 1) == pytest.approx(10 * lr, rel=1e-12)
    defaults, asked = written[0]["optimizer_defaults"], make_optimizer(torch.nn.Linear(1, 1), recipe).param_groups[0]
    assert {key: asked[key] for key in ("eps", "weight_decay", "amsgrad")} == {
        key: defaults[key] for key in ("eps", "weight_decay", "amsgrad")
    }
    assert list(asked["betas"]) == defaults["betas"]
    assert AugmentationRanges() == AugmentationRanges(
        config["aug"]["scale_factor"],
        config["aug"]["rot_factor"],
        config["aug"]["color_factor"],
        config["aug"]["rot_aug_rate"],
        config["aug"]["flip_aug_rate"],
    )


def test_an_epoch_has_every_person_of_the_first_set_and_as_many_others(mixture: Mixture) -> None:
    pairs = mixture.epoch(seed=1, epoch=1)
    assert sorted(pairs[pairs[:, 0] == 0, 1].tolist()) == list(range(5))
    assert len(set(pairs[pairs[:, 0] == 1, 1].tolist())) == 5

    def others(epoch: int, frozen: bool) -> set[int]:
        drawn = mixture.epoch(1, epoch, frozen)
        return set(drawn[drawn[:, 0] == 1, 1].tolist())

    assert len({frozenset(others(epoch, True)) for epoch in range(1, 9)}) == 1
    assert len({frozenset(others(epoch, False)) for epoch in range(1, 9)}) > 1


def test_a_sample_is_the_same_however_many_threads_read_it(mixture: Mixture) -> None:
    pairs = mixture.epoch(1, 1)
    one, four = (next(read_batches(mixture, [pairs[:6]], 1, 1, [0], workers)) for workers in (1, 4))
    for single, several in zip(one, four, strict=True):
        assert torch.equal(single, several)
    assert (one.weights[..., 2].amax(dim=1) == torch.from_numpy(pairs[:6, 0])).all()  # depth counts in 3D only
    again = next(read_batches(mixture, [pairs[:6]], 1, 2, [0]))
    assert not torch.equal(one.patches, again.patches)  # another epoch, another disturbance


def test_an_interrupted_run_ends_as_a_whole_one(mixture: Mixture, tmp_path: Path) -> None:
    whole = fresh()
    result = train(whole, mixture, RECIPE, tmp_path / "whole", validate=lambda _: 50.0)
    train(fresh(), mixture, IntegralRecipe(**vars(RECIPE) | {"epochs": 1}), tmp_path / "parts")
    continued = fresh()
    train(continued, mixture, RECIPE, tmp_path / "parts")
    for name, values in whole.state_dict().items():
        assert torch.equal(continued.state_dict()[name], values), name
    assert [row.lr for row in result.epochs] == [1e-3, pytest.approx(1e-4)]
    assert [row.step for row in result.epochs] == [2, 4]  # ten samples in batches of four: the remainder is left out
    assert result.best is not None and result.best.exists()


def test_training_brings_the_loss_of_direct_regression_down(mixture: Mixture, tmp_path: Path) -> None:
    calm = Mixture(mixture.sets, mixture.patch, AugmentationRanges(0, 0, 0, -1, -1))
    torch.manual_seed(3)
    model = create_model("integral-direct", layers=18, patch="64x64", initial_std=None)
    rows = train(model, calm, IntegralRecipe(epochs=6, batch_size=5), tmp_path).epochs
    assert rows[-1].train_loss < 0.9 * rows[0].train_loss


@pytest.mark.slow
def test_two_processes_share_each_batch_and_end_with_the_same_weights(tmp_path: Path) -> None:
    on_two_processes(Path(__file__).with_name("shared_integral_training.py"), tmp_path)
    checkpoint = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    assert [row["step"] for row in checkpoint["epochs"]] == [2, 4]
    assert checkpoint["lr"] == pytest.approx(1e-4)


@pytest.mark.parametrize("change", [{"lr": 1e-4}, {"loss": "L2"}, {"batch_size": 5}, {"seed": 9}])
def test_a_run_is_not_continued_with_another_recipe(change: dict, mixture: Mixture, tmp_path: Path) -> None:
    first = IntegralRecipe(**vars(RECIPE) | {"epochs": 1})
    train(fresh(), mixture, first, tmp_path)
    name = next(iter(change))
    with pytest.raises(H36MError, match=f"a run with {name} {getattr(RECIPE, name)}"):
        train(fresh(), mixture, IntegralRecipe(**vars(RECIPE) | change), tmp_path)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch_size": 1}, {"lr": -1.0}, {"loss": "L3"}, {"precision": "x"}])
def test_a_recipe_that_cannot_be_followed_is_refused(change: dict) -> None:
    with pytest.raises(H36MError, match="recipe: "):
        IntegralRecipe(**change)


def test_too_few_samples_and_a_loss_that_is_not_finite_are_told(mixture: Mixture, tmp_path: Path) -> None:
    with pytest.raises(H36MError, match="10 samples an epoch do not fill a batch"):
        train(fresh(), mixture, IntegralRecipe(epochs=1, batch_size=64), tmp_path)
    with pytest.raises(H36MError, match=r"training loss became (nan|inf) in epoch 1"):
        train(fresh(), mixture, IntegralRecipe(epochs=1, batch_size=2, lr=1e30), tmp_path)


def test_imagenet_s_weights_take_the_trunk_s_place(tmp_path: Path) -> None:
    torch.manual_seed(1)
    given = create_model("integral", layers=18, initial_std=None).backbone
    classifier = {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    path = tmp_path / "resnet18.pth"
    torch.save({**given.state_dict(), **classifier}, path)
    trunk: ResNetTrunk = create_model("integral", layers=18).backbone
    load_imagenet(trunk, path)
    assert all(torch.equal(values, given.state_dict()[name]) for name, values in trunk.state_dict().items())
    with pytest.raises(H36MError, match="no weights of this ResNet"):
        load_imagenet(create_model("integral", layers=34).backbone, path)
