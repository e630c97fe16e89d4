"""Views a second of the loader of ContextPose and learnable triangulation beside the straightforward one, on one core.

    python benchmarks/speed/views_loader.py [--frames N] [--repeat N]

Straightforward, in our own words: cv2 reads an undistorted frame's JPEG file, numpy cuts the box with black outside and
cv2 resizes it by areas to 384 x 384; what numpy then takes to normalise in float64 is measured too, but no part of the
ratios, as ours is normalised on the device. Ours: the same files; whole frames as filmed, undistorted as they are read;
and lossless crops (`h36m crops --crop views`) of the undistorted files. The first and the last must be the
straightforward loader's, byte for byte, or the script ends. CPU seconds, in turns; footage of `films.py`. Evidence goes
to benchmarks/results/views_loader.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from h36m_toolbox.benchmarks.speed.clocks import cpu_seconds, fastest, in_turns
from h36m_toolbox.benchmarks.speed.evidence import keep_evidence
from h36m_toolbox.benchmarks.speed.films import FilmPlan, make_films
from h36m_toolbox.benchmarks.speed.processes import cost, h36m
from h36m_toolbox.crops.views import VIEW_CROPS
from h36m_toolbox.formats.multiview import label_table_path
from h36m_toolbox.frames.stores import WHOLE_FRAMES, FrameStore
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.views.crops import CROP_SIZE
from h36m_toolbox.views.labels import MultiviewLabels, read_multiview_labels
from h36m_toolbox.views.samples import ViewReader, view_reader

UNDISTORTED = FrameStore(undistorted=True)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
OFFICIAL, NORMALISED = "straightforward", "straightforward, normalised"


def made_data(folder: Path, frames: int) -> Path:
    """DATA with whole frames, undistorted ones and crops of these, of eight views of S1."""
    raw, data = folder / "raw", folder / "data"
    make_films(raw, FilmPlan(videos=8, seconds=frames / 50))
    cost(h36m("labels", raw, "--out", data, "--format", "multiview"))
    cost(h36m("extract", raw, "--out", data))
    cost(h36m("extract", raw, "--out", data, "--undistort"))
    cost(h36m("crops", data, "--crop", "views"))
    return data


def straightforward(path: Path, box: np.ndarray) -> np.ndarray:
    """A uint8 crop, BGR."""
    image = cv2.imread(str(path))
    assert image is not None
    left, top, right, bottom = map(int, box)
    piece = np.zeros((bottom - top, right - left, 3), np.uint8)
    rows, columns = slice(max(top, 0), min(bottom, image.shape[0])), slice(max(left, 0), min(right, image.shape[1]))
    piece[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
    return cv2.resize(piece, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)


def reader_of(data: Path, folder: Path, stores: tuple[FrameStore, ...], labels: MultiviewLabels) -> ViewReader:
    """The reader of a DATA that has only some of the stores."""
    folder.mkdir()
    for store in stores:
        (folder / store.name).symlink_to(store.root(data))
    return view_reader(folder, labels)


def measurements(data: Path, folder: Path, repeat: int) -> dict[str, Any]:
    """CPU ms a view, views a second and core, and how many times the straightforward loader's; sizes."""
    labels = read_multiview_labels(data, "train", label_table_path(data))
    places = [(int(instant), int(camera)) for instant, camera in np.argwhere(labels.seen)]
    files: list[tuple[Path, np.ndarray]] = []
    for instant, camera in places:
        view: Sequence = labels.recording(instant).views[camera]
        name = UNDISTORTED.file_name(view, labels.frame(instant))
        files.append((UNDISTORTED.folder(data, view) / name, labels.boxes[instant, camera]))
    readers = {
        "undistorted frames": reader_of(data, folder / "undistorted", (UNDISTORTED,), labels),
        "whole frames": reader_of(data, folder / "whole", (WHOLE_FRAMES,), labels),
        "lossless crops": reader_of(data, folder / "crops", (UNDISTORTED, VIEW_CROPS), labels),
    }

    def official() -> list[np.ndarray]:
        return [straightforward(path, box) for path, box in files]

    def official_normalised() -> None:
        for crop in official():
            ((crop / 255.0 - MEAN) / DEVIATION).astype(np.float32)

    def views(reader: ViewReader) -> list[np.ndarray]:
        return [reader.view(*place).image for place in places]

    for name in ("undistorted frames", "lossless crops"):  # also the first reading of each file
        for theirs, mine in zip(official(), views(readers[name]), strict=True):
            assert np.array_equal(theirs, mine), f"{name}: the views are not those of the straightforward loader"
    loaders: dict[str, Callable[[], object]] = {OFFICIAL: official, NORMALISED: official_normalised}
    loaders |= {name: partial(views, reader) for name, reader in readers.items()}
    times = in_turns(loaders, repeat, cpu_seconds)
    samples = {name: [1000 * each / len(places) for each in seconds] for name, seconds in times.items()}
    best = fastest(samples)
    sizes = {
        store.name: sum(path.stat().st_size for path in store.root(data).rglob("*.*")) / len(places) / 1000
        for store in (WHOLE_FRAMES, UNDISTORTED, VIEW_CROPS)
    }
    return {
        "views": len(places),
        "cpu_ms_per_view": best,
        "samples_cpu_ms_per_view": samples,
        "views_per_s_per_core": {name: 1000 / value for name, value in best.items()},
        "speedup": {name: best[OFFICIAL] / best[name] for name in readers},
        "kB_per_view": sizes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=16, help="of each of eight views")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        measured = measurements(made_data(Path(folder), asked.frames), Path(folder), asked.repeat)
    path = keep_evidence(
        "views_loader", {"settings": vars(asked), **measured}, ("simplejpeg", "opencv-python-headless", "numpy")
    )
    rates = measured["views_per_s_per_core"]
    print("times the straightforward loader's views/s per core, uint8:")
    for name, speedup in measured["speedup"].items():
        print(f"  {name}: {speedup:.1f} ({rates[name]:.0f}/s)")
    print(f"  kB a view: {', '.join(f'{name} {size:.0f}' for name, size in measured['kB_per_view'].items())}; {path}")


if __name__ == "__main__":
    main()
