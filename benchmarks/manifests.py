"""The exact frames a score covers: named, counted by sequence and hashed, so that two scores can be held together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from h36m_toolbox.benchmarks.protocols import PROTOCOLS, Protocol
from h36m_toolbox.benchmarks.switches import Samples
from h36m_toolbox.errors import H36MError
from h36m_toolbox.pose_tables import sequence_code, sequence_of_code
from h36m_toolbox.sequences import sequences

FRAME_BITS = 0xFFFFFFFF  # where pose_tables.row_keys keeps the frame
CAMERA_BITS = 0xF << 32  # and the camera
_ACTION_SHIFT, _ACTION_BITS = 40, 0xFF


@dataclass(frozen=True)
class Manifest:
    """A list of frames by its hash: equal hashes, equal frames. `sequences` has (name, frames) in order of the keys."""

    name: str
    sha256: str  # of the sorted sample keys, 8 bytes each, little-endian
    frames: int
    sequences: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, object]:
        """For JSON: the sequences as an object."""
        return {"name": self.name, "sha256": self.sha256, "frames": self.frames, "sequences": dict(self.sequences)}


def manifest_of(keys: np.ndarray, protocol: Protocol) -> Manifest:
    """The manifest of row keys (n,) as `pose_tables.row_keys` gives them, in any order, as samples of a protocol.

    It is named after the official list where it is that one: `videopose3d/official`, else `videopose3d/<n> frames`.
    """
    manifest = _manifest(np.sort(keys), protocol)
    official = official_manifest(protocol)
    return official if official and official.sha256 == manifest.sha256 else manifest


@cache
def official_manifest(protocol: Protocol) -> Manifest | None:
    """The frames that the protocol scores in the real data set; None where they are not published."""
    if not protocol.frames.published or not protocol.subjects:
        return None
    keys = [
        sequence_code(view) << 32 | np.arange(view.recording.pose_frames, dtype=np.int64)
        for view in sequences(protocol.subjects)
    ]
    ordered = np.sort(np.concatenate(keys))
    return _manifest(ordered[covered(ordered, protocol)], protocol, "official")


def protocols_as_text() -> str:
    """Every protocol with every switch, and its official list of frames, for a reader."""
    return "\n\n".join(
        "\n".join(f"{switch:24} {value}" for switch, value in {**protocol.describe(), **_official(protocol)}.items())
        for protocol in PROTOCOLS.values()
    )


def _official(protocol: Protocol) -> dict[str, str]:
    manifest = official_manifest(protocol)
    if manifest is None:
        return {"official_frames": "not published"}
    return {"official_frames": f"{manifest.frames:,}", "frames_sha256": manifest.sha256}


def covered(keys: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Places (m,) of the row keys (n,) that the protocol scores, sorted by key. H36MError for keys that repeat."""
    order = np.arange(len(keys)) if (keys[1:] > keys[:-1]).all() else np.argsort(keys, kind="stable")
    ordered = keys[order]
    codes, _, counts = runs_of(ordered >> 32)
    scored = np.array([protocol.covers(sequence_of_code(int(code))) for code in codes], bool)
    kept = np.repeat(scored, counts)
    if protocol.frames.step > 1:
        kept &= (ordered & FRAME_BITS) % protocol.frames.step == 0
    rows, ordered = order[kept], ordered[kept]
    if (ordered[1:] == ordered[:-1]).any():
        raise H36MError("labels: some frames of a sequence are there twice; write them again with `h36m labels`")
    if protocol.complete_instants_only:
        whole = _in_every_view(ordered, len(protocol.cameras))
        rows, ordered = rows[whole], ordered[whole]
    if protocol.batch_remainder > 1:
        rows = rows[_whole_batches(ordered >> _ACTION_SHIFT & _ACTION_BITS, protocol.batch_remainder)]
    return rows


def sample_keys(keys: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Keys that are equal for rows of one sample: those of the rows, or without the camera where instants count."""
    return keys & ~CAMERA_BITS if protocol.samples is Samples.INSTANTS else keys


def runs_of(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, starts and lengths of the runs of equal numbers in `codes` (n,)."""
    starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
    return codes[starts], starts, np.diff(starts, append=len(codes))


def _manifest(keys: np.ndarray, protocol: Protocol, kind: str = "") -> Manifest:
    samples = sample_keys(keys, protocol)
    if protocol.samples is Samples.INSTANTS:
        samples = np.unique(samples)
    codes, _, counts = runs_of(samples >> 32)
    instants = protocol.samples is Samples.INSTANTS
    names = [sequence_of_code(int(code)) for code in codes]
    return Manifest(
        name=f"{protocol.name}/{kind or f'{len(samples)} frames'}",
        sha256=hashlib.sha256(samples.astype("<i8").tobytes()).hexdigest(),
        frames=len(samples),
        sequences=tuple(
            (f"{name.subject}/{name.recording.stem}" if instants else str(name), int(count))
            for name, count in zip(names, counts, strict=True)
        ),
    )


def _in_every_view(keys: np.ndarray, views: int) -> np.ndarray:
    _, instant, found = np.unique(keys & ~CAMERA_BITS, return_inverse=True, return_counts=True)
    return found[instant] == views


def _whole_batches(actions: np.ndarray, batch: int) -> np.ndarray:
    kept = np.ones(len(actions), bool)
    for action in np.unique(actions):
        places = np.flatnonzero(actions == action)
        kept[places[len(places) - len(places) % batch :]] = False
    return kept
