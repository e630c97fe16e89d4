"""Integral Human Pose's official HM36 tree, `annot/<folder>/matlab_meta.txt` and `images/<folder>`, made into DATA.

The meta files give world poses and cameras; a note in `DATA/labels/integral-tree.json` says of which files DATA was
made, so that the next call ends at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.cameras import h36m_camera
from h36m_toolbox.detections.bundles import GROUND_TRUTH, write_detections
from h36m_toolbox.errors import H36MError
from h36m_toolbox.formats.imports import detected_sequences, imported_rows, is_from_elsewhere, link_images
from h36m_toolbox.formats.integral import META_NAME, read_integral_meta
from h36m_toolbox.frames.stores import WHOLE_FRAMES
from h36m_toolbox.labels import LABEL_SCHEMA, labels_path
from h36m_toolbox.pose_parquet import open_writer
from h36m_toolbox.sequences import FPS, SPLITS, Sequence, sequences
from h36m_toolbox.storage.files import written_whole

SOURCE = "integral_tree"  # where the label table says that it was made of one


def import_meta_tree(
    tree: Path, data: Path, images: Path | None = None, progress: Callable[[Sequence], None] | None = None
) -> dict[str, int]:
    """Make DATA from an official tree: labels, ground-truth detections, and `images`, by default the tree's, as a link.

    Camera-frame poses come from the tree's own calibration, 2D poses from ours, with the lens; universal poses are NaN.
    The rows by split that were written: none where DATA had it all. Raises H36MError for a tree without meta files,
    for damaged ones, and for DATA with labels from elsewhere.
    """
    found = {split: _views(tree, split) for split in SPLITS}
    found = {split: views for split, views in found.items() if views}
    if not found:
        raise H36MError(f"{tree}: has no annot/s_01_act_02_subact_01_ca_01/{META_NAME} or the like; give its folder")
    link_images(images or tree / WHOLE_FRAMES.name, data)
    note, facts = data / "labels" / "integral-tree.json", _facts(found)
    if note.is_file() and json.loads(note.read_text()) == facts:
        return {}
    theirs = [split for split in SPLITS if is_from_elsewhere(data, split, SOURCE)]
    if theirs:
        raise H36MError(
            f"{labels_path(data, theirs[0])}: labels that were not made from {tree}; give another --data, or leave "
            "--meta out and use these"
        )
    note.unlink(missing_ok=True)
    frames = {split: _write_split(views, data, split, facts, progress) for split, views in found.items()}
    tables = [labels_path(data, split) for split in found]
    lengths = {view: count for counts in frames.values() for view, count in counts.items()}
    write_detections(data, GROUND_TRUTH, detected_sequences(tables, "joints_2d"), lengths)
    with written_whole(note) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))
    return {split: sum(counts.values()) for split, counts in frames.items()}


def _views(tree: Path, split: str) -> dict[Sequence, Path]:
    paths = {view: tree / "annot" / view.folder / META_NAME for view in sequences(SPLITS[split])}
    return {view: path for view, path in paths.items() if path.is_file()}


def _facts(found: dict[str, dict[Sequence, Path]]) -> dict[str, Any]:
    states = [path.stat() for views in found.values() for path in views.values()]
    return {
        "views": len(states),
        "bytes": sum(state.st_size for state in states),
        "newest_ns": max(state.st_mtime_ns for state in states),
    }


def _write_split(
    views: dict[Sequence, Path],
    data: Path,
    split: str,
    facts: dict[str, Any],
    progress: Callable[[Sequence], None] | None,
) -> dict[Sequence, int]:
    """The frames of each view that were written."""
    counts = {}
    with written_whole(labels_path(data, split)) as temporary, open_writer(temporary, LABEL_SCHEMA) as writer:
        for view, path in views.items():
            meta = read_integral_meta(path)
            world = meta.world[:, list(meta.joints)]
            in_camera = meta.camera.world_to_camera(world)
            pixels = h36m_camera(view.subject, view.camera).project(in_camera)
            frames = np.arange(len(world))
            writer.write_table(imported_rows(view, frames, pixels, world, in_camera), row_group_size=len(frames))
            counts[view] = len(frames)
            if progress:
                progress(view)
        about = {"table": "labels", "version": 1, "fps": FPS, SOURCE: facts}
        writer.add_key_value_metadata({"h36m": json.dumps(about)})
    return counts
