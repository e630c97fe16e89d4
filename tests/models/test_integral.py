"""Integral and direct regression: the official coordinates, losses and flip tests, and official checkpoints."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_weights import fill
from integral_goldens import golden
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model, list_models, load_weights
from h36m_toolbox.models.integral import (
    DirectConfig,
    DirectPose,
    IntegralConfig,
    IntegralPose,
    soft_argmax,
)
from h36m_toolbox.models.integral_losses import LOSSES, absolute_loss
from h36m_toolbox.models.integral_recipes import RECIPES
from h36m_toolbox.models.patch_models import (
    FromPatches,
    in_patch,
    normalised_patches,
    patch_mirror,
    patch_predictor,
    predict_patches,
)
from h36m_toolbox.models.test_time import flip_tested
from h36m_toolbox.pose_datasets.patches import Patch, normalised_patch

STAGES = {"stem": "backbone.maxpool", "heatmap": "head", "regression": "head"}
SMALL = {"layers": 18, "deconv_channels": 8, "patch": "64x64"}


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values))


def network(config: dict) -> nn.Module:
    if "fea_map_size" in config:
        return DirectPose(DirectConfig(config["num_layers"], config["num_joints"], config["fea_map_size"]))
    return IntegralPose(
        IntegralConfig(
            layers=config["num_layers"],
            joints=config["num_joints"],
            depth=config["depth_dim"],
            deconv_layers=config["num_deconv_layers"],
            deconv_channels=config["num_deconv_filters"],
            deconv_kernel=config["num_deconv_kernel"],
            final_kernel=config["final_conv_kernel"],
        )
    )


def run(model: nn.Module, config: dict, seed: int, stages: list[str]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The output on the case's drawn patches, and what each stage gave."""
    seen: dict[str, torch.Tensor] = {}
    for stage in stages:
        place = STAGES.get(stage, f"backbone.{stage}" if stage.startswith("layer") else stage)
        model.get_submodule(place).register_forward_hook(
            lambda _, given, found, stage=stage: seen.__setitem__(stage, found.detach().clone())
        )
    shape = (config["batch"], 3, config["input_height"], config["input_width"])
    patches = np.random.RandomState(seed).randn(*shape).astype(np.float32)
    with torch.inference_mode():
        return model(torch.from_numpy(patches)), seen


@pytest.mark.parametrize(
    ("name", "seed"), [("net_integral_r50_256", 101), ("net_direct_r50_256", 102), ("net_integral_r18_k3", 103)]
)
def test_the_networks_stage_by_stage(name: str, seed: int) -> None:
    case = golden(name)
    config, statistics = case.facts["config"], case.facts["stage_statistics"]
    model = network(config)
    official = [(entry, tuple(shape)) for entry, shape, _ in case.facts["state_dict"]]
    assert [(entry, tuple(values.shape)) for entry, values in model.state_dict().items()] == official
    assert sum(parameter.numel() for parameter in model.parameters()) == config["parameters"]
    found, seen = run(fill(model).eval(), config, seed, list(statistics))
    for stage, facts in statistics.items():
        assert list(seen[stage].shape) == facts["shape"]
        values = case.sampled(stage, seen[stage].numpy())
        np.testing.assert_allclose(values, case.expected(stage), rtol=1e-4, atol=1e-4 * facts["std"], err_msg=stage)
    if "fea_map_size" in config:
        coordinates = found * config["regression_scale_for_result"]
    else:
        coordinates = soft_argmax(seen["heatmap"] * config["logit_scale_for_integral_scaled"], config["num_joints"])
        expected = case.expected("integral_scaled")
        np.testing.assert_allclose(coordinates.flatten(1).numpy(), expected, rtol=0, atol=1e-5)
    if "output.result" in case.arrays:
        places = in_patch(coordinates, Patch(config["input_width"], config["input_height"]))
        np.testing.assert_allclose(places.numpy(), case.expected("result")[..., :3], rtol=0, atol=1e-3)


def test_the_soft_argmax_and_its_gradient() -> None:
    case = golden("soft_argmax")
    volumes = tensor(case.given("heatmap")).requires_grad_()
    found = soft_argmax(volumes, 3)
    (found.flatten(1) * tensor(case.given("grad_output"))).sum().backward()
    np.testing.assert_allclose(found.detach().flatten(1).numpy(), case.expected("coords"), rtol=0, atol=1e-6)
    np.testing.assert_allclose(volumes.grad.numpy(), case.expected("grad_heatmap"), rtol=0, atol=1e-6)
    exact = soft_argmax(volumes.detach().double(), 3).flatten(1)
    np.testing.assert_allclose(exact.numpy(), case.expected("coords_float64"), rtol=0, atol=1e-12)
    places = in_patch(soft_argmax(tensor(case.given("heatmap_cubic")), 2), Patch(20, 24))
    np.testing.assert_allclose(places.numpy(), case.expected("result")[..., :3], rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [1e-3, 30.0, 6e4])
def test_logits_of_any_precision_and_size_are_read_as_exactly_as_in_float64(dtype: torch.dtype, size: float) -> None:
    logits = (torch.from_numpy(np.random.default_rng(2).uniform(-size, size, (2, 2 * 16, 12, 20)))).to(dtype)
    found = soft_argmax(logits, 2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), soft_argmax(logits.double(), 2), rtol=0, atol=2e-6)


def test_the_largest_half_precision_numbers_leave_no_nan() -> None:
    logits = torch.full((1, 64, 64, 64), torch.finfo(torch.float16).max, dtype=torch.float16)
    torch.testing.assert_close(soft_argmax(logits, 1), torch.full((1, 1, 3), -1 / 128))


class Large(TorchDispatchMode):
    """Names the operations that make tensors of at least `size` numbers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.made = size, []

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        found = operation(*given, **(named or {}))
        is_new = torch.is_tensor(found) and operation is not torch.ops.aten.view.default
        if is_new and found.numel() >= self.size:
            self.made.append(str(operation))
        return found


def test_nothing_as_large_as_the_volume_is_made_but_its_weights() -> None:
    volumes = torch.zeros(2, 3 * 8, 16, 16)
    with torch.no_grad(), Large(volumes.numel()) as large:
        soft_argmax(volumes, 3)
    assert large.made == ["aten._softmax.default"]


def test_heat_maps_that_do_not_divide_among_the_joints_are_refused() -> None:
    with pytest.raises(H36MError, match="10 heat maps are no whole number for each of 3 joints"):
        soft_argmax(torch.zeros(1, 10, 4, 4), 3)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("head", ["integral", "direct"])
def test_the_losses_and_their_gradients(kind: str, head: str) -> None:
    case = golden("losses")
    given = tensor(case.given("heatmap" if head == "integral" else "direct_pred")).requires_grad_()
    coordinates = soft_argmax(given, 3) if head == "integral" else given.unflatten(1, (3, 3))
    target, weights = (tensor(case.given(name)).unflatten(1, (3, 3)) for name in ("target", "weight"))
    loss = LOSSES[kind](coordinates, target, weights)
    loss.backward()
    np.testing.assert_allclose(loss.detach(), case.expected(f"{head}_{kind}"), rtol=1e-6)
    expected = case.expected(f"{head}_{kind}_grad")
    np.testing.assert_allclose(given.grad, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("head", ["integral", "direct"])
def test_the_flip_test(head: str) -> None:
    case = golden(f"flip_test_{head}")
    config = case.facts["config"]
    contract = FromPatches(Patch(config["patch_width"], config["patch_height"]))
    seen, seen_mirrored = (tensor(case.given(name)).flatten(0, 1) for name in ("net_output", "net_output_flipped"))

    def coordinates(outputs: torch.Tensor) -> torch.Tensor:
        return soft_argmax(outputs, 18) if head == "integral" else outputs.unflatten(1, (18, 3))

    def predict(batch: torch.Tensor) -> torch.Tensor:  # of columns that name the batch: 0, or 1 where it is mirrored
        return in_patch(coordinates(seen_mirrored if batch[0, 0] else seen), contract.patch)

    plain, kept = torch.tensor([[0.0, 1.0]]), config["num_samples"]
    merged = flip_tested(predict, patch_mirror(contract))(plain)[:kept]
    np.testing.assert_allclose(merged, case.expected("merged")[..., :3], rtol=0, atol=1e-4)
    np.testing.assert_allclose(predict(plain)[:kept], case.expected("no_flip")[..., :3], rtol=0, atol=1e-4)
    target, weights = (tensor(case.given(name)).flatten(0, 1).unflatten(1, (18, 3)) for name in ("target", "weight"))
    np.testing.assert_allclose(absolute_loss(coordinates(seen), target, weights), case.expected("loss"), rtol=1e-6)


def test_the_released_network_has_the_official_names_and_shapes() -> None:
    layout = golden("checkpoint_layout").facts["layouts"]["integral_r152_d72_j18"]
    with torch.device("meta"):
        model = create_model("integral", layers=152, patch="288x384", depth_in="image")
    found = [[f"module.{name}", list(values.shape)] for name, values in model.state_dict().items()]
    assert found == [entry[:2] for entry in layout["network"]]
    assert sum(parameter.numel() for parameter in model.parameters()) == layout["parameters"]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("counters", [False, True])
def test_an_official_checkpoint_is_read(zipped: bool, counters: bool, tmp_path: Path) -> None:
    trained = fill(create_model("integral", **SMALL))
    saved = OrderedDict(
        (f"module.{name}", values)
        for name, values in trained.state_dict().items()
        if counters or not name.endswith("num_batches_tracked")
    )
    moments = {"step": 5, "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}
    content = {
        "epoch": 300,
        "network": saved,
        "optimizer": {"state": {7: moments}, "param_groups": [{"lr": 1e-6, "params": [7]}]},
        "scheduler": {"milestones": [270, 290], "gamma": 0.1, "last_epoch": 300},
        "train_loss": [3.5, 3.25],
        "valid_loss": [4.5, 4.25],
    }
    path = tmp_path / "model_epoch300.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    model = create_model("integral", **SMALL)
    assert load_weights(model, path).values["epoch"] == 300
    for name, values in trained.state_dict().items():
        assert (model.state_dict()[name] == values).all(), name


def test_a_checkpoint_of_another_patch_is_told_from_its_shapes(tmp_path: Path) -> None:
    path = tmp_path / "model_latest.pth.tar"
    torch.save({"network": create_model("integral", **SMALL).state_dict()}, path)
    with pytest.raises(H36MError, match=r"head\.features\.9\.weight \(found \(288, 8, 1, 1\), expected \(432, 8, 1"):
        load_weights(create_model("integral", **SMALL | {"patch": "96x128"}), path)


def test_the_cards() -> None:
    cards = {card.name: card for card in list_models()}
    for name in ("integral", "integral-direct"):
        with torch.device("meta"):
            model = create_model(name)
        assert sum(parameter.numel() for parameter in model.parameters()) == cards[name].parameters
        assert cards[name].contract().patch == Patch(256, 256, 2000.0)
    assert cards["integral"].contract(patch="288x384", depth_in="image").patch == Patch(288, 384, None)
    assert cards["integral"].contract(patch="288x384").patch == Patch(288, 384, 1500.0)
    assert [score.mpjpe_mm for score in cards["integral"].published] == [62.2, 61.2, 58.5, 57.5, 56.9, 55.3]


def test_the_documentation_has_every_published_figure_and_recipe() -> None:
    text = (Path(__file__).parents[2] / "docs" / "integral.md").read_text()
    (card,) = (card for card in list_models() if card.name == "integral")
    for score in card.published:
        assert f"| {score.mpjpe_mm} |" in text
    for name, recipe in RECIPES.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[3] == str(recipe.batch_size)
        assert cells[5] == str(recipe.epochs)
        rate, drops = cells[4].split(", ")
        assert float(rate) == recipe.lr
        assert drops == " and ".join(map(str, recipe.drops))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("integral", {"patch": "100x100"}, "no patch '100x100'"),
        ("integral", {"patch": "256"}, "no patch '256'"),
        ("integral", {"depth_in": "metres"}, "no depth in 'metres'"),
        ("integral", {"layers": 42}, "not of 42"),
        ("integral", {"joints": 17}, "has 18 joints, not 17"),
        ("integral", {"deconv_kernel": 5}, "kernels of 4, 3, 2, not of 5"),
        ("integral", {"pooled": 8}, "model integral has no option pooled; it has patch, depth_in, layers"),
        ("integral-direct", {"patch": "288x384"}, "square patches, not 288x384"),
    ],
)
def test_options_that_make_no_network_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(H36MError, match=message), torch.device("meta"):
        create_model(name, **options)


def test_direct_regression_says_which_patches_it_takes() -> None:
    with pytest.raises(H36MError, match="takes patches of 64x64, found 32x64"):
        create_model("integral-direct", layers=18, patch="64x64")(torch.zeros(1, 3, 64, 32))


def test_random_weights_of_a_run_put_joints_into_different_places() -> None:
    untrained = FromPatches(Patch(64, 64)).untrained
    model = create_model("integral", **SMALL, **untrained).eval()
    with torch.inference_mode():
        found = model(torch.randn(2, 3, 64, 64))
    assert found.std(dim=1).min() > 1e-3
    assert torch.isfinite(found).all()


def test_patches_go_through_in_batches_and_an_ensemble_is_the_mean_of_its_models() -> None:
    contract = FromPatches(Patch(64, 64))
    models = [
        fill(create_model("integral", **SMALL)).eval(),
        create_model("integral", **SMALL, initial_std=None).eval(),
    ]
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)

    def poses(chosen: list[nn.Module], batch_size: int, flip: bool = False) -> np.ndarray:
        predict = patch_predictor(chosen, contract, flip)
        return predict_patches(predict, lambda place: images[place], len(images), batch_size=batch_size)

    single = [poses([model], 2) for model in models]
    np.testing.assert_allclose(poses(models, 3), (single[0] + single[1]) / 2, rtol=1e-4, atol=1e-3)
    flipped = poses(models[1:], 5, flip=True)
    images = np.ascontiguousarray(images[:, :, ::-1])
    again = poses(models[1:], 5, flip=True)
    mirrored = patch_mirror(contract).poses(torch.from_numpy(again)).numpy()
    np.testing.assert_allclose(flipped, mirrored, rtol=1e-4, atol=1e-3)  # nothing is left of the side shown first


def test_patches_are_normalised_on_the_device_as_they_are_before_it() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    expected = np.stack([normalised_patch(image) for image in images])
    np.testing.assert_allclose(normalised_patches(images, "cpu").numpy(), expected, rtol=1e-6, atol=1e-6)
