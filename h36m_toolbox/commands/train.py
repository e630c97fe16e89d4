"""`h36m train`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from h36m_toolbox.commands.options import run_options


@click.command("train")
@click.option("--model", required=True, help="One of `h36m models`.")
@run_options
@click.option("--run", "name", help="Folder in RUNS; an unfinished run of that name goes on.  [default: by model]")
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(2), help="Instead of the recipe's.")
@click.option("--lr", type=float, help="Instead of the recipe's.")
@click.option("--seed", type=int, help="Of the weights, the order of the batches and dropout.")
@click.option(
    "--validate/--no-validate",
    default=True,
    show_default=True,
    help="Choose the epoch on the test subjects, which is the papers' habit, or keep the last one.",
)
def command(
    model: str, data: Path, detections: str, device: str, runs: Path, name: str | None, validate: bool, **changes: Any
) -> None:
    """Train by the paper's recipe: RUNS/<run>/checkpoint_{last,best}.pt, log.csv. Resumes what was interrupted."""
    from h36m_toolbox.benchmarks.training_runs import TrainRequest, train_model

    given = {option: value for option, value in changes.items() if value is not None}
    request = TrainRequest(model, data, detections, device, validate, changes=given)
    folder = runs / (name or f"train-{model}-{detections}")
    with _epochs(request.recipe.epochs) as step:
        result = train_model(request, folder, step)
    for name, epoch in result.notable_epochs.items():
        error = epoch.validation_mpjpe_mm
        validated = "" if math.isnan(error) else f", validation {error:.2f} mm"
        click.echo(f"{name}: epoch {epoch.epoch}, loss {epoch.train_loss:.6f}{validated}")
    for path in (result.last, result.best, folder / "log.csv"):
        if path:
            click.echo(f"wrote {path}")


@contextmanager
def _epochs(epochs: int) -> Iterator[Callable[[int, int, int], None]]:
    from tqdm import tqdm

    with tqdm(total=epochs, desc="train", unit="epoch", disable=None, file=sys.stderr) as bar:

        def step(epoch: int, finished: int, steps: int) -> None:
            bar.n = round(epoch - 1 + finished / steps, 3)
            bar.refresh(nolock=True) if finished == steps else bar.update(0)

        yield step
