"""How integral and direct regression are trained, as values; figures from github.com/JimmySuen/integral-human-pose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models.integral_losses import LOSSES
from h36m_toolbox.models.recipes import PRECISIONS


@dataclass(frozen=True)
class IntegralRecipe:
    """Adam without weight decay, the rate times 0.1 from each of the epochs `drops` on, counted from 1.

    `batch_size` is that of all processes together, officially of 4 GPUs; whole batches only. `frozen_samples` shows
    every epoch the same samples of all data sets but the first, as the official loader does.
    """

    epochs: int = 300
    lr: float = 1e-3
    drops: tuple[int, ...] = (270, 290)
    batch_size: int = 128
    loss: str = "L1"
    frozen_samples: bool = False
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not 0 < self.lr < math.inf:
            raise H36MError(
                f"recipe: epochs {self.epochs}, batch_size {self.batch_size}, lr {self.lr}; epochs must be 1 or more, "
                "batch_size 2 or more, lr positive"
            )
        if self.loss not in LOSSES or self.precision not in PRECISIONS:
            raise H36MError(
                f"recipe: loss {self.loss!r}, precision {self.precision!r}; there are {', '.join(LOSSES)} and "
                f"{', '.join(PRECISIONS)}"
            )

    def learning_rate(self, epoch: int) -> float:
        """The rate of an epoch, counted from 1; epoch 270 itself is already trained at the reduced one."""
        return self.lr * 0.1 ** sum(epoch >= drop for drop in self.drops)


# By what the program calls its data: m MPII, c COCO, h Human3.6M or the challenge's part of it.
RECIPES: Mapping[str, IntegralRecipe] = {
    "integral d-mh": IntegralRecipe(),
    "integral-direct d-mh": IntegralRecipe(epochs=140, drops=(90, 120)),
    "challenge d-mh": IntegralRecipe(batch_size=96),
    "challenge d-mch": IntegralRecipe(batch_size=48, lr=1e-4),
}


def recipe_name(model: str, challenge: bool, coco: bool) -> str:
    """Which of RECIPES a model follows on Human3.6M, or on the challenge's part of it with or without COCO."""
    return ("challenge d-mch" if coco else "challenge d-mh") if challenge else f"{model} d-mh"


def changed_recipe(model: str, changes: Mapping[str, Any], name: str = "") -> IntegralRecipe:
    """RECIPES[name] with other values; an H36MError tells an unknown name or type. "": on Human3.6M and MPII."""
    recipe = RECIPES[name or recipe_name(model, False, False)]
    known = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise H36MError(f"the recipe of {model} has no {', '.join(unknown)}; it has {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, value in changes.items():
        kind = known[name]
        fitting = float(value) if kind is float and type(value) is int else value
        fitting = tuple(value) if kind is tuple and isinstance(value, list) else fitting
        if type(fitting) is not kind:
            raise H36MError(f"recipe: {name} is {value!r}; expected a value of type {kind.__name__}")
        values[name] = fitting
    return replace(recipe, **values)
