"""Generated labels, detections and frames on disk, for the part of the GPU script that runs `h36m bench`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from h36m_toolbox.errors import H36MError

_TRAINED, _TESTED = "S1", "S9"
_FRAMES = {False: "64", True: "8"}  # of a film, in a trial fewer
_POSES = {False: "8192", True: "64"}  # of a recording that is not filmed


def filmed_data(folder: Path, tiny: bool, most_s: float) -> Path:
    """A DATA folder with frames; H36MError with the words of the command that failed, or if all take
    more than `most_s`."""
    labels = ["--format", "parquet", "--format", "multiview", "--test-step", "1"]
    return _made(folder, ["--frames", _FRAMES[tiny], "--videos", "--masks"], labels, True, most_s)


def lifted_data(folder: Path, tiny: bool, most_s: float) -> Path:
    """A DATA folder of more poses, without frames; H36MError as `filmed_data`."""
    return _made(
        folder, ["--frames", _POSES[tiny], "--no-videos", "--no-masks"], ["--format", "parquet"], False, most_s
    )


def _made(folder: Path, synth: list[str], labels: list[str], filmed: bool, most_s: float) -> Path:
    raw, data = str(folder / "raw"), folder / "data"
    made = ["--out", str(data)]
    steps = [
        ["synth", raw, "--subjects", f"{_TRAINED},{_TESTED}", "--actions", "Walking", *synth],
        *([["extract", raw, *made]] if filmed else []),
        ["labels", raw, *made, *labels],
        ["detections", raw, *made],
        *([["stats", str(data)]] if filmed else []),
    ]
    until = time.monotonic() + most_s
    for step in steps:
        command = [sys.executable, "-m", "h36m_toolbox", *step]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=max(until - time.monotonic(), 1))
        except subprocess.TimeoutExpired as expired:
            raise H36MError(f"h36m {step[0]}: data took more than {most_s:.0f} s") from expired
        if done.returncode:
            raise H36MError(f"h36m {step[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return data
