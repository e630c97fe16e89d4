"""How the single-frame lifters were trained: the published recipes as values, and their learning-rate schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace

from h36m_toolbox.errors import H36MError


@dataclass(frozen=True)
class Recipe:
    """Adam on the mean squared error, over shuffled batches of single poses.

    The rate is lr * decay ** (step / decay_steps): a staircase that changes at step 1 and at multiples of
    `decay_steps`, or continuous in the number of finished steps. `clip_norm` bounds the total gradient norm, None
    leaves it alone. `root_in_loss` says whether row 0 of (batch, joints, 3) outputs counts. `drop_last` leaves out the
    remainder of an epoch that does not fill a batch. `epsilon_before_correction` adds Adam's epsilon before the bias
    correction, as TensorFlow and PyTorch 1.1 did; today's PyTorch adds it after.
    """

    epochs: int
    lr: float = 1e-3
    decay: float = 0.96
    decay_steps: int = 100_000
    staircase: bool = True
    batch_size: int = 64
    clip_norm: float | None = 1.0
    root_in_loss: bool = True
    drop_last: bool = False
    epsilon_before_correction: bool = False
    seed: int = 0


_MARTINEZ = Recipe(epochs=200, root_in_loss=False)

# (model name, detections) -> recipe, from github.com/garyzhao/SemGCN. Plain SemGCN was not published on
# stacked-hourglass detections ("sh"): it takes the program's default of 100 epochs.
RECIPES = {
    ("semgcn", "gt"): Recipe(epochs=50),
    ("semgcn", "sh"): Recipe(epochs=100),
    ("semgcn-nonlocal", "gt"): Recipe(epochs=30),
    ("semgcn-nonlocal", "sh"): Recipe(epochs=100),
    ("martinez", "gt"): _MARTINEZ,
    ("martinez", "sh"): _MARTINEZ,
}


def recipe_of(model: str, detections: str) -> Recipe:
    """The published recipe of a model; 2D inputs it was not published on take that of stacked-hourglass detections."""
    if (model, "sh") not in RECIPES:
        raise H36MError(f"no recipe for model {model}; there are some for {', '.join(sorted({m for m, _ in RECIPES}))}")
    return RECIPES.get((model, detections), RECIPES[model, "sh"])


# github.com/una-dinosauria/3d-pose-baseline, whose weights are bounded in the forward pass instead of the gradients.
MARTINEZ_TF_RECIPE = replace(_MARTINEZ, staircase=False, clip_norm=None, drop_last=True, epsilon_before_correction=True)


def learning_rate(step: int, recipe: Recipe) -> float:
    """The rate with which step number `step`, counted from 1, is taken."""
    exponent = max(1, step - step % recipe.decay_steps) if recipe.staircase else step - 1
    return recipe.lr * recipe.decay ** (exponent / recipe.decay_steps)
