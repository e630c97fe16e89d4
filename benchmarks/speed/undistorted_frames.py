"""CPU seconds of undistorted frames: `h36m extract --undistort` against the official scripts' order of operations.

    python benchmarks/speed/undistorted_frames.py [--films DIR] [--runs N]

The opponent, in our own words: every frame is extracted with `ffmpeg` (counted apart), then image by image read,
remapped bicubically with fixed-point maps built once a subject and camera, and written, by OpenCV on one thread. Ours
goes from the video to the undistorted files in one pass, so it also pays for the decoding. Both call the same
remapping, as the pixels are to be the official ones: its time is the floor of both. Evidence goes to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FILMS, FilmPlan, film_path, make_films
from h36m_toolbox.benchmarks.speed.processes import cost, ffmpeg_frames, h36m
from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.frames.undistortion import undistort_map
from h36m_toolbox.sequences import Sequence

_OFFICIAL_S_PER_1000 = 18.0  # of the official script itself, on another machine


@dataclass
class Steps:
    """CPU seconds of the official order, step by step."""

    ffmpeg: float = 0
    read: float = 0
    remap: float = 0
    write: float = 0

    @property
    def undistorting(self) -> float:
        """All but the extraction of the frames."""
        return self.read + self.remap + self.write


def official_order(frames: Path, out: Path, view: Sequence, steps: Steps) -> None:
    """Read, remap and write the images of a folder one by one."""
    cv2.setNumThreads(1)
    out.mkdir(parents=True)
    maps = undistort_map(h36m_camera(view.subject, view.camera))
    for path in sorted(frames.iterdir()):
        times = [time.process_time()]
        image = np.asarray(cv2.imread(str(path)))
        times.append(time.process_time())
        straight = cv2.remap(image, maps.whole, maps.fraction, cv2.INTER_CUBIC)
        times.append(time.process_time())
        cv2.imwrite(str(out / path.name), straight)
        times.append(time.process_time())
        steps.read += times[1] - times[0]
        steps.remap += times[2] - times[1]
        steps.write += times[3] - times[2]


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, default=FILMS)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("the ffmpeg command is not here; install it to compare (apt-get install ffmpeg)")
        sys.exit(0)
    plan = FilmPlan(videos=4, seconds=2)
    raw = arguments.films / "few"
    about = make_films(raw, plan)
    ours: list[float] = []
    theirs: list[Steps] = []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(cost(h36m("extract", raw, "--out", Path(folder, "h36m"), "--undistort", "--jobs", "1")).cpu_s)
            steps = Steps()
            for view in plan.views:
                frames = Path(folder, "frames", view.folder)
                steps.ffmpeg += cost(ffmpeg_frames(film_path(raw, view), frames)).cpu_s
                official_order(frames, Path(folder, "theirs", view.folder), view, steps)
            theirs.append(steps)
    ratio = round(statistics.median(mine / other.undistorting for mine, other in zip(ours, theirs, strict=True)), 3)
    whole = statistics.median(
        mine / (other.undistorting + other.ffmpeg) for mine, other in zip(ours, theirs, strict=True)
    )
    scale = 1000 / int(about["frames"])
    per_1000 = {"h36m": round(scale * min(ours), 2)}
    per_1000 |= {name: round(scale * min(asdict(s)[name] for s in theirs), 2) for name in asdict(theirs[0])}
    evidence = {
        "claim": "CPU seconds of undistorted frames, video to file, over read-remap-write image by image",
        "ratio_median": ratio,
        "ratio_with_ffmpeg_median": round(whole, 3),
        "cpu_s_per_1000": per_1000,
        "official_s_per_1000_elsewhere": _OFFICIAL_S_PER_1000,
        "cpu_seconds": {"h36m": ours, "order": [asdict(steps) for steps in theirs]},
        "films": about,
    }
    keep_evidence("undistorted_frames", evidence, ("av", "simplejpeg", "opencv-python-headless"))
    print(f"undistorted: {ratio} of the official order's CPU time in this run, {whole:.3f} with the frames' extraction")
    print(f"CPU s per 1000 frames: {per_1000}; remap is the floor of ours too")
    print(f"goal: 5.4 CPU s per 1000 frames, 0.3 of the official script's {_OFFICIAL_S_PER_1000:g} (another machine)")


if __name__ == "__main__":
    main()
