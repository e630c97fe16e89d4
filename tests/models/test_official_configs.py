"""Official YAML configurations: the published ones are our experiments, and what means another run is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.official_configs import read_official_config
from h36m_toolbox.models.recipe_files import read_recipe_file
from h36m_toolbox.models.registry import checked_options
from h36m_toolbox.models.view_recipes import changed_recipe, published_experiment, published_recipe

BACKBONE = {
    "name": "resnet152",
    "style": "simple",
    "num_joints": 17,
    "num_layers": 152,
    "init_weights": True,
    "checkpoint": "./data/pretrained/human36m/pose_resnet_4.5_pixels_human36m.pth",
}
SPLIT = {
    "with_damaged_actions": True,
    "undistort_images": True,
    "scale_bbox": 1.0,
    "num_workers": 8,
    "labels_path": "./data/human36m/extra/human36m-multiview-labels-GTbboxes.npy",
    "randomize_n_views": False,
    "min_n_views": None,
    "max_n_views": None,
}
VOLUME = {"volume_aggregation_method": "softmax", "volume_size": 64, "volume_multiplier": 1.0, "volume_softmax": True}


def triangulation(kind: str) -> dict[str, Any]:
    """A configuration in the layout of learnable triangulation."""
    content: dict[str, Any] = {"title": kind, "kind": "human36m", "vis_freq": 1000, "vis_n_elements": 10}
    content["image_shape"] = [384, 384]
    content["opt"] = {"n_epochs": 9999, "scale_keypoints_3d": 0.1, "val_batch_size": 16}
    heatmaps = {"heatmap_softmax": True, "heatmap_multiplier": 100.0}
    if kind == "volumetric":
        losses = {"criterion": "MAE", "use_volumetric_ce_loss": True, "volumetric_ce_loss_weight": 0.01}
        rates = {"lr": 1e-4, "process_features_lr": 1e-3, "volume_net_lr": 1e-3}
        content["opt"] |= {**losses, **rates, "batch_size": 5, "n_objects_per_epoch": 15000}
        content["model"] = {"name": "vol", "kind": "mpii", "use_gt_pelvis": False, "cuboid_side": 2500.0, **VOLUME}
    else:
        samples = 15000 if kind == "algebraic" else 10000
        content["opt"] |= {"criterion": "MSESmooth", "mse_smooth_threshold": 400, "lr": 1e-5, "batch_size": 8}
        content["opt"]["n_objects_per_epoch"] = samples
        content["model"] = {"name": "alg", "use_confidences": kind == "algebraic"}
    content["model"] |= {**heatmaps, "init_weights": False, "checkpoint": "", "backbone": dict(BACKBONE)}
    train = {"h36m_root": "./data/human36m/processed/", **SPLIT, "shuffle": True}
    val = {"h36m_root": "./data/human36m/processed/", **SPLIT, "shuffle": False, "retain_every_n_frames_in_test": 1}
    content["dataset"] = {"kind": "human36m", "train": train, "val": val}
    return content


def contextpose() -> dict[str, Any]:
    """A configuration in the layout of ContextPose."""
    views = {"randomize_n_views": True, "min_n_views": 1, "max_n_views": 1}
    split = {name: value for name, value in SPLIT.items() if name != "labels_path"} | views
    split |= {"limb_length_path": "mean_and_std_limb_length.h5", "pred_results_path": "train.pkl"}
    rates = {"backbone_lr": 1e-4, "backbone_lr_step": [1000], "backbone_lr_factor": 0.1, "process_features_lr": 1e-3}
    rates |= {"volume_net_lr": 1e-3, "volume_net_lr_step": [1000], "volume_net_lr_factor": 0.5}
    volume = {**VOLUME, "use_gt_pelvis": False, "cuboid_size": 2500.0, "use_feature_v2v": True, "temperature": 1500}
    model = {"name": "vol", "kind": "mpii", "image_shape": [384, 384], "heatmap_shape": [96, 96]}
    model |= {"heatmap_softmax": True, "heatmap_multiplier": 100.0, "init_weights": True, "checkpoint": ""}
    loss = {"criterion": "MAE", "scale_keypoints_3d": 0.1, "use_volumetric_ce_loss": True}
    loss |= {"volumetric_ce_loss_weight": 0.01, "use_global_attention_loss": True}
    return {
        "title": "single",
        "kind": "human36m",
        "azureroot": "",
        "batch_output": True,
        "model": {**model, "backbone": {**BACKBONE, "fix_weights": False}, "volume_net": volume},
        "loss": {**loss, "global_attention_loss_weight": 1000000},
        "dataset": {"kind": "human36m", "data_format": "", "root": "processed", "extra_root": "extra"},
        "train": {
            "n_objects_per_epoch": 15000,
            "n_epochs": 9999,
            "batch_size": 4,
            "optimizer": "Adam",
            **rates,
            **split,
        },
        "val": {"batch_size": 8, **split, "shuffle": False, "retain_every_n_frames_in_test": 1},
    }


def written(folder: Path, content: Any) -> Path:
    path = folder / "official.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.parametrize("name", ["contextpose", "volumetric", "algebraic", "algebraic-without-confidences"])
def test_the_published_configurations_are_our_experiments(name: str, tmp_path: Path) -> None:
    official = read_recipe_file(written(tmp_path, contextpose() if name == "contextpose" else triangulation(name)))
    ours = published_experiment(name)
    assert official.model == ours.model
    assert {**ours.options, **official.options} == ours.options
    recipe = published_recipe(ours.model)
    assert changed_recipe(recipe, official.recipe) == changed_recipe(recipe, ours.recipe)
    assert official.pelvis == ""


def test_values_of_one_s_own_arrive_where_they_mean_the_same(tmp_path: Path) -> None:
    content = triangulation("volumetric")
    content["opt"] |= {"criterion": "MSE", "grad_clip": 2, "use_volumetric_ce_loss": False, "batch_size": 3}
    content["model"] |= {"use_gt_pelvis": True, "volume_aggregation_method": "conf_norm", "volume_size": 32}
    content["image_shape"] = [256, 256]
    content["dataset"]["train"] |= {"randomize_n_views": True, "min_n_views": 2, "max_n_views": 31}
    file = read_official_config(written(tmp_path, content))
    assert file.pelvis == "gt"
    assert file.options["aggregation"] == "conf_norm"
    assert (file.options["voxels"], file.options["image_px"]) == (32, 256)
    recipe = changed_recipe(published_recipe("volumetric"), file.recipe)
    assert (recipe.pose_loss, recipe.cross_entropy_weight, recipe.batch_size) == ("squared", 0.0, 3)
    assert (recipe.least_views, recipe.most_views) == (2, 4)
    assert recipe.clip_norm == pytest.approx(2 / 1e-4)  # the official program divides by its rate


REFUSED = {
    "an unknown value": (("opt", "loss_2d"), True, r"opt\.loss_2d: not known here"),
    "another data set": (("dataset", "kind"), "cmupanoptic", r"dataset\.kind is 'cmupanoptic'; only 'human36m'"),
    "boxes of another size": (("dataset", "train", "scale_bbox"), 1.2, r"dataset\.train\.scale_bbox is 1\.2"),
    "a start of the whole model": (("model", "checkpoint"), "w.pth", r"model\.checkpoint is 'w\.pth'"),
    "another network": (("model", "name"), "ransac", r"model\.name is 'ransac'; expected vol or alg"),
    "no rate": (("opt", "lr"), None, r"the learning rate .* is None"),
    "an oblong image": (("image_shape",), [384, 288], r"expected two equal sides"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_means_another_run_is_refused_by_its_name(why: str, tmp_path: Path) -> None:
    (*sections, last), value, words = REFUSED[why]
    content = triangulation("volumetric")
    place = content
    for section in sections:
        place = place[section]
    place[last] = value
    with pytest.raises(H36MError, match=words):
        read_official_config(written(tmp_path, content))


@pytest.mark.parametrize(
    "text", ["- 1\n- 2\n", "a: [1", "model: {name: vol}\n", "!!python/object/apply:os.getcwd []\n"]
)
def test_a_file_that_is_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(H36MError, match=r"wrong\.yaml: (cannot be read as YAML|no training configuration)"):
        read_recipe_file(path)


def test_the_options_are_those_of_the_model(tmp_path: Path) -> None:
    from h36m_toolbox.models.contextpose import ContextPoseConfig

    file = read_official_config(written(tmp_path, contextpose()))
    assert checked_options("contextpose", file.options, ContextPoseConfig, "layers", "image_px")
