"""`h36m train`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import FILE, THERE, Words, data_options, model_options
from h36m_toolbox.models.recipes import Recipe, field_types


def _recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for every value of a recipe."""
    for name, kind in reversed(field_types().items()):
        option = name.replace("_", "-")
        told = Recipe.__dataclass_fields__[name].metadata
        flag = f"--{option}/--no-{option}" if kind is bool else f"--{option}"
        allowed = kind if told["least"] is None else click.IntRange(told["least"])
        text = f"{told['help']}  [default: the recipe's]"
        command = click.option(flag, name, type=allowed, default=None, help=text)(command)
    return command


@click.command("train")
@click.option("--model", help="One of `h36m models`.")
@data_options
@click.option(
    "--config",
    type=FILE,
    help="A TOML file with model, detections, pelvis, [options] and [recipe], the name of one of ours, or an official "
    "YAML configuration of learnable triangulation or ContextPose.",
)
@click.option("--name", help="Folder in RUNS; an unfinished run of that name goes on.  [default: by model]")
@click.option(
    "--validate-on",
    default="test",
    show_default=True,
    help="Choose the epoch on the test subjects, which is the papers' habit, or on a training subject that is then "
    "not trained on, such as S8; none: keep the last epoch.",
)
@click.option("--train-subjects", type=Words(), help="Learn from these only.")
@click.option("--test-subjects", type=Words(), help="Validate on these, with --validate-on test.")
@click.option("--actions", type=Words(), help="Only these actions.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Each n-th frame of a sequence.")
@click.option("--cache-features", is_flag=True, help="Of ca-poseformer: keep the backbone's maps in DATA/features.")
@click.option("--tensorboard", is_flag=True, help="Also write events for TensorBoard.")
@click.option("--mpii", type=THERE, help="MPII's folder, for integral: annot/train.json and images/.")
@click.option("--coco", type=THERE, help="COCO's folder, for integral: annotations/ and images/train2017/.")
@click.option("--challenge", type=THERE, help="CHALL_H80K's folder: learn from its Train in place of Human3.6M.")
@click.option("--keypoints", type=FILE, help="2D joints of the challenge's Train (pickle).")
@click.option("--val-keypoints", type=FILE, help="2D joints of its Val, on which the epoch is then chosen.")
@click.option("--start", type=FILE, help="Backbone weights that a model of images starts from.")
@click.option("--pelvis", type=click.Choice(["gt"]), help="The true pelvis instead of DATA/pelvis.")
@click.option("--stats", "statistics", type=FILE, help="Limb lengths (h5), if not those in DATA/stats.")
@click.option("--labels", type=FILE, help="Multi-view label table, if not DATA/labels/multiview/...")
@model_options
@_recipe_options
def command(
    model: str | None,
    detections: str | None,
    config: Path | None,
    runs: Path,
    name: str | None,
    options: dict[str, Any],
    train_subjects: tuple[str, ...] | None,
    test_subjects: tuple[str, ...] | None,
    actions: tuple[str, ...] | None,
    cache_features: bool,
    pelvis: str | None,
    statistics: Path | None,
    labels: Path | None,
    **request: Any,
) -> None:
    """Train by the paper's recipe: RUNS/<run>/checkpoint_{last,best}.pt, log.csv. Resumes what was interrupted.

    On several GPUs, processes or machines: torchrun --nproc-per-node=N -m h36m_toolbox train ...
    """
    from h36m_toolbox.benchmarks.runs.training import TrainRequest, train_model
    from h36m_toolbox.benchmarks.runs.volumetric_files import ViewFiles
    from h36m_toolbox.models.processes import joined
    from h36m_toolbox.models.recipe_files import RecipeFile, read_recipe_file

    file = read_recipe_file(config) if config else RecipeFile("", "", {}, {})
    if cache_features:
        options["cache_features"] = True
    if request["challenge"]:
        options = {"depth_in": "image", **options}
    changes = {option: request.pop(option) for option in field_types()}
    chosen = {"train_subjects": train_subjects, "test_subjects": test_subjects, "actions": actions}
    request |= {option: value for option, value in chosen.items() if value}
    asked = TrainRequest(
        model=_one(model, file.model),
        detections=detections or file.detections,
        options={**file.options, **options},
        files=ViewFiles(pelvis or file.pelvis or None, statistics, labels),
        changes={**file.recipe, **{option: value for option, value in changes.items() if value is not None}},
        **request,
    )
    folder = runs / (name or asked.name)
    with joined(os.environ) as processes, _epochs(asked.epochs, processes.is_first) as step:
        result = train_model(asked, folder, step, processes)
    if not processes.is_first:
        return
    for which, epoch in result.notable_epochs.items():
        error = epoch.validation_mpjpe_mm
        validated = "" if math.isnan(error) else f", validation {error:.2f} mm"
        click.echo(f"{which}: epoch {epoch.epoch}, loss {epoch.train_loss:.6f}{validated}")
    for path in (result.last, result.best, folder / "log.csv"):
        if path:
            click.echo(f"wrote {path}")


def _one(given: str | None, in_file: str) -> str:
    if not given and not in_file:
        raise click.UsageError("give --model NAME (see `h36m models`), or --config FILE")
    return given or in_file


@contextmanager
def _epochs(epochs: int, shown: bool) -> Iterator[Callable[[int, int, int], None]]:
    from tqdm import tqdm

    with tqdm(total=epochs, desc="train", unit="epoch", disable=None if shown else True, file=sys.stderr) as bar:

        def step(epoch: int, finished: int, steps: int) -> None:
            bar.n = round(epoch - 1 + finished / steps, 3)
            bar.refresh(nolock=True) if finished == steps else bar.update(0)

        yield step
