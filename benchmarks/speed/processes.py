"""Whole processes, timed: what a command costs its user, from start to end."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Cost:
    """What a process and its children took; `peak_mb` is that of the largest of them."""

    cpu_s: float
    wall_s: float
    peak_mb: int


def cost(command: list[str]) -> Cost:
    """Run a command to its end, its words unheard; one that fails ends the measurement.

    Linux counts the caller's own peak memory among its children's: whoever measures stays small (`apart`).
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    words = process.stdout.read()  # a full pipe would hold the process up
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if status:
        sys.exit(f"{' '.join(command)} failed: {words.decode()[-2000:]}")
    seconds = usage.ru_utime + usage.ru_stime
    return Cost(round(seconds, 3), round(time.perf_counter() - start, 3), round(usage.ru_maxrss / 1024))


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, called in a process of its own, which takes its memory with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def h36m(*arguments: str | Path) -> list[str]:
    """The command line of `h36m` with these arguments, by this interpreter."""
    return [sys.executable, "-m", "h36m_toolbox", *map(str, arguments)]


def ffmpeg_frames(video: Path, out: Path) -> list[str]:
    """The official scripts' command that extracts all frames of a video, here on one thread; `out` is made."""
    out.mkdir(parents=True)
    return ["ffmpeg", "-threads", "1", "-i", str(video), "-threads", "1", "-qscale:v", "3", str(out / "%06d.jpg")]


def bare_decoding(videos: list[Path]) -> list[str]:
    """A process that decodes every frame of videos on one thread and drops it."""
    code = (
        "import sys; from pathlib import Path; from h36m_toolbox.frames.videos import decoded_frames\n"
        "for path in sys.argv[1:]:\n    for _ in decoded_frames(Path(path)): pass"
    )
    return [sys.executable, "-c", code, *map(str, videos)]


def bare_recoding(videos: list[Path], out: Path, quality: int) -> list[str]:
    """A process that decodes every frame of videos, encodes its samples as they are and writes them below `out`."""
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from h36m_toolbox.frames.videos import decoded_frames, encoded, frame_planes\n"
        "out, quality = Path(sys.argv[1]), int(sys.argv[2])\n"
        "for number, path in enumerate(sys.argv[3:]):\n"
        "    (folder := out / str(number)).mkdir(parents=True)\n"
        "    for at, frame in enumerate(decoded_frames(Path(path))):\n"
        "        planes = tuple(map(np.ascontiguousarray, frame_planes(frame)))\n"
        "        (folder / f'{at:06d}.jpg').write_bytes(encoded(planes, quality))"
    )
    return [sys.executable, "-c", code, str(out), str(quality), *map(str, videos)]
