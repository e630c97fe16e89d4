"""How a model that sees images is trained, as a value; the published ways are the files in `experiments`.

Iskakov et al. 2019 and Ma et al. 2021; values from the configurations of karfly/learnable-triangulation-pytorch and
ShirleyMaxx/ContextPose-PyTorch-release, each under a plain name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.recipe_files import EXPERIMENTS, RecipeFile, read_recipe_file

POSE_LOSSES = ("absolute", "squared", "smooth")


@dataclass(frozen=True)
class ViewRecipe:
    """Adam, a learning rate for each part of the network, and weighted losses on poses, by default in centimetres.

    `samples_per_epoch` // `batch_size` steps are an epoch, on each process. `pose_loss` is the mean absolute or squared
    error or the squared one bent above `smooth_threshold`. The last three are of the volumetric models only.
    """

    epochs: int
    samples_per_epoch: int
    batch_size: int
    pose_loss: str
    lr_backbone: float
    pose_scale: float = 0.1  # of mm before every loss: centimetres
    lr_process_features: float = 1e-3
    lr_volume_net: float = 1e-3
    milestones: tuple[int, ...] = ()  # finished epochs after which the backbone's rate is multiplied by `decay`
    decay: float = 0.1
    volume_milestones: tuple[int, ...] = ()  # the same for the rates of features and volume
    volume_decay: float = 0.1
    least_views: int = 4  # a batch's number of views is drawn from here ...
    most_views: int = 4  # ... to here, both included
    smooth_threshold: float = 400.0
    clip_norm: float = 0.0  # bound of the total gradient norm; 0: none
    skip_nan: bool = False  # leave a step out whose loss is NaN; otherwise training ends there
    frozen_backbone: bool = False  # its weights and batch statistics stay as they are
    seed: int = 0
    cross_entropy_weight: float = 0.01
    attention_weight: float = 0.0
    random_rotation: bool = True  # of the volume about the vertical


def changed_recipe(recipe: ViewRecipe, changes: Mapping[str, Any]) -> ViewRecipe:
    """The recipe with other values; an H36MError tells an unknown name, or a value of another type or out of range."""
    return _recipe({field.name: getattr(recipe, field.name) for field in fields(ViewRecipe)} | dict(changes))


def published_recipe(model: str) -> ViewRecipe:
    """How a model was trained, as published; an H36MError for one that was not, or not here."""
    if model not in experiments():
        raise H36MError(f"model {model} is not trained here; {', '.join(experiments())} are")
    return _recipe(dict(published_experiment(model).recipe))


def experiments() -> tuple[str, ...]:
    """The names of the published experiments."""
    return tuple(sorted(path.stem for path in EXPERIMENTS.glob("*.toml")))


def published_experiment(name: str) -> RecipeFile:
    """A published experiment: its model, the options of it, and every value of its recipe."""
    return read_recipe_file(Path(name))


def _recipe(values: dict[str, Any]) -> ViewRecipe:
    known = {field.name: field for field in fields(ViewRecipe)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise H36MError(f"a recipe for images has no {', '.join(unknown)}; it has {', '.join(known)}")
    kinds: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
    for name, value in values.items():
        kind = kinds.get(str(known[name].type))
        if kind is None:
            values[name] = tuple(value)
        elif kind is float and type(value) is int:
            values[name] = float(value)
        elif type(value) is not kind:
            raise H36MError(f"recipe: {name} is {value!r}; expected a value of type {kind.__name__}")
    return _checked(ViewRecipe(**values))


def _checked(recipe: ViewRecipe) -> ViewRecipe:
    for name in ("epochs", "samples_per_epoch", "batch_size", "least_views"):
        if getattr(recipe, name) < 1:
            raise H36MError(f"recipe: {name} is {getattr(recipe, name)}; it must be 1 or more")
    for name in (
        "decay",
        "volume_decay",
        "lr_backbone",
        "lr_process_features",
        "lr_volume_net",
        "smooth_threshold",
        "pose_scale",
    ):
        if not 0 < getattr(recipe, name) < float("inf"):
            raise H36MError(f"recipe: {name} is {getattr(recipe, name)}; it must be a positive number")
    if recipe.pose_loss not in POSE_LOSSES:
        raise H36MError(f"recipe: pose_loss is {recipe.pose_loss!r}; there are {', '.join(POSE_LOSSES)}")
    if recipe.most_views < recipe.least_views or recipe.samples_per_epoch < recipe.batch_size:
        raise H36MError(
            f"recipe: {recipe.least_views} to {recipe.most_views} views, {recipe.samples_per_epoch} samples in batches "
            f"of {recipe.batch_size}; the former of each pair must be the smaller, or an epoch has no step"
        )
    return replace(recipe, milestones=tuple(recipe.milestones), volume_milestones=tuple(recipe.volume_milestones))
