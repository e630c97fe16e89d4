"""Models that see images: cards and contracts, RANSAC, start weights, and running them on what fits into memory."""

from __future__ import annotations

import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from volumetric_goldens import golden

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model, list_models, load_weights
from h36m_toolbox.models.backbone_weights import load_backbone
from h36m_toolbox.models.learnable_triangulation import RansacConfig, RansacTriangulation
from h36m_toolbox.models.pose_resnet import PoseResNet, PoseResNetConfig
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.models.view_inference import normalised_images, predict
from h36m_toolbox.models.view_models import FromViews
from h36m_toolbox.models.volumes import AGGREGATIONS
from h36m_toolbox.views.crops import normalised
from h36m_toolbox.views.samples import ViewInput

pytestmark = pytest.mark.usefixtures("one_thread")

CARDS = {card.name: card for card in list_models() if isinstance(card.contract(), FromViews)}
SMALL = {"layers": 18, "image_px": 128}
LIMBS = {"limbs": {"mean": [250.0] * 16, "std": [20.0] * 16}}


def camera_at(degrees: float) -> torch.Tensor:
    """A projection (3, 4) of 128x128 px from 4 m away, looking at the origin, turned about the vertical."""
    turn = np.radians(degrees)
    right, down = [-np.sin(turn), np.cos(turn), 0], [0, 0, -1]
    ahead = [-np.cos(turn), -np.sin(turn), 0]
    pose = np.c_[np.array([right, down, ahead]), [0, 0, 4000]]
    return torch.from_numpy(np.array([[100, 0, 64], [0, 100, 64], [0, 0, 1]]) @ pose).float()


CAMERAS = torch.stack([camera_at(degrees) for degrees in (0, 80, 170, 265)])


def small(name: str, **more: object) -> nn.Module:
    voxels = {"voxels": 32} if name in ("contextpose", "volumetric") else {}
    limbs = LIMBS if CARDS[name].contract().needs_limbs else {}
    return create_model(name, **SMALL, **voxels, **limbs, **more).eval()


def run(model: nn.Module, contract: FromViews) -> torch.Tensor:
    views = 1 if contract.views == "one" else 2
    images = torch.randn(1, views, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    projections = CAMERAS[None, :views]
    base = [torch.zeros(1, 3)] if contract.needs_pelvis else []
    with torch.no_grad():
        return model(images, projections, *base).joints_3d


@pytest.mark.parametrize("name", ["contextpose", "volumetric", "algebraic", "ransac"])
def test_every_model_has_its_stated_size_and_gives_a_pose_as_its_contract_says(name: str) -> None:
    with torch.device("meta"):
        model = CARDS[name].build()
    assert sum(p.numel() for p in model.parameters()) == CARDS[name].parameters
    contract = CARDS[name].contract(image_px=128)
    poses = run(small(name), contract)
    assert poses.shape == (1, len(contract.output_joints), 3)
    assert poses.isfinite().all()


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("contextpose", {"contextpose": 43.4}),
        ("volumetric", {"learnable-triangulation-relative": 20.4, "learnable-triangulation-absolute": 17.7}),
        ("algebraic", {"learnable-triangulation-relative": 22.5, "learnable-triangulation-absolute": 19.2}),
        ("ransac", {"learnable-triangulation-relative": 27.4, "learnable-triangulation-absolute": 22.8}),
    ],
)
def test_the_published_figures_stand_with_their_protocol(name: str, figures: dict[str, float]) -> None:
    card = model_card(name)
    assert {score.protocol: score.mpjpe_mm for score in card.published} == figures
    assert card.contract().protocol in figures


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_views_are_put_together_as_the_option_says(how: str) -> None:
    model = small("volumetric", aggregation=how)
    assert (model.backbone.vol_confidences is not None) == how.startswith("conf")
    assert run(model, model_card("volumetric").contract(aggregation=how, image_px=128)).isfinite().all()


def test_confidences_of_the_algebraic_model_are_an_option() -> None:
    assert small("algebraic", confidences=False).backbone.alg_confidences is None


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("contextpose", {"depth": 3}, "contextpose has no option depth; it has layers, image_px, limbs"),
        ("volumetric", {"aggregation": "mean"}, "by 'mean'; there are sum, max, softmax, conf, conf_norm"),
        ("ransac", {"layers": 20}, "pose ResNets of 18, 34, 50, 101, 152 layers, not of 20"),
    ],
)
def test_unknown_options_are_refused(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(H36MError, match=words):
        create_model(name, **options)


@pytest.mark.parametrize(("name", "px"), [("contextpose", 32), ("contextpose", 100), ("algebraic", 96)])
def test_images_too_small_for_the_network_are_refused(name: str, px: int) -> None:
    with pytest.raises(H36MError, match=f"images of {px} px; this model needs a multiple of 32"):
        model_card(name).contract(image_px=px)


def test_contextpose_without_limb_lengths_cannot_be_run_and_says_what_makes_them() -> None:
    model = create_model("contextpose", **SMALL, voxels=32).eval()
    with pytest.raises(H36MError, match=r"without limb lengths.*h36m stats DATA"):
        run(model, model_card("contextpose").contract())


# RANSAC


def test_ransac_is_the_official_baseline_s() -> None:
    case = golden("lt_ransac_r50")
    model = case.filled(RansacTriangulation(RansacConfig(PoseResNetConfig(50))))
    found = model(case.given("images"), case.given("proj"))
    case.assert_matches("heatmaps", found.heatmaps)
    case.assert_matches("keypoints_2d", found.joints_2d)
    case.assert_matches("keypoints_3d", found.joints_3d)


def test_ransac_gives_a_pose_the_same_points_in_any_batch() -> None:
    model = small("ransac")
    images = torch.randn(3, 4, 3, 128, 128, generator=torch.Generator().manual_seed(2))
    together = model(images, CAMERAS.expand(3, -1, -1, -1)).joints_3d
    alone = torch.cat([model(images[i : i + 1], CAMERAS[None]).joints_3d for i in range(3)])
    assert torch.equal(together, alone)


# Weights


def saved(path: Path, state: dict[str, torch.Tensor], prefix: str) -> Path:
    torch.save({f"{prefix}{name}": values for name, values in state.items()}, path)
    return path


@pytest.mark.parametrize("name", ["contextpose", "algebraic"])
def test_official_files_of_several_gpus_load_by_their_own_names(name: str, tmp_path: Path) -> None:
    one, other = small(name), small(name)
    for parameter in one.parameters():
        nn.init.normal_(parameter)
    load_weights(other, saved(tmp_path / "weights.pth", one.state_dict(), "module."))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_a_start_checkpoint_fills_the_backbone_under_every_official_prefix(prefix: str, tmp_path: Path) -> None:
    given, backbone = PoseResNet(PoseResNetConfig(18)), PoseResNet(PoseResNetConfig(18, joint_confidences=True))
    head = backbone.alg_confidences.head[0].weight.clone()
    missing = load_backbone(backbone, saved(tmp_path / "start.pth", given.state_dict(), prefix))
    assert missing
    assert all(entry.startswith("alg_confidences.") for entry in missing)
    state = backbone.state_dict()
    assert all(torch.equal(state[entry], values) for entry, values in given.state_dict().items())
    assert torch.equal(backbone.alg_confidences.head[0].weight, head)


@pytest.mark.parametrize("joints", [16, 19])
def test_a_final_layer_of_other_width_keeps_the_filters_both_have(joints: int, tmp_path: Path) -> None:
    given, backbone = PoseResNet(PoseResNetConfig(18, joints=joints)), PoseResNet(PoseResNetConfig(18))
    nn.init.ones_(given.final_layer.bias)
    load_backbone(backbone, saved(tmp_path / "start.pth", given.state_dict(), "module."))
    kept = min(joints, 17)
    assert torch.equal(backbone.final_layer.weight[:kept], given.final_layer.weight[:kept])
    assert backbone.final_layer.bias.tolist() == [1.0] * kept + [0.0] * (17 - kept)
    if kept < 17:
        bound = (6 / (256 + 17)) ** 0.5  # Xavier's
        assert 0 < backbone.final_layer.weight[kept:].abs().max() <= bound


def test_a_start_checkpoint_of_another_network_changes_nothing_and_says_why(tmp_path: Path) -> None:
    backbone = PoseResNet(PoseResNetConfig(18))
    before = backbone.conv1.weight.clone()
    path = saved(tmp_path / "start.pth", PoseResNet(PoseResNetConfig(34)).state_dict(), "")
    with pytest.raises(H36MError, match=r"no weights for a pose ResNet of 18 layers: layer1\.2\.conv1.weight is unexp"):
        load_backbone(backbone, path)
    assert torch.equal(backbone.conv1.weight, before)


# Running


def test_bytes_are_normalised_on_the_device_as_officially() -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    found = normalised_images(images, "cpu")
    assert found.shape == (2, 3, 3, 8, 8)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), normalised(images).transpose(0, 1, 4, 2, 3), rtol=0, atol=1e-6)


Found = namedtuple("Found", ["joints_3d"])


class Remembering(nn.Module):
    """Gives each sample's base point as its only joint, notes batches, and has memory for `room` samples."""

    def __init__(self, room: int = 100) -> None:
        super().__init__()
        self.room = room
        self.batches: list[tuple[int, int]] = []

    def forward(self, images: torch.Tensor, projections: torch.Tensor, base: torch.Tensor) -> Found:
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate a lot")
        assert images.shape[1] == projections.shape[1]
        self.batches.append(tuple(images.shape[:2]))
        return Found(base[:, None])


VIEWS = [4, 3, 4, 4, 3, 4, 4]


def load(sample: int) -> ViewInput:
    views = VIEWS[sample]
    images = np.zeros((views, 4, 4, 3), np.uint8)
    return ViewInput(images, np.zeros((views, 3, 4), np.float32), np.full(3, sample, np.float32))


def test_samples_of_as_many_views_share_a_batch_and_poses_keep_their_order() -> None:
    model = Remembering()
    found = predict(model, load, VIEWS, batch_size=4)
    assert found[:, 0, 0].tolist() == list(range(7))
    assert model.batches == [(2, 3), (4, 4), (1, 4)]


def test_a_batch_too_large_for_the_gpu_is_halved_and_the_run_goes_on() -> None:
    model, read = Remembering(room=1), []
    lock = threading.Lock()

    def noting(sample: int) -> ViewInput:
        with lock:
            read.append(sample)
        return load(sample)

    found = predict(model, noting, VIEWS, batch_size=5)
    assert found[:, 0, 0].tolist() == list(range(7))
    assert model.batches == [(1, 3)] * 2 + [(1, 4)] * 5
    assert sorted(read) == list(range(7))  # none is read again


def test_a_gpu_without_room_for_one_sample_is_told() -> None:
    with pytest.raises(H36MError, match=r"not enough free memory for one sample .CUDA out of memory.*--device cpu"):
        predict(Remembering(room=0), load, VIEWS, batch_size=4)


def test_a_damaged_image_ends_the_run_with_its_own_message() -> None:
    def damaged(sample: int) -> ViewInput:
        raise H36MError(f"frame {sample} is damaged")

    with pytest.raises(H36MError, match="frame 1 is damaged"):
        predict(Remembering(), damaged, VIEWS, batch_size=1)
