"""Training of Context-Aware PoseFormer: official steps, and runs that can be interrupted."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from poseformer_goldens import golden
from shared_poseformer_training import ROWS, given_batches, tiny_model, trained
from test_processes import checkpoint, on_two_processes
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.pose_transformer import PoseTransformer, TransformerConfig
from h36m_toolbox.models.poseformer_inputs import PoseFormerBatch
from h36m_toolbox.models.poseformer_recipes import RECIPES, PoseFormerRecipe, changed_recipe
from h36m_toolbox.models.poseformer_training import make_optimizer, mean_joint_error, train, training_step


def checksums(tensors: list[torch.Tensor]) -> np.ndarray:
    return np.array([[each.sum().item(), each.abs().sum().item(), each.square().sum().item()] for each in tensors])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_three_steps_of_the_transformer_are_the_official_ones(dtype: torch.dtype) -> None:
    case = golden("train_transformer")
    model = case.filled(PoseTransformer(TransformerConfig(drop_path=0.0))).to(dtype).train()
    optimizer = make_optimizer(model, PoseFormerRecipe())
    arguments = case.given("keypoints_2d", dtype), case.given("ref", dtype), case.maps(dtype)
    targets = case.given("keypoints_3d_gt", dtype)[:, 0]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    losses, norms, gradients = [], [], []
    for _ in range(3):
        losses.append(training_step(lambda: model(*arguments), targets, optimizer).item())
        gradients.append(checksums([parameter.grad for parameter in model.parameters()]))
        norms.append(nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()]).item())
    with torch.no_grad():
        after = model(*arguments)
    losses.append(mean_joint_error(after, targets).item())
    parameters = [parameter.detach() for parameter in model.parameters()]
    if dtype == torch.float32:
        np.testing.assert_allclose(losses, case.output("losses_float32"), rtol=5e-4)
        found, expected = checksums(parameters), case.output("param_checksums_float32")
        np.testing.assert_allclose(found[:, 1:], expected[:, 1:], rtol=2e-3)
        return
    np.testing.assert_allclose(losses, case.output("losses_float64"), rtol=1e-9)
    np.testing.assert_allclose(norms, case.output("grad_norms_float64"), rtol=1e-9)
    np.testing.assert_allclose(checksums(parameters), case.output("param_checksums_float64"), rtol=1e-7, atol=1e-9)
    largest = np.abs(case.output("first_grad_checksums_float64")).max()
    np.testing.assert_allclose(
        gradients[0], case.output("first_grad_checksums_float64"), rtol=1e-7, atol=largest * 1e-12
    )
    case.assert_matches("prediction_after_float64", after[:, None], of_largest=1e-9)
    deltas = checksums([now - then for now, then in zip(parameters, before, strict=True)])
    np.testing.assert_allclose(deltas, case.output("param_delta_checksums_float64"), rtol=1e-7)


def test_the_recipe_is_the_published_one() -> None:
    recipe = RECIPES["hrnet_48"]
    assert (recipe.lr, recipe.weight_decay, recipe.decay, recipe.batch_size) == (6.4e-4, 0.1, 0.99, 512)
    assert RECIPES["cpn"].batch_size == 256
    with pytest.raises(H36MError, match="epochs 0"):
        PoseFormerRecipe(epochs=0)
    with pytest.raises(H36MError, match="precision 'fp16'"):
        PoseFormerRecipe(precision="fp16")
    assert changed_recipe("cpn", {"lr": 1, "epochs": 3}) == PoseFormerRecipe(epochs=3, lr=1.0, batch_size=256)
    with pytest.raises(H36MError, match="has no clip_norm; it has epochs, lr, weight_decay"):
        changed_recipe("cpn", {"clip_norm": 1.0})
    with pytest.raises(H36MError, match=r"epochs is 2\.5; expected a value of type int"):
        changed_recipe("cpn", {"epochs": 2.5})


RECIPE = PoseFormerRecipe(epochs=2, batch_size=2)


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(tiny_model(), ROWS, given_batches, RECIPE, tmp_path / "whole")
    assert whole.best is None
    assert [row.step for row in whole.epochs] == [3, 6]
    assert whole.epochs[1].lr == pytest.approx(6.4e-4 * 0.99)
    half = tmp_path / "half"
    train(tiny_model(), ROWS, given_batches, PoseFormerRecipe(epochs=1, batch_size=2), half)
    train(tiny_model(), ROWS, given_batches, RECIPE, half)
    first, second = (
        torch.load(folder / "checkpoint_last.pt", weights_only=True) for folder in (whole.last.parent, half)
    )
    for name, values in first["state_dict"].items():
        assert torch.equal(values, second["state_dict"][name]), name
    with (half / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_only_the_transformer_learns(tmp_path: Path) -> None:
    model = tiny_model()
    before = {name: values.clone() for name, values in model.state_dict().items()}
    train(model, ROWS, given_batches, PoseFormerRecipe(epochs=1, batch_size=5), tmp_path)
    changed = {name for name, values in model.state_dict().items() if not torch.equal(values, before[name])}
    assert {name.split(".")[0] for name in changed} == {"volume_net"}


def test_the_best_epoch_is_the_first_of_those_equal_to_a_tenth_of_a_millimetre(tmp_path: Path) -> None:
    errors = iter([50.04, 50.01, 60.0])
    recipe = PoseFormerRecipe(epochs=3, batch_size=5)
    result = train(tiny_model(), ROWS, given_batches, recipe, tmp_path, validate=lambda _: next(errors))
    assert torch.load(result.best, weights_only=True)["epoch"] == 1


def test_a_run_goes_on_only_with_the_same_recipe_model_and_data(tmp_path: Path) -> None:
    once = PoseFormerRecipe(epochs=1, batch_size=5)
    train(tiny_model(), ROWS, given_batches, once, tmp_path, data_sha256="one")
    with pytest.raises(H36MError, match="a run with batch_size 5, data_sha256 one; continue it with the same"):
        train(tiny_model(), ROWS, given_batches, RECIPE, tmp_path, data_sha256="other")


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(tmp_path: Path) -> None:
    def broken(parts: Iterable[np.ndarray]) -> list[PoseFormerBatch]:
        found = list(given_batches(parts))
        found[0].targets[0, 1] = torch.nan
        return found

    with pytest.raises(H36MError, match="the training loss became nan in epoch 1"):
        train(tiny_model(), ROWS, broken, RECIPE, tmp_path)
    assert not (tmp_path / "checkpoint_last.pt").exists()


def test_bf16_learns_too(tmp_path: Path) -> None:
    recipe = PoseFormerRecipe(epochs=1, batch_size=5, precision="bf16")
    result = train(tiny_model(), ROWS, given_batches, recipe, tmp_path)
    assert 0 < result.epochs[0].train_loss < 10


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    trained(tmp_path / "one")
    on_two_processes(Path(__file__).with_name("shared_poseformer_training.py"), tmp_path / "two")
    one, two = (checkpoint(tmp_path / name)["epochs"] for name in ("one", "two"))
    for left, right in zip(one, two, strict=True):
        assert left["train_loss"] == pytest.approx(right["train_loss"], rel=1e-5)
