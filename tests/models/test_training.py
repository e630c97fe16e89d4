"""Training steps are the official ones in float64; interrupted runs end where uninterrupted ones do."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_weights import fill
from lifting_goldens import golden, normal_batches, pose_batches
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.martinez import MARTINEZ_SEMGCN, MARTINEZ_TF, MARTINEZ_WEIGQ, Martinez
from h36m_toolbox.models.recipes import Recipe, learning_rate
from h36m_toolbox.models.registry import recipe_of
from h36m_toolbox.models.semgcn import SemGCN, SemGCNConfig
from h36m_toolbox.models.training import make_optimizer, train, training_step

Batches = tuple[torch.Tensor, torch.Tensor]


def stepped(model: nn.Module, batches: Batches, recipe: Recipe) -> dict[str, np.ndarray]:
    """Five steps in the batches' type; what they reported and left behind."""
    optimizer = make_optimizer(model.train(), recipe)
    results = [
        training_step(model, optimizer, inputs, targets, step, recipe)
        for step, (inputs, targets) in enumerate(zip(*batches, strict=True), start=1)
    ]
    state = [values.double().numpy() for values in model.state_dict().values()]
    with torch.no_grad():
        after = model.eval()(batches[0][0][:8]).numpy()
    return {
        "losses": np.array([float(result.loss) for result in results]),
        "grad_norm": np.array([float(result.grad_norm) for result in results]),
        "lr": np.array([result.lr for result in results]),
        "state_mean": np.array([values.mean() for values in state]),
        "state_l2": np.array([np.sqrt((values**2).sum()) for values in state]),
        "eval_after": after,
    }


def doubled(batches: Batches) -> Batches:
    return batches[0].double(), batches[1].double()


TRAINED: dict[str, tuple[Callable[[], nn.Module], Batches, Recipe]] = {
    "train_semgcn_h128_l4": (SemGCN, pose_batches(41), recipe_of("semgcn", "gt")),
    "train_semgcn_nonlocal_h128_l4": (
        lambda: SemGCN(SemGCNConfig(non_local=True)),
        pose_batches(42),
        recipe_of("semgcn-nonlocal", "gt"),
    ),
    "train_linear16_s1024_n2": (
        lambda: Martinez(replace(MARTINEZ_SEMGCN, p_dropout=0)),
        pose_batches(43),
        recipe_of("martinez", "gt"),
    ),
    "train_linear_weigq_s1024_n2": (
        lambda: Martinez(replace(MARTINEZ_WEIGQ, p_dropout=0)),
        normal_batches(36),
        recipe_of("martinez", "gt"),
    ),
}


@pytest.mark.parametrize("case", TRAINED)
def test_five_steps_in_float64_are_the_official_ones(case: str) -> None:
    build, batches, recipe = TRAINED[case]
    stored = golden(case)
    model = fill(build())
    stored.assert_same_entries(model)
    found = stepped(model.double(), doubled(batches), recipe)
    if case == "train_linear16_s1024_n2":
        found["eval_after"] = found["eval_after"][:, 1:]  # stored without the root
    for name, values in found.items():
        stored.assert_matches(f"{name}_f64", values)


def test_five_steps_of_the_tensorflow_variant_are_the_official_ones() -> None:
    stored = golden("train_martinez_tf")
    model = fill(Martinez(replace(MARTINEZ_TF, p_dropout=0))).double()
    found = stepped(model, doubled(normal_batches(94)), recipe_of("martinez-tf", "gt"))
    names = list(model.state_dict())
    order = [names.index(port_name) for _, port_name, _ in stored.facts["variables"]]
    stored.assert_matches("losses", found["losses"])
    stored.assert_matches("state_mean", found["state_mean"][order])
    stored.assert_matches("state_l2", found["state_l2"][order])
    stored.assert_matches("eval_after", found["eval_after"])


def test_learning_rates_are_the_official_ones() -> None:
    stored = golden("lr_schedule")
    steps = stored.given("step").tolist()
    stored.assert_matches("lr", np.array([learning_rate(step, recipe_of("semgcn", "gt")) for step in steps]))
    stored.assert_matches(
        "lr_martinez", np.array([learning_rate(step, recipe_of("martinez-tf", "gt")) for step in steps])
    )


def test_published_recipes_have_the_published_epochs() -> None:
    published = {
        ("semgcn", "gt"): 50,
        ("semgcn", "sh"): 100,
        ("semgcn-nonlocal", "gt"): 30,
        ("semgcn-nonlocal", "sh"): 100,
        ("martinez", "gt"): 200,
        ("martinez", "sh"): 200,
    }
    assert {key: recipe_of(*key).epochs for key in published} == published


SHORT = Recipe(epochs=4, batch_size=8, decay_steps=5, seed=7)


def small_model() -> nn.Module:
    """A network with every kind of state: batch norms, dropout, non-local blocks."""
    torch.manual_seed(3)
    return create_model("semgcn-nonlocal", hid_dim=8, num_layers=1, p_dropout=0.3)


def made_up_data(poses: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    inputs = rng.uniform(-1, 1, (poses, 16, 2)).astype(np.float32)
    targets = np.concatenate([inputs, inputs[..., :1]], axis=-1) - inputs[:, :1, :1]
    return inputs, targets.astype(np.float32)


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    data = made_up_data()
    whole = small_model()
    expected = train(whole, *data, SHORT, tmp_path / "whole")

    def interrupt(epoch: int, finished: int, steps: int) -> None:
        if (epoch, finished) == (3, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_model(), *data, SHORT, tmp_path / "parts", progress=interrupt)
    torch.manual_seed(99)
    continued = create_model("semgcn-nonlocal", hid_dim=8, num_layers=1, p_dropout=0.3)  # other initial weights
    found = train(continued, *data, SHORT, tmp_path / "parts")

    for name, values in whole.state_dict().items():
        assert torch.equal(values, continued.state_dict()[name]), name
    assert [row.train_loss for row in found.epochs] == [row.train_loss for row in expected.epochs]
    assert [row.step for row in found.epochs] == [4, 8, 12, 16]


def test_a_finished_run_can_be_given_more_epochs(tmp_path: Path) -> None:
    data = made_up_data()
    straight, extended = small_model(), small_model()
    train(straight, *data, SHORT, tmp_path / "straight")
    train(extended, *data, replace(SHORT, epochs=2), tmp_path / "extended")
    train(extended, *data, SHORT, tmp_path / "extended")
    assert all(torch.equal(v, extended.state_dict()[name]) for name, v in straight.state_dict().items())


def test_training_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    model = small_model()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(model, *made_up_data(), replace(SHORT, epochs=1), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_the_best_epoch_the_last_epoch_and_the_log_are_kept(tmp_path: Path) -> None:
    errors = iter([50.0, 40.0, 45.0, 41.0])
    result = train(small_model(), *made_up_data(), SHORT, tmp_path, validate=lambda _model: next(errors))
    assert result.best is not None
    best = load_weights(small_model(), result.best)
    last = load_weights(small_model(), result.last)
    assert (best.values["epoch"], best.values["error"]) == (2, 40.0)
    assert (last.values["epoch"], last.values["step"], last.values["error"]) == (4, 16, 41.0)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "step", "lr", "train_loss", "validation_mpjpe_mm", "poses_per_s"]
    assert [float(row["validation_mpjpe_mm"]) for row in rows] == [50, 40, 45, 41]
    assert [float(row["lr"]) for row in rows] == [learning_rate(step, SHORT) for step in (4, 8, 12, 16)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint_best.pt", "checkpoint_last.pt", "log.csv"]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    model = create_model("martinez", linear_size=64, p_dropout=0)
    recipe = Recipe(epochs=20, batch_size=8, root_in_loss=False)
    epochs = train(model, *made_up_data(), recipe, tmp_path).epochs
    assert epochs[-1].train_loss < 0.2 * epochs[0].train_loss


def test_a_lone_last_pose_joins_the_batch_before_it(tmp_path: Path) -> None:
    model = create_model("martinez", linear_size=8)
    result = train(model, *made_up_data(17), Recipe(epochs=1, batch_size=8, root_in_loss=False), tmp_path)
    assert result.epochs[-1].step == 2


def test_a_remainder_can_be_left_out(tmp_path: Path) -> None:
    steps: list[tuple[int, int, int]] = []
    recipe = replace(SHORT, epochs=1, drop_last=True)
    train(small_model(), *made_up_data(), recipe, tmp_path, progress=lambda *step: steps.append(step))
    assert steps == [(1, 1, 3), (1, 2, 3), (1, 3, 3)]


def test_a_run_of_another_recipe_or_network_is_not_continued(tmp_path: Path) -> None:
    train(small_model(), *made_up_data(), replace(SHORT, epochs=1), tmp_path)
    with pytest.raises(H36MError, match=r"a run with lr 0\.001; continue it with the same"):
        train(small_model(), *made_up_data(), replace(SHORT, lr=0.1), tmp_path)
    with pytest.raises(H36MError, match="a run with poses 30"):
        train(small_model(), *made_up_data(29), SHORT, tmp_path)
    with pytest.raises(H36MError, match="a run with another network"):
        train(create_model("semgcn", hid_dim=8), *made_up_data(), SHORT, tmp_path)


def test_inputs_with_nan_stop_the_run_before_a_checkpoint_is_written(tmp_path: Path) -> None:
    inputs, targets = made_up_data()
    inputs[3, 2] = np.nan
    with pytest.raises(H36MError, match="training loss became nan in epoch 1"):
        train(small_model(), inputs, targets, SHORT, tmp_path)
    assert not list(tmp_path.iterdir())


def test_inputs_and_targets_of_different_length_are_refused(tmp_path: Path) -> None:
    inputs, targets = made_up_data()
    with pytest.raises(H36MError, match="got 30 and 29"):
        train(small_model(), inputs, targets[1:], SHORT, tmp_path)
