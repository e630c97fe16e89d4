"""The YAML configurations of learnable triangulation and ContextPose, read as training runs of ours.

`experiments/human36m/train/*.yaml` of karfly/learnable-triangulation-pytorch (sections opt, model, dataset) and of
ShirleyMaxx/ContextPose-PyTorch-release (model, loss, dataset, train, val). A value becomes the option or the value of a
recipe that means the same; one that changes no number here (folders, loader processes, drawing) is passed over; any
other must be what our programs do, and is refused by its name if it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.recipe_files import RecipeFile

# Ours are given otherwise (DATA, --labels, --stats, --pelvis, --start), or they decide how fast and what is drawn.
_PASSED_OVER = frozenset(
    [
        "title",
        "vis_freq",
        "vis_n_elements",
        "batch_output",
        "azureroot",
        "opt.val_batch_size",
        "val.batch_size",
        "model.name",  # read first
        "model.backbone.name",
        "model.init_weights",
        "model.backbone.init_weights",
        "model.backbone.checkpoint",
        "dataset.data_format",
        "dataset.root",
        "dataset.extra_root",
        "dataset.train_labels_path",
        "dataset.val_labels_path",
    ]
)
_PASSED_OVER_OF_SPLIT = frozenset(
    ["h36m_root", "labels_path", "pred_results_path", "limb_length_path", "root", "num_workers", "shuffle"]
)
_VIEWS = ("randomize_n_views", "min_n_views", "max_n_views")
_CRITERIA = {"MAE": "absolute", "MSE": "squared", "MSESmooth": "smooth"}
_ALL_VIEWS = 4


@dataclass
class _Found:
    """What has been read so far, and the values of which several make one of ours."""

    options: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


def read_official_config(path: Path) -> RecipeFile:
    """The run that an official YAML file asks for; start weights, label table and pelvis are given as for any run.

    Raises H36MError for a file that is no such YAML, and names what in it means something that is not done here.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise H36MError(f"{path}: cannot be read as YAML ({error})") from error
    values = dict(_leaves(content)) if isinstance(content, dict) else {}
    single = "train.n_epochs" in values
    if "model.name" not in values or not (single or "opt.n_epochs" in values):
        raise H36MError(
            f"{path}: no training configuration of learnable triangulation or ContextPose, which have model.name and "
            "the number of epochs in opt.n_epochs or train.n_epochs"
        )
    try:
        return _run_of(values, single)
    except ValueError as error:
        raise H36MError(f"{path}: {error}") from error


def _leaves(content: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        found += _leaves(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return found


def _run_of(values: dict[str, Any], single: bool) -> RecipeFile:
    model = _model(values, single)
    found = _Found()
    unknown = []
    for name, value in values.items():
        section, _, last = name.rpartition(".")
        of_split = section in ("train", "val", "dataset.train", "dataset.val")
        if name in _PASSED_OVER or (of_split and last in _PASSED_OVER_OF_SPLIT):
            continue
        if of_split and last in _SPLIT_DEMANDS:
            _demand(name, value, _SPLIT_DEMANDS[last])
        elif name in _DEMANDS:
            _demand(name, value, _DEMANDS[name])
        elif name in _MEANINGS:
            _MEANINGS[name](found, value)
        elif of_split and last in _VIEWS:
            found.rest[f"{'val' if section.endswith('val') else 'train'}.{last}"] = value
        elif name in _TOGETHER:
            found.rest[name] = value
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not known here, so the run could be another one; take it out")
    found.recipe |= _views(found.rest) | _weights(found.rest) | _rates(found.rest, model)
    if model == "contextpose":
        found.recipe["skip_nan"] = True
    pelvis = "gt" if found.rest.get("model.use_gt_pelvis", found.rest.get("model.volume_net.use_gt_pelvis")) else ""
    return RecipeFile(model, "", _options(model, found), found.recipe, pelvis)


def _model(values: Mapping[str, Any], single: bool) -> str:
    name = values["model.name"]
    if single and name == "vol":
        return "contextpose"
    models = {"vol": "volumetric", "alg": "algebraic"}
    if name not in models or single:
        raise ValueError(f"model.name is {name!r}; expected {' or '.join(models)}")
    return models[name]


def _options(model: str, found: _Found) -> dict[str, Any]:
    """The options that the model has; the heat maps' values stand in every file and mean something in one model."""
    heatmaps = ("heatmap_softmax", "heatmap_multiplier")
    kept = {name: value for name, value in found.options.items() if model == "algebraic" or name not in heatmaps}
    if model == "contextpose" and (
        not kept.pop("volume_softmax", True) or kept.pop("aggregation", "softmax") != "softmax"
    ):
        raise ValueError("ContextPose has a softmax over its volume and its one view; other values are not done here")
    return kept


def _views(rest: Mapping[str, Any]) -> dict[str, int]:
    """How many views a batch has; the whole number of cameras where nothing is drawn."""
    if not rest.get("train.randomize_n_views"):
        return {"least_views": _ALL_VIEWS, "most_views": _ALL_VIEWS}
    least, most = rest.get("train.min_n_views"), rest.get("train.max_n_views")
    return {"least_views": int(least or 1), "most_views": min(_ALL_VIEWS, int(most or _ALL_VIEWS))}


def _weights(rest: Mapping[str, Any]) -> dict[str, float]:
    """The losses beside that of the pose, each switched on by a value of its own."""
    found = {}
    for ours, theirs in (("cross_entropy_weight", "volumetric_ce"), ("attention_weight", "global_attention")):
        for section in ("opt", "loss"):
            if f"{section}.use_{theirs}_loss" in rest or f"{section}.{theirs}_loss_weight" in rest:
                on = rest.get(f"{section}.use_{theirs}_loss", False)
                found[ours] = float(rest.get(f"{section}.{theirs}_loss_weight", 1.0)) if on else 0.0
    return found


def _rates(rest: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Rates and their steps; learnable triangulation's clipping is divided by its rate, as its program does it."""
    rate = rest.get("opt.lr", rest.get("train.backbone_lr"))
    if not isinstance(rate, int | float) or not rate > 0:
        raise ValueError(f"the learning rate (opt.lr, train.backbone_lr) is {rate!r}; expected a positive number")
    found: dict[str, Any] = {"lr_backbone": float(rate)}
    if rest.get("opt.grad_clip"):
        found["clip_norm"] = float(rest["opt.grad_clip"]) / rate
    if model == "contextpose":
        for ours, theirs in (("", "backbone"), ("volume_", "volume_net")):
            found[f"{ours}milestones"] = tuple(rest.get(f"train.{theirs}_lr_step") or ())
            found[f"{ours}decay"] = float(rest.get(f"train.{theirs}_lr_factor", 1.0))
    return found


def _demand(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; only {' or '.join(map(repr, allowed))} is done here")


def _square(name: str, value: Any) -> int:
    if not isinstance(value, list) or len(value) != 2 or value[0] != value[1] or not isinstance(value[0], int):
        raise ValueError(f"{name} is {value!r}; expected two equal sides, such as [384, 384]")
    return value[0]


def _option(name: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[[_Found, Any], None]:
    def put(found: _Found, value: Any) -> None:
        found.options[name] = convert(value)

    return put


def _value(name: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[[_Found, Any], None]:
    def put(found: _Found, value: Any) -> None:
        found.recipe[name] = convert(value)

    return put


def _criterion(value: Any) -> str:
    if value not in _CRITERIA:
        raise ValueError(f"the criterion is {value!r}; there are {', '.join(_CRITERIA)}")
    return _CRITERIA[value]


_MEANINGS: Mapping[str, Callable[[_Found, Any], None]] = {
    "image_shape": _option("image_px", lambda value: _square("image_shape", value)),
    "model.image_shape": _option("image_px", lambda value: _square("model.image_shape", value)),
    "model.backbone.num_layers": _option("layers"),
    "model.backbone.fix_weights": _value("frozen_backbone", bool),
    "model.use_confidences": _option("confidences"),
    "model.heatmap_softmax": _option("heatmap_softmax"),
    "model.heatmap_multiplier": _option("heatmap_multiplier", float),
    **{
        f"{section}.{theirs}": meaning
        for section in ("model", "model.volume_net")
        for theirs, meaning in {
            "volume_aggregation_method": _option("aggregation"),
            "cuboid_side": _option("cuboid_mm", float),
            "cuboid_size": _option("cuboid_mm", float),
            "volume_size": _option("voxels"),
            "volume_multiplier": _option("volume_multiplier", float),
            "volume_softmax": _option("volume_softmax"),
            "use_feature_v2v": _option("heatmap_volumes", lambda value: not value),
            "temperature": _option("temperature", float),
        }.items()
    },
    **{
        f"{section}.{theirs}": meaning
        for section in ("opt", "loss", "train")
        for theirs, meaning in {
            "criterion": _value("pose_loss", _criterion),
            "mse_smooth_threshold": _value("smooth_threshold", float),
            "scale_keypoints_3d": _value("pose_scale", float),
            "n_objects_per_epoch": _value("samples_per_epoch"),
            "n_epochs": _value("epochs"),
            "batch_size": _value("batch_size"),
            "process_features_lr": _value("lr_process_features", float),
            "volume_net_lr": _value("lr_volume_net", float),
        }.items()
    },
}
_TOGETHER = frozenset(
    [
        "opt.lr",
        "opt.grad_clip",
        "train.backbone_lr",
        "train.backbone_lr_step",
        "train.backbone_lr_factor",
        "train.volume_net_lr_step",
        "train.volume_net_lr_factor",
        "opt.use_volumetric_ce_loss",
        "opt.volumetric_ce_loss_weight",
        "loss.use_volumetric_ce_loss",
        "loss.volumetric_ce_loss_weight",
        "loss.use_global_attention_loss",
        "loss.global_attention_loss_weight",
        "model.use_gt_pelvis",
        "model.volume_net.use_gt_pelvis",
    ]
)
_DEMANDS: Mapping[str, tuple[Any, ...]] = {
    "kind": ("human36m",),
    "dataset.kind": ("human36m",),
    "model.kind": ("mpii",),
    "model.checkpoint": ("", None),
    "model.heatmap_shape": ([96, 96],),
    "model.transfer_cmu_to_human36m": (False,),
    "model.backbone.style": ("simple",),
    "model.backbone.num_joints": (17,),
    "model.backbone.num_final_layer_channel": (17,),
    "train.optimizer": ("Adam",),
}
_SPLIT_DEMANDS: Mapping[str, tuple[Any, ...]] = {
    "with_damaged_actions": (True,),
    "undistort_images": (True,),
    "scale_bbox": (1.0,),
    "retain_every_n_frames_in_train": (1,),
    "retain_every_n_frames_in_test": (1,),
}
