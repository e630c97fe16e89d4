"""How a single-frame lifter is trained, as a value, and its learning-rate schedule. The models' cards hold theirs."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from h36m_toolbox.errors import H36MError

PRECISIONS = ("fp32", "bf16")


def _told(what: str, default: Any = MISSING, least: int | None = None) -> Any:
    return field(default=default, metadata={"help": what, "least": least})


@dataclass(frozen=True)
class Recipe:
    """Adam on the mean squared error, over shuffled batches of single poses.

    The rate is lr * decay ** (step / decay_steps): a staircase that changes at step 1 and at multiples of
    `decay_steps`, or continuous in the number of finished steps. Each field says what it is in its metadata.
    """

    epochs: int = _told("How often every pose is seen.", least=1)
    lr: float = _told("Adam's learning rate at the start.", 1e-3)
    decay: float = _told("Factor of the learning rate per decay_steps.", 0.96)
    decay_steps: int = _told("Steps from one factor to the next.", 100_000, least=1)
    staircase: bool = _told("Change the rate at multiples of decay_steps only, not at every step.", True)
    batch_size: int = _told("Poses a step.", 64, least=2)
    clip_norm: float | None = _told("Bound of the total gradient norm; 0: none.", 1.0)
    root_in_loss: bool = _told("The root's row of the output counts.", True)
    drop_last: bool = _told("Leave out the remainder of an epoch that does not fill a batch.", False)
    epsilon_before_correction: bool = _told(
        "Adam's epsilon before the bias correction, as in TensorFlow and PyTorch 1.1.", False
    )
    precision: str = _told("fp32, or bf16 for the network's products (mixed precision).", "fp32")
    seed: int = _told("Of the weights, the order of the batches and dropout.", 0)


def field_types() -> dict[str, type]:
    """The type of each field's values, without None: what a command line or a file may give."""
    hints = get_type_hints(Recipe)
    return {
        name: next(kind for kind in get_args(hint) if kind is not type(None))
        if isinstance(hint, types.UnionType)
        else hint
        for name, hint in hints.items()
    }


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with other values; an H36MError tells an unknown name, a value of another type or out of range."""
    known = field_types()
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise H36MError(f"a recipe has no {', '.join(unknown)}; it has {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if known[name] is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not known[name]:
            raise H36MError(f"recipe: {name} is {value!r}; expected a value of type {known[name].__name__}")
        values[name] = value
    if values.get("clip_norm") == 0:
        values["clip_norm"] = None
    return checked(replace(recipe, **values))


def checked(recipe: Recipe) -> Recipe:
    """The recipe, if training can follow it; otherwise an H36MError names the value that is out of range."""
    for each in fields(Recipe):
        least = each.metadata["least"]
        if least is not None and getattr(recipe, each.name) < least:
            raise H36MError(f"recipe: {each.name} is {getattr(recipe, each.name)}; it must be {least} or more")
    if not 0 < recipe.lr < float("inf"):
        raise H36MError(f"the learning rate is {recipe.lr}; it must be a positive number")
    if not 0 < recipe.decay <= 1 or not (recipe.clip_norm is None or recipe.clip_norm > 0):
        raise H36MError(
            f"recipe: decay is {recipe.decay} and clip_norm {recipe.clip_norm}; decay must be above 0 and at most 1, "
            "clip_norm positive, or 0 for none"
        )
    if recipe.precision not in PRECISIONS:
        raise H36MError(f"recipe: precision is {recipe.precision!r}; it must be {' or '.join(PRECISIONS)}")
    return recipe


def learning_rate(step: int, recipe: Recipe) -> float:
    """The rate with which step number `step`, counted from 1, is taken."""
    exponent = max(1, step - step % recipe.decay_steps) if recipe.staircase else step - 1
    return recipe.lr * recipe.decay ** (exponent / recipe.decay_steps)
