"""The videos that the speed scripts read: invented people in textured rooms, filmed as the data set is.

    python benchmarks/speed/films.py DIR [--videos N] [--seconds S] [--key-frame-every N]

50 frames a second, 1000x1002 and 1000x1000 by camera, H.264 with CABAC, B-frames and deblocking (libx264's `veryfast`).
Every frame has the fine weave of walls and floor and the noise of a sensor, so that decoder and JPEG encoder meet
coefficients as in real footage and not the flat surfaces of a drawing. The data set's own bit rate and distance between
key frames are in no public description: both are parameters here, and every result that depends on them states them.
A folder that already holds the same films is left as it is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.sequences import FPS, Sequence, recordings
from h36m_toolbox.storage.files import written_whole
from h36m_toolbox.synthetic.archive import SyntheticPlan, write_synthetic_archive
from h36m_toolbox.synthetic.motion import synthetic_motion
from h36m_toolbox.synthetic.video import synthetic_images

FILMS = Path(tempfile.gettempdir()) / "h36m-films"  # where the scripts keep them

_NOISE_IMAGES = 16  # a sensor's noise, again after this many frames: no encoder looks back so far
_NOISE_LEVEL, _WEAVE_LEVEL = 2.0, 7.0  # grey levels, standard deviation


@dataclass(frozen=True)
class FilmPlan:
    """How many views are filmed, how long, and how they are encoded."""

    videos: int = 24
    seconds: float = 4
    key_frame_every: int = 25  # frames
    crf: int = 23
    preset: str = "veryfast"

    @property
    def frames(self) -> int:
        """Frames of a video."""
        return round(self.seconds * FPS)

    @property
    def views(self) -> list[Sequence]:
        """The views, all four cameras of one recording after the other."""
        everything = recordings(("S1", "S9"), ("Walking", "Sitting", "Greeting", "Eating", "Phoning", "Posing"))
        return [view for recording in everything for view in recording.views][: self.videos]


def make_films(raw: Path, plan: FilmPlan) -> dict[str, Any]:
    """Write poses, masks and videos of a plan below `raw` as the archives unpack; what there is, for the evidence."""
    note = raw / "films.json"
    if note.is_file():
        about: dict[str, Any] = json.loads(note.read_text())
        if about["plan"] == asdict(plan):
            return about
    for subject in sorted({view.subject for view in plan.views}):
        actions = tuple(dict.fromkeys(view.action for view in plan.views if view.subject == subject))
        write_synthetic_archive(
            raw, SyntheticPlan((subject,), actions, frames=plan.frames, videos=False, detections=False, masks=True)
        )
    paths = [film(raw, view, plan) for view in plan.views]
    size = sum(path.stat().st_size for path in paths)
    about = {
        "plan": asdict(plan),
        "videos": len(paths),
        "frames": len(paths) * plan.frames,
        "mbit_per_s": round(size * 8 / 1e6 / (len(paths) * plan.seconds), 2),
    }
    note.write_text(json.dumps(about))
    return about


def film_path(raw: Path, view: Sequence) -> Path:
    """Where the video of a view lies."""
    return raw / view.subject / "Videos" / f"{view.recording.stem}.{view.camera}.mp4"


def film(raw: Path, view: Sequence, plan: FilmPlan) -> Path:
    """Film one view; the video's path."""
    path = film_path(raw, view)
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = h36m_camera(view.subject, view.camera).size
    options = {"preset": plan.preset, "crf": str(plan.crf), "threads": "1", "g": str(plan.key_frame_every)}
    with written_whole(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.codec_context.thread_count = 1
        for number, planes in enumerate(_textured(view, plan.frames)):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _textured(view: Sequence, frames: int) -> Iterator[np.ndarray]:
    """The view's frames with weave and noise, planes of YUV 4:2:0 one below the other."""
    motion = synthetic_motion(view.recording, frames, seed=0)
    random = np.random.default_rng(view.camera_index)
    width, height = h36m_camera(view.subject, view.camera).size
    shape = (height, width)
    weave = cv2.GaussianBlur(random.normal(0, _WEAVE_LEVEL * 2.5, shape).astype(np.float32), (0, 0), 0.9)
    noise = [np.rint(weave + random.normal(0, _NOISE_LEVEL, shape)).astype(np.int16) for _ in range(_NOISE_IMAGES)]
    for number, image in enumerate(synthetic_images(view, motion, frames)):
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        luma = planes[:height].astype(np.int16) + noise[number % _NOISE_IMAGES]
        planes[:height] = luma.clip(16, 235)
        yield planes


def main() -> None:
    """Film and say what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=FilmPlan.videos)
    parser.add_argument("--seconds", type=float, default=FilmPlan.seconds)
    parser.add_argument("--key-frame-every", type=int, default=FilmPlan.key_frame_every)
    arguments = parser.parse_args()
    plan = FilmPlan(arguments.videos, arguments.seconds, arguments.key_frame_every)
    print(make_films(arguments.folder, plan))


if __name__ == "__main__":
    main()
