"""Generated frames, labels and detections on disk, for the part of the GPU script that reads as `h36m bench` does."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import click

from h36m_toolbox.benchmarks.speed.gpu_models import FAILURES
from h36m_toolbox.cli import main

_SUBJECTS = "S1,S9"


def generated_data(folder: Path, tiny: bool) -> tuple[Path | None, str]:
    """A DATA folder, and "" ; or None, and what went wrong while it was made."""
    raw, data = folder / "raw", folder / "data"
    frames = "2" if tiny else "64"
    jobs = ["--jobs", "1"] if tiny else []  # starting processes takes longer than a few frames
    made = ["--out", str(data)]
    filmed = ["--subjects", _SUBJECTS, "--actions", "Walking", "--frames", frames, "--videos", "--masks"]
    steps = (
        ["synth", str(raw), *filmed, *jobs],
        ["extract", str(raw), *made, *jobs],
        ["labels", str(raw), *made, "--format", "parquet", "--format", "multiview", "--test-step", "1", *jobs],
        ["detections", str(raw), *made],
        ["stats", str(data)],
    )
    for step in steps:
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                main(step, standalone_mode=False)
        except (click.ClickException, *FAILURES) as error:  # models are measured without data too
            return None, f"h36m {step[0]}: {error}"
    return data, ""
