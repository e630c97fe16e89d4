"""Which poses an archive gives for a purpose: those that are there, those that can be derived, those it cannot give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from h36m_toolbox.errors import H36MError
from h36m_toolbox.poses import PoseFiles
from h36m_toolbox.raw.archive import POSE_KINDS, Kind, RawArchive
from h36m_toolbox.raw.metadata_xml import metadata_differences
from h36m_toolbox.sequences import ACTIONS, CAMERA_IDS, SUBACTIONS, SUBJECTS, Sequence, sequences

_RECORDINGS = len(ACTIONS) * len(SUBACTIONS)  # of one subject
_KIND_OF_SOURCE = {"world": Kind.WORLD, "camera": Kind.CAMERA, "universal": Kind.UNIVERSAL, "image": Kind.IMAGE}


@dataclass(frozen=True)
class AvailablePoses:
    """Sequences that can be read, in loop order; `left_out`: those that have pose files but lack these kinds.

    `notes` tell what is not in the archive and what is derived, in a few lines however many sequences there are.
    """

    files: list[PoseFiles]
    left_out: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]


def available_poses(archive: RawArchive, needs: tuple[Kind, ...] = ()) -> AvailablePoses:
    """The sequences that have the files of `needs` and whose other poses are there or can be derived.

    H36MError where there is none.
    """
    wanted = archive.posed_sequences(needs)
    left_out = {str(sequence): lacking for sequence, lacking in _lacking(archive, set(wanted), needs)}
    if not wanted:
        named = " and ".join(dict.fromkeys((f"{Kind.WORLD.value} or {Kind.CAMERA.value}", *(k.value for k in needs))))
        lines = [f"\n  {name} lacks {', '.join(lacking)}" for name, lacking in list(left_out.items())[:5]]
        raise H36MError(f"{archive.root}: no sequence has {named}{''.join(lines)}")
    files = [archive.pose_files(sequence) for sequence in wanted]
    derived = () if Kind.WORLD in needs else _derived_lines(files)  # where only world poses are used, nothing is
    return AvailablePoses(
        files, left_out, (*archive.damaged, *_metadata_lines(archive), *_gaps(archive, wanted), *derived)
    )


def derived_kinds(files: Iterable[PoseFiles]) -> dict[str, list[str]]:
    """Names of the sequences whose poses of a kind are derived, by the kind's official name; no empty lists."""
    derived: dict[str, list[str]] = {}
    for item in files:
        for source in item.derived:
            derived.setdefault(_KIND_OF_SOURCE[source].value, []).append(str(item.sequence))
    return derived


def _lacking(
    archive: RawArchive, wanted: set[Sequence], needs: tuple[Kind, ...]
) -> Iterator[tuple[Sequence, tuple[str, ...]]]:
    cameras = {subject: archive.cameras_of(subject) for subject in SUBJECTS}
    for sequence in sequences():
        if sequence in wanted or sequence.camera not in cameras[sequence.subject]:
            continue
        there = [kind for kind in POSE_KINDS if archive.has(sequence, kind)]
        if there:
            lacking = [kind.value for kind in needs if kind not in there]
            if Kind.WORLD not in there and Kind.CAMERA not in there and Kind.WORLD not in needs:
                lacking.append(f"{Kind.WORLD.value} or {Kind.CAMERA.value}")
            yield sequence, tuple(lacking)


def _metadata_lines(archive: RawArchive) -> list[str]:
    if archive.metadata is None:
        return []
    try:
        differences = metadata_differences(archive.metadata)
    except H36MError as error:
        return [f"not compared with the built-in tables: {error}"]
    return [f"{archive.metadata} differs from the built-in tables, which are used: {line}" for line in differences]


def _gaps(archive: RawArchive, posed: list[Sequence]) -> Iterator[str]:
    """What a partial data set does not have."""
    present = {sequence.subject for sequence in posed}
    absent = [subject for subject in SUBJECTS if subject not in present]
    if absent:
        yield f"not in {archive.root}: {', '.join(absent)}"
    for subject in (subject for subject in SUBJECTS if subject in present):
        recordings = len({sequence.recording for sequence in posed if sequence.subject == subject})
        cameras = {sequence.camera for sequence in posed if sequence.subject == subject}
        lacking = [camera for camera in CAMERA_IDS if camera not in cameras]
        parts = [f"{recordings} of {_RECORDINGS} recordings"] if recordings < _RECORDINGS else []
        parts += [f"no poses of camera {', '.join(lacking)}"] if lacking else []
        if parts:
            yield f"{subject}: {'; '.join(parts)}"


def _derived_lines(files: list[PoseFiles]) -> Iterator[str]:
    for kind, names in derived_kinds(files).items():
        which = names[0] if len(names) == 1 else f"{len(names)} sequences ({names[0]}, ...)"
        yield f"{which}: {kind} is not there; derived with the built-in cameras"
