"""CPU seconds of `h36m extract`, `ffmpeg -qscale:v 3` and the codecs alone, and whose frames are closer to the video.

    python benchmarks/speed/extract_frames.py [--films DIR] [--videos N] [--seconds S] [--runs N]

All read the same films (films.py) on one thread, in turn, as whole processes. The codecs alone are decoding, and
decoding and encoding to files the samples as they are, which no way of writing such files gets below. The PSNR is that
of the JPEG's planes against the decoder's. Evidence goes to benchmarks/results/. Without the `ffmpeg` command it says
so and measures nothing.
"""

from __future__ import annotations

import argparse
import io
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FILMS, FilmPlan, film_path, make_films
from h36m_toolbox.benchmarks.speed.processes import bare_decoding, bare_recoding, cost, ffmpeg_frames, h36m
from h36m_toolbox.frames.extraction import JPEG_QUALITY
from h36m_toolbox.frames.videos import decoded_frames, encoded, full_range_planes
from h36m_toolbox.sequences import Sequence

_SAMPLE_EVERY = 25  # frames of which the PSNR is taken


def mean_psnr(raw: Path, images: dict[Sequence, dict[int, Path]]) -> dict[str, float]:
    """PSNR in dB of images (by view and frame number) against the decoded videos: of all samples and of each plane."""
    found: dict[str, list[float]] = {"luma": [], "blue": [], "red": []}
    for view, paths in images.items():
        for number, frame in enumerate(decoded_frames(film_path(raw, view))):
            if number % _SAMPLE_EVERY:
                continue
            with av.open(io.BytesIO(paths[number].read_bytes())) as container:
                written = full_range_planes(next(container.decode(video=0)))
            for name, ours, truth in zip(found, written, full_range_planes(frame), strict=True):
                error = np.mean((ours.astype(np.float64) - truth) ** 2)
                found[name].append(float(10 * np.log10(255**2 / error)))
    means = {name: statistics.mean(values) for name, values in found.items()}
    # luma has four samples for one of each chroma plane
    total = (4 * 10 ** (-means["luma"] / 10) + 10 ** (-means["blue"] / 10) + 10 ** (-means["red"] / 10)) / 6
    return {name: round(value, 2) for name, value in {"all": -10 * math.log10(total), **means}.items()}


def parts_ms(video: Path) -> dict[str, float]:
    """Mean CPU ms a frame of each step from a video to its JPEG files."""
    cv2.setNumThreads(1)
    names = ("decode", "full range", "encode", "write")
    seconds = dict.fromkeys(names, 0.0)
    frames: Iterator[av.VideoFrame] = decoded_frames(video)
    planes, count = None, 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        for frame in frames:
            times = [start, time.process_time()]
            planes = full_range_planes(frame, planes)
            times.append(time.process_time())
            jpeg = encoded(planes, JPEG_QUALITY)
            times.append(time.process_time())
            Path(folder, f"{count:06d}.jpg").write_bytes(jpeg)
            times.append(time.process_time())
            for name, begin, end in zip(names, times, times[1:], strict=False):
                seconds[name] += end - begin
            count += 1
            start = time.process_time()
    return {name: round(1000 * total / count, 3) for name, total in seconds.items()}


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, default=FILMS)
    parser.add_argument("--videos", type=int, default=FilmPlan.videos)
    parser.add_argument("--seconds", type=float, default=FilmPlan.seconds)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        print("the ffmpeg command is not here; install it to compare (apt-get install ffmpeg)")
        sys.exit(0)
    plan = FilmPlan(arguments.videos, arguments.seconds)
    raw = arguments.films / "short"
    about = make_films(raw, plan)
    films = [film_path(raw, view) for view in plan.views]
    seconds: dict[str, list[float]] = {"ffmpeg": [], "h36m": [], "decoding": [], "recoding": []}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(arguments.runs):
            theirs, ours = Path(folder, f"ffmpeg{run}"), Path(folder, f"h36m{run}")
            commands = [ffmpeg_frames(film, theirs / view.folder) for film, view in zip(films, plan.views, strict=True)]
            seconds["ffmpeg"].append(sum(cost(command).cpu_s for command in commands))
            seconds["h36m"].append(cost(h36m("extract", raw, "--out", ours, "--jobs", "1")).cpu_s)
            seconds["decoding"].append(cost(bare_decoding(films)).cpu_s)
            bare = Path(folder, "bare")
            seconds["recoding"].append(cost(bare_recoding(films, bare, JPEG_QUALITY)).cpu_s)
            shutil.rmtree(bare)
            if run:
                shutil.rmtree(theirs)
                shutil.rmtree(ours)
        theirs, ours = Path(folder, "ffmpeg0"), Path(folder, "h36m0") / "images"
        few = plan.views[::6]
        images = {
            "ffmpeg": {v: {n: theirs / v.folder / f"{n + 1:06d}.jpg" for n in range(plan.frames)} for v in few},
            "h36m": {v: {n: ours / v.folder / f"{v.folder}_{n + 1:06d}.jpg" for n in range(plan.frames)} for v in few},
        }
        psnr = {name: mean_psnr(raw, paths) for name, paths in images.items()}
        size = {
            name: sum(path.stat().st_size for paths in by_view.values() for path in paths.values())
            for name, by_view in images.items()
        }
    parts = parts_ms(films[0])
    of_ffmpeg = [mine / other for mine, other in zip(seconds["h36m"], seconds["ffmpeg"], strict=True)]
    least = [bare / other for bare, other in zip(seconds["recoding"], seconds["ffmpeg"], strict=True)]
    of_decoding = [mine / other for mine, other in zip(seconds["h36m"], seconds["decoding"], strict=True)]
    evidence = {
        "claim": "CPU seconds of h36m extract over those of ffmpeg -qscale:v 3 and of bare decoding, one thread",
        "of_ffmpeg_median": round(statistics.median(of_ffmpeg), 3),
        "recoding_of_ffmpeg_median": round(statistics.median(least), 3),
        "of_decoding_median": round(statistics.median(of_decoding), 3),
        "cpu_seconds": seconds,
        "parts_ms": parts,
        "films": about,
        "psnr_db": psnr,
        "bytes_per_frame": {name: round(total / (len(few) * plan.frames)) for name, total in size.items()},
        "ffmpeg": subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.splitlines()[0],
    }
    keep_evidence("extract_frames", evidence, ("av", "simplejpeg", "opencv-python-headless"))
    print(f"h36m extract: {evidence['of_ffmpeg_median']} of ffmpeg's CPU time (goal 0.4 at most)")
    print(f"decoding, encoding and writing them, and nothing else: {evidence['recoding_of_ffmpeg_median']} of it")
    print(f"h36m extract: {evidence['of_decoding_median']} times bare decoding (goal 3.5 at most)")
    frames = len(plan.views) * plan.frames
    print(f"ms a frame: {parts}; ffmpeg {1000 * statistics.median(seconds['ffmpeg']) / frames:.2f}")
    print(f"PSNR, dB: {psnr}; bytes a frame: {evidence['bytes_per_frame']}; films: {about}")


if __name__ == "__main__":
    main()
