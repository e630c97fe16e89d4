"""How Context-Aware PoseFormer is trained, as a value; figures from github.com/QitaoZhao/ContextAware-PoseFormer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.recipes import PRECISIONS


@dataclass(frozen=True)
class PoseFormerRecipe:
    """AdamW on the mean joint error, weight decay on every parameter, the rate times `decay` after every epoch.

    The official program runs until it is stopped and keeps the best epoch. Its batch is a process's; here `batch_size`
    is that of all processes together. `mirrored` shows every second batch or so from the other side.
    """

    epochs: int = 60
    lr: float = 6.4e-4
    weight_decay: float = 0.1
    decay: float = 0.99
    batch_size: int = 512
    mirrored: bool = True
    precision: str = "fp32"
    seed: int = 42

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.lr < math.inf or not 0 < self.decay <= 1:
            raise H36MError(
                f"recipe: epochs {self.epochs}, batch_size {self.batch_size}, lr {self.lr}, decay {self.decay}; epochs "
                "and batch_size must be 1 or more, lr positive, decay above 0 and at most 1"
            )
        if self.weight_decay < 0 or self.precision not in PRECISIONS:
            raise H36MError(
                f"recipe: weight_decay {self.weight_decay}, precision {self.precision!r}; weight_decay must not be "
                f"negative, precision {' or '.join(PRECISIONS)}"
            )


RECIPES: dict[str, PoseFormerRecipe] = {
    "hrnet_32": PoseFormerRecipe(),
    "hrnet_48": PoseFormerRecipe(),
    "cpn": PoseFormerRecipe(batch_size=256),
}


def changed_recipe(backbone: str, changes: Mapping[str, Any]) -> PoseFormerRecipe:
    """A backbone's published recipe with other values; an H36MError tells an unknown name or a wrong type."""
    recipe = RECIPES[backbone]
    known = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise H36MError(f"the recipe of ca-poseformer has no {', '.join(unknown)}; it has {', '.join(known)}")
    values: dict[str, Any] = {
        name: float(value) if known[name] is float and type(value) is int else value for name, value in changes.items()
    }
    for name, value in values.items():
        if type(value) is not known[name]:
            raise H36MError(f"recipe: {name} is {value!r}; expected a value of type {known[name].__name__}")
    return replace(recipe, **values)
