"""Context-Aware PoseFormer as a whole: official outputs for the same weights, and its frozen backbone."""

from pathlib import Path

import pytest
import torch
from poseformer_goldens import Golden, entries_of, golden

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import ca_poseformer, load_weights
from h36m_toolbox.models.ca_poseformer import BACKBONES, CAPoseFormer, PoseFormerConfig, crop_places, load_backbone
from h36m_toolbox.models.crop_models import FromCrops
from h36m_toolbox.models.hrnet import HRNet, PoseHRNet
from h36m_toolbox.models.pose_transformer import PoseTransformer, TransformerConfig
from h36m_toolbox.models.registry import model_card
from h36m_toolbox.skeletons import MPI_INF_3DHP_17

PARAMETERS = {"hrnet_32": 14_094_147, "hrnet_48": 14_155_587, "cpn": 14_233_411}


def run(case: Golden, model: CAPoseFormer, dtype: torch.dtype) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    maps: list[tuple[torch.Tensor, ...]] = []
    with torch.inference_mode():
        hook = model.backbone.register_forward_hook(lambda _, __, out: maps.append(out))
        found = model.to(dtype)(
            case.given("images", dtype).permute(0, 3, 1, 2),
            case.given("keypoints_2d", dtype),
            case.given("keypoints_2d_crop", dtype),
        )
        hook.remove()
    return found, maps[0]


@pytest.mark.parametrize("variant", ["plain", "tamed"])
def test_the_h36m_network_on_hrnet_32(variant: str) -> None:
    case = golden("capf_hrnet32")
    model = case.filled(CAPoseFormer(), tamed=variant == "tamed")
    found, maps = run(case, model, torch.float32)
    case.assert_matches(
        f"{variant}.keypoints_3d", found[:, None], case.facts["tolerance"]["keypoints_3d"][variant]["atol"]
    )
    for level, each in enumerate(maps):
        case.assert_matches(f"{variant}.features{level}", each, of_largest=2e-5)
    sharper, _ = run(case, model, torch.float64)
    case.assert_matches(f"{variant}.keypoints_3d_float64", sharper[:, None], 1e-8)


@pytest.mark.parametrize("variant", ["plain", "tamed"])
def test_the_3dhp_network_on_hrnet_32(variant: str) -> None:
    case = golden("capf_3dhp_hrnet32")
    model = case.filled(CAPoseFormer(PoseFormerConfig(variant="3dhp")), tamed=variant == "tamed")
    atol = case.facts["tolerance"]["keypoints_3d"][variant]["atol"]

    def official(poses: torch.Tensor) -> torch.Tensor:
        return poses.transpose(1, 2)[:, :, None, :, None]  # channel, frame, joint, person

    found, _ = run(case, model, torch.float32)
    case.assert_matches(f"{variant}.keypoints_3d", official(found), atol)
    sharper, _ = run(case, model, torch.float64)
    case.assert_matches(f"{variant}.keypoints_3d_float64", official(sharper), 1e-8)


def test_the_3dhp_backbone_follows_the_batches_while_it_trains() -> None:
    case = golden("capf_3dhp_hrnet32")
    model = case.filled(CAPoseFormer(PoseFormerConfig(variant="3dhp")), tamed=True).train()
    with torch.no_grad():
        maps = model.backbone(case.given("images").permute(0, 3, 1, 2))
    for level, each in enumerate(maps):
        case.assert_matches(f"tamed.train_mode_features{level}", each, of_largest=2e-5)
    state = model.state_dict()
    for name in ("bn1.running_mean", "bn1.running_var", "layer1.0.bn1.running_mean", "bn1.num_batches_tracked"):
        case.assert_matches(f"tamed.after_train_forward.backbone.{name}", state[f"backbone.{name}"], of_largest=1e-4)


def test_the_h36m_backbone_is_frozen_and_stays_in_eval_mode() -> None:
    with torch.device("meta"):
        model = CAPoseFormer().train()
    assert not any(module.training for module in model.backbone.modules())
    assert all(module.training for module in model.volume_net.modules())
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())


def test_crop_pixels_become_places_and_the_given_ones_stay() -> None:
    case = golden("capf_hrnet32")
    pixels = case.given("keypoints_2d_crop")
    before = pixels.clone()
    case.assert_matches("ref", crop_places(pixels), 1e-6)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_parameters_are_as_many_as_published(backbone: str) -> None:
    with torch.device("meta"):
        model = CAPoseFormer(PoseFormerConfig(backbone=backbone))
    assert sum(each.numel() for each in model.volume_net.parameters()) == PARAMETERS[backbone]
    assert len(entries_of(model)) == (773 if backbone == "cpn" else 1943)


def test_unknown_backbones_and_variants_are_refused() -> None:
    with pytest.raises(H36MError, match="there are hrnet_32, hrnet_48, cpn"):
        CAPoseFormer(PoseFormerConfig(backbone="resnet"))  # type: ignore[arg-type]
    with pytest.raises(H36MError, match="variant 3dhp has backbone hrnet_32 or hrnet_48, not cpn"):
        CAPoseFormer(PoseFormerConfig(backbone="cpn", variant="3dhp"))
    with pytest.raises(H36MError, match="there are h36m, 3dhp"):
        CAPoseFormer(PoseFormerConfig(variant="coco"))  # type: ignore[arg-type]


def narrow_model() -> CAPoseFormer:
    """The names of the real network around a narrow backbone."""
    model = CAPoseFormer()
    model.backbone = HRNet(2)
    model.volume_net = PoseTransformer(TransformerConfig(model.backbone.widths, width=32))
    return model


def test_official_files_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ca_poseformer, "backbone", lambda _: HRNet(2))  # the real one takes seconds to draw
    coco = PoseHRNet(2)
    torch.save(coco.state_dict(), tmp_path / "pose_hrnet_w32_256x192.pth")
    model = narrow_model()
    load_backbone(model, tmp_path / "pose_hrnet_w32_256x192.pth")
    published = coco.state_dict()
    assert all(torch.equal(values, published[name]) for name, values in model.backbone.state_dict().items())
    saved = {f"module.{name}": values for name, values in model.state_dict().items()}
    content = {"epoch": 12, "lr": 5.7e-4, "model": saved, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, tmp_path / "best_epoch_hrnet_32.bin")
    again = narrow_model()
    assert load_weights(again, tmp_path / "best_epoch_hrnet_32.bin").values["epoch"] == 12
    assert torch.equal(
        again.state_dict()["backbone.stage4.2.fuse_layers.0.3.1.weight"],
        saved["module.backbone.stage4.2.fuse_layers.0.3.1.weight"],
    )
    with pytest.raises(H36MError, match="the weights do not fit PoseHRNet"):
        load_backbone(model, tmp_path / "best_epoch_hrnet_32.bin")


def test_the_card_tells_the_network_and_refuses_what_it_has_not() -> None:
    card = model_card("ca-poseformer")
    with torch.device("meta"):
        assert sum(each.numel() for each in card.build().parameters()) == card.parameters
        assert card.build(backbone="cpn", flip_test=False).config.backbone == "cpn"
        assert card.build(variant="3dhp", backbone="hrnet_48").volume_net.head[0].weight.shape == (480,)
        with pytest.raises(H36MError, match="model ca-poseformer has no option layers"):
            card.build(layers=50)
    assert card.contract(flip_test=False).flip_test is False
    with pytest.raises(H36MError, match="option flip_test is 'maybe'; it is true or false"):
        card.contract(flip_test="maybe")
    of_3dhp = card.contract(variant="3dhp")
    assert isinstance(of_3dhp, FromCrops)
    assert (of_3dhp.input_joints, of_3dhp.stored_crops, of_3dhp.mm_per_unit) == (MPI_INF_3DHP_17, True, 1)
    with pytest.raises(H36MError, match=r"is of mpi-inf-3dhp, not of human3\.6m"):
        of_3dhp.check_dataset("human3.6m")
    with pytest.raises(H36MError, match="no variant 4dhp"):
        card.contract(variant="4dhp")
