"""CPU seconds of `h36m extract --every 64` over those of decoding every frame, as whole processes on one thread.

    python benchmarks/speed/sparse_frames.py [--films DIR] [--videos N] [--seconds S] [--runs N]

Films are as long as the data set's (about 2500 frames), with a key frame every 25. What it costs stands and falls with
that distance, which for the original videos is in no public description. Two floors are measured in the same run, as
processes that make no images: one decodes the wanted frames and the pictures that these are predicted from, the other
only the key frames of the groups with a wanted frame, from which most wanted frames cannot be decoded.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FILMS, FilmPlan, film_path, make_films
from h36m_toolbox.benchmarks.speed.processes import bare_decoding, cost, h36m

_STEP = 64


def key_frames_only(videos: list[Path], key_frame_every: int) -> list[str]:
    """A process that decodes the key frame before every 64th frame and nothing else, on one thread."""
    code = (
        "import sys; import av; from h36m_toolbox.frames.videos import opened_video, video_stream\n"
        f"for path in sys.argv[1:]:\n"
        f"    with opened_video(path) as container:\n"
        f"        stream = video_stream(container)\n"
        f"        keys = [p.pts for p in container.demux(stream) if p.is_keyframe]\n"
        f"        groups = sorted({{n // {key_frame_every} for n in range(0, stream.frames, {_STEP})}})\n"
        f"        assert len(keys) == -(-stream.frames // {key_frame_every})\n"
        f"        for group in groups:\n"
        f"            container.seek(keys[group], stream=stream)\n"
        f"            stream.codec_context.decode(next(container.demux(stream)))\n"
        f"            stream.codec_context.decode(None); stream.codec_context.flush_buffers()\n"
    )
    return [sys.executable, "-c", code, *map(str, videos)]


def needed_pictures_only(videos: list[Path]) -> list[str]:
    """A process that decodes every 64th frame, and what it is predicted from, on one thread and drops it."""
    code = (
        "import sys; from pathlib import Path; from h36m_toolbox.frames.video_groups import chosen_frames\n"
        "for path in sys.argv[1:]:\n"
        f"    for _ in chosen_frames(Path(path), range(0, sys.maxsize, {_STEP})): pass"
    )
    return [sys.executable, "-c", code, *map(str, videos)]


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
    cpu_s: dict[str, list[float]] = {"h36m": [], "decoding": [], "needed pictures": [], "key frames": []}
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            ours = h36m("extract", raw, "--out", folder, "--every", str(_STEP), "--jobs", "1")
            cpu_s["h36m"].append(cost(ours).cpu_s)
        cpu_s["decoding"].append(cost(bare_decoding(videos)).cpu_s)
        cpu_s["needed pictures"].append(cost(needed_pictures_only(videos)).cpu_s)
        cpu_s["key frames"].append(cost(key_frames_only(videos, plan.key_frame_every)).cpu_s)
    of_decoding = {
        name: round(statistics.median(one / all_ for one, all_ in zip(seconds, cpu_s["decoding"], strict=True)), 3)
        for name, seconds in cpu_s.items()
    }
    evidence = {
        "claim": "CPU seconds of h36m extract --every 64 over decoding everything, one thread",
        "of_decoding_median": of_decoding,
        "cpu_seconds": cpu_s,
        "films": about,
    }
    keep_evidence("sparse_frames", evidence, ("av",))
    print(f"--every 64: {of_decoding['h36m']} of decoding everything (goal 0.2 at most); films: {about}")
    print(f"decoding the wanted frames and what they are predicted from: {of_decoding['needed pictures']}")
    print(f"decoding the key frames alone: {of_decoding['key frames']}")


if __name__ == "__main__":
    main()
