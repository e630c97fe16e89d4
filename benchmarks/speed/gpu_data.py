"""Generated frames, labels and detections on disk, for the part of the GPU script that reads as `h36m bench` does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SUBJECTS = "S1,S9"


def generated_data(folder: Path, tiny: bool) -> tuple[Path | None, str]:
    """A DATA folder, and "" ; or None, and what went wrong while it was made."""
    raw, data = folder / "raw", folder / "data"
    frames = "8" if tiny else "64"
    made = ["--out", str(data)]
    steps = (
        ["synth", str(raw), "--subjects", _SUBJECTS, "--actions", "Walking", "--frames", frames, "--videos", "--masks"],
        ["extract", str(raw), *made],
        ["labels", str(raw), *made, "--format", "parquet", "--format", "multiview", "--test-step", "1"],
        ["detections", str(raw), *made],
        ["stats", str(data)],
    )
    for step in steps:
        done = subprocess.run([sys.executable, "-m", "h36m_toolbox", *step], capture_output=True, text=True)
        if done.returncode:
            return None, f"h36m {step[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}"
    return data, ""
