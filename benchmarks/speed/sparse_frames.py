"""CPU seconds of `h36m extract --every 64` over those of decoding every frame, as whole processes on one thread.

    python benchmarks/speed/sparse_frames.py [--films DIR] [--videos N] [--seconds S] [--runs N]

Films are as long as the data set's (about 2500 frames), with a key frame every 25. What it costs stands and falls with
that distance, which for the original videos is in no public description.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FILMS, FilmPlan, film_path, make_films
from h36m_toolbox.benchmarks.speed.processes import bare_decoding, cost, h36m


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, default=FILMS)
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=50)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    plan = FilmPlan(arguments.videos, arguments.seconds)
    raw = arguments.films / "long"
    about = make_films(raw, plan)
    videos = [film_path(raw, view) for view in plan.views]
    ours, decoding = [], []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(cost(h36m("extract", raw, "--out", folder, "--every", "64", "--jobs", "1")).cpu_s)
        decoding.append(cost(bare_decoding(videos)).cpu_s)
    ratio = round(statistics.median(mine / all_ for mine, all_ in zip(ours, decoding, strict=True)), 3)
    evidence = {
        "claim": "CPU seconds of h36m extract --every 64 over decoding everything, one thread",
        "of_decoding_median": ratio,
        "cpu_seconds": {"h36m": ours, "decoding": decoding},
        "films": about,
    }
    keep_evidence("sparse_frames", evidence, ("av",))
    print(f"--every 64: {ratio} of decoding everything (goal 0.2 at most); films: {about}")


if __name__ == "__main__":
    main()
