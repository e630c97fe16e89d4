"""CPU seconds of undistorted frames: `h36m extract --undistort` against the official scripts' order of operations.

    python benchmarks/speed/undistorted_frames.py [--films DIR] [--runs N]

The opponent, in our own words: every frame is extracted with `ffmpeg` (not counted), then image by image read, remapped
with a map built once a camera, and written, by OpenCV on one thread. Ours goes from the video to the undistorted files
in one pass, so it also pays for the decoding. Evidence goes to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FILMS, FilmPlan, film_path, make_films
from h36m_toolbox.benchmarks.speed.processes import cost, h36m
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.frames.undistortion import undistort_map

_OFFICIAL_S_PER_1000 = 18.0  # of the official script itself, on another machine


def official_order(frames: Path, out: Path, subject: str, camera: str) -> float:
    """CPU seconds of reading, remapping and writing the images of a folder one by one."""
    cv2.setNumThreads(1)
    out.mkdir(parents=True)
    maps = undistort_map(h36m_camera(subject, camera))
    start = time.process_time()
    for path in sorted(frames.iterdir()):
        straight = cv2.remap(np.asarray(cv2.imread(str(path))), maps.whole, maps.fraction, cv2.INTER_CUBIC)
        cv2.imwrite(str(out / path.name), straight)
    return time.process_time() - start


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, default=FILMS)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("the ffmpeg command is not here; install it to compare (apt-get install ffmpeg)")
        sys.exit(0)
    plan = FilmPlan(videos=4)
    raw = arguments.films / "few"
    about = make_films(raw, plan)
    ours, theirs = [], []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(cost(h36m("extract", raw, "--out", Path(folder, "h36m"), "--undistort", "--jobs", "1")).cpu_s)
            spent = 0.0
            for view in plan.views:
                frames = Path(folder, "frames", view.folder)
                frames.mkdir(parents=True)
                command = ["ffmpeg", "-i", str(film_path(raw, view)), "-qscale:v", "3", str(frames / "%06d.jpg")]
                subprocess.run(command, check=True, capture_output=True)
                spent += official_order(frames, Path(folder, "theirs", view.folder), view.subject, view.camera)
            theirs.append(round(spent, 3))
    frames_each = int(about["frames"])
    ratio = round(statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True)), 3)
    per_1000 = {name: round(1000 * min(spent) / frames_each, 2) for name, spent in (("h36m", ours), ("order", theirs))}
    evidence = {
        "claim": "CPU seconds of undistorted frames, video to file, over read-remap-write image by image",
        "ratio_median": ratio,
        "cpu_s_per_1000": per_1000,
        "official_s_per_1000_elsewhere": _OFFICIAL_S_PER_1000,
        "cpu_seconds": {"h36m": ours, "order": theirs},
        "films": about,
    }
    keep_evidence("undistorted_frames", evidence, ("av", "simplejpeg", "opencv-python-headless"))
    print(f"undistorted: {ratio} of the official order's CPU time in this run, {per_1000} CPU s per 1000 frames")
    print(f"goal: 5.4 CPU s per 1000 frames, 0.3 of the official script's {_OFFICIAL_S_PER_1000:g} (another machine)")


if __name__ == "__main__":
    main()
