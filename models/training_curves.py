"""What a training run leaves beside its checkpoints: train.toml, curves.png, events for TensorBoard if installed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.files import written_whole

if TYPE_CHECKING:
    from h36m_toolbox.models.training import EpochLog

Pictures = Callable[[], Mapping[str, np.ndarray]]  # RGB, uint8 (height, width, 3), by name

CURVES = "curves.png"
TENSORBOARD = "tensorboard"
_SERIES = {
    "train_loss": "training loss",
    "validation_mpjpe_mm": "validation MPJPE (mm)",
    "lr": "learning rate",
    "poses_per_s": "poses/s",
}
_REDRAWN_S = 10.0
_MARGINS = {"left": 0.08, "right": 0.98, "top": 0.95, "bottom": 0.08, "hspace": 0.32, "wspace": 0.18}


def draw_curves(path: Path, epochs: tuple[EpochLog, ...]) -> None:
    """Loss, validation error, learning rate and speed over the epochs, as a PNG."""
    figure = Figure(figsize=(10, 6))
    figure.subplots_adjust(**_MARGINS)  # a layout that is computed takes as long as all else
    numbers = [row.epoch for row in epochs]
    for place, (name, title) in enumerate(_SERIES.items(), start=1):
        axes = figure.add_subplot(2, 2, place)
        axes.plot(numbers, [getattr(row, name) for row in epochs], marker="." if len(epochs) < 30 else "")
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
    with written_whole(path) as temporary, temporary.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)


def tensorboard_events(folder: Path, pictures: Pictures | None = None) -> Callable[[tuple[EpochLog, ...]], None]:
    """Writes each epoch's figures and `pictures` as events into `folder`.

    An H36MError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise H36MError(f"TensorBoard cannot be used ({error}); pip install 'h36m[tensorboard]'") from error

    def write(epochs: tuple[EpochLog, ...]) -> None:
        last = epochs[-1]
        with SummaryWriter(str(folder), purge_step=last.epoch) as writer:  # what a killed run wrote of it goes
            for name, value in asdict(last).items():
                if name not in ("epoch", "step") and not math.isnan(value):
                    writer.add_scalar(name, value, last.epoch)
            for name, picture in (pictures() if pictures else {}).items():
                writer.add_image(name, picture, last.epoch, dataformats="HWC")

    return write


def run_watch(
    folder: Path, asked: str, epochs: int, tensorboard: bool, pictures: Pictures | None = None
) -> Callable[[tuple[EpochLog, ...]], None]:
    """After each of `epochs`: train.toml, which is `asked`, and the events if wanted, in a run's folder; the curves.

    Curves of short epochs are drawn every few seconds, and after the last one.
    """
    events = tensorboard_events(folder / TENSORBOARD, pictures) if tensorboard else None
    drawn = -math.inf

    def watch(done: tuple[EpochLog, ...]) -> None:
        nonlocal drawn
        with written_whole(folder / "train.toml") as path:
            path.write_text(asked, encoding="utf-8")
        if done[-1].epoch >= epochs or time.monotonic() > drawn + _REDRAWN_S:
            draw_curves(folder / CURVES, done)
            drawn = time.monotonic()
        if events:
            events(done)

    return watch
