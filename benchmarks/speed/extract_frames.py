"""Frames per CPU second of `h36m extract` and of `ffmpeg -qscale:v 3`, and which frames are closer to the video.

    python benchmarks/speed/extract_frames.py [--frames N] [--runs N]

Both read the same synthetic 50 fps 1000x1002 videos on one thread, in turn, as whole processes; the PSNR is that of
the JPEG's planes against the decoder's. Evidence goes to benchmarks/results/. Needs the `ffmpeg` command.
"""

from __future__ import annotations

import argparse
import io
import math
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.frames.stores import stored_frames
from h36m_toolbox.frames.videos import decoded_frames, full_range_planes
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.synthetic.archive import SyntheticPlan, write_synthetic_archive

CAMERA = "54138969"


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def with_ffmpeg(raw: Path, out: Path, sequence: Sequence) -> list[str]:
    """The official extraction's command."""
    out.mkdir(parents=True)
    video = raw / sequence.subject / "Videos" / f"{sequence.recording.stem}.{sequence.camera}.mp4"
    return ["ffmpeg", "-threads", "1", "-i", str(video), "-threads", "1", "-qscale:v", "3", str(out / "%06d.jpg")]


def with_h36m(raw: Path, out: Path) -> list[str]:
    """Ours."""
    return [sys.executable, "-m", "h36m_toolbox", "extract", str(raw), "--out", str(out), "--jobs", "1"]


def mean_psnr(video: Path, images: dict[int, Path]) -> dict[str, float]:
    """PSNR in dB of the images (by frame number) against the decoded video: of all samples, and of each plane."""
    found: dict[str, list[float]] = {"luma": [], "blue": [], "red": []}
    for number, frame in enumerate(decoded_frames(video)):
        if number in images:
            with av.open(io.BytesIO(images[number].read_bytes())) as container:
                written = full_range_planes(next(container.decode(video=0)))
            for name, ours, truth in zip(found, written, full_range_planes(frame), strict=True):
                error = np.mean((ours.astype(np.float64) - truth) ** 2)
                found[name].append(float(10 * np.log10(255**2 / error)))
    means = {name: statistics.mean(values) for name, values in found.items()}
    # luma has four samples for one of each chroma plane
    total = (4 * 10 ** (-means["luma"] / 10) + 10 ** (-means["blue"] / 10) + 10 ** (-means["red"] / 10)) / 6
    return {name: round(value, 2) for name, value in {"all": -10 * math.log10(total), **means}.items()}


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=3000, help="poses of the video")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        sys.exit("the ffmpeg command is not here; install it to compare")
    sequence = Sequence("S1", "Walking", 1, CAMERA)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        plan = SyntheticPlan(("S1",), ("Walking",), (1,), (CAMERA,), arguments.frames, detections=False)
        write_synthetic_archive(place / "raw", plan)
        seconds: dict[str, list[float]] = {"ffmpeg": [], "h36m": []}
        for run in range(arguments.runs):
            seconds["ffmpeg"].append(cpu_seconds(with_ffmpeg(place / "raw", place / f"ffmpeg{run}", sequence)))
            seconds["h36m"].append(cpu_seconds(with_h36m(place / "raw", place / f"h36m{run}")))
        video = place / "raw" / "S1" / "Videos" / f"{sequence.recording.stem}.{CAMERA}.mp4"
        numbers = stored_frames(place / "h36m0", sequence)
        sample = numbers[:: max(1, len(numbers) // 20)]
        ours = place / "h36m0" / "images" / sequence.folder
        psnr = {
            "ffmpeg": mean_psnr(video, {n: place / "ffmpeg0" / f"{n + 1:06d}.jpg" for n in sample}),
            "h36m": mean_psnr(video, {n: ours / f"{sequence.folder}_{n + 1:06d}.jpg" for n in sample}),
        }
        size = {
            "ffmpeg": sum(path.stat().st_size for path in (place / "ffmpeg0").iterdir()),
            "h36m": sum(path.stat().st_size for path in ours.iterdir()),
        }
        frames = len(numbers)
    ratios = [theirs / mine for theirs, mine in zip(seconds["ffmpeg"], seconds["h36m"], strict=True)]
    evidence = {
        "claim": "frames per CPU second, whole processes on one thread, h36m over ffmpeg -qscale:v 3",
        "ratio_median": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "cpu_seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        "frames": frames,
        "psnr_db": psnr,
        "bytes_per_frame": {name: round(total / frames) for name, total in size.items()},
        "ffmpeg": subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout.splitlines()[0],
    }
    keep_evidence("extract_frames", evidence, ("av", "simplejpeg", "opencv-python-headless"))
    print(f"h36m extracts {evidence['ratio_median']:.2f}x the frames of ffmpeg per CPU second ({ratios})")
    print(f"PSNR, dB: {psnr}; bytes a frame: {evidence['bytes_per_frame']}")


if __name__ == "__main__":
    main()
