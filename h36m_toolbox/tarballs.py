"""The `.tgz` archives as the official site serves them: recognised by content, unpacked without trusting them."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from h36m_toolbox.errors import H36MError
from h36m_toolbox.files import written_whole

_DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error)


def is_tarball(path: Path) -> bool:
    """Whether a file's name says that it is a compressed tar archive."""
    return path.name.endswith((".tgz", ".tar.gz"))


def member_names(path: Path) -> Iterator[str]:
    """Names of the regular files in an archive, in order, read lazily; H36MError where the archive is damaged."""
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if member.isfile():
                    yield member.name
    except _DAMAGE as error:
        raise _damaged(path, error) from error


@dataclass(frozen=True)
class Unpacked:
    """What `unpack` did with one archive."""

    written: int
    kept: int
    skipped: tuple[str, ...]  # members that are no pose file or video, or not regular files


def unpack(path: Path, into: Path, place: Callable[[str], Path | None]) -> Unpacked:
    """Write an archive's regular files below `into`, each where `place(member name)` says (None: leave out).

    Only relative places without `..` are accepted, links and devices are never made, a file already there with the
    right size is kept, and each file arrives whole, so an interrupted unpacking continues. A note of what was unpacked
    is left below `into`, so that an archive whose files are all there is not read again.
    """
    note = into / f".{path.name}.unpacked.json"
    noted = _noted_files(note, path)
    if noted and all((into / place).is_file() and (into / place).stat().st_size == n for place, n in noted.items()):
        return Unpacked(0, len(noted), ())
    files: dict[str, int] = {}
    written, skipped = 0, []
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                target = place(member.name) if member.isfile() else None
                if target is None:
                    if not member.isdir():
                        skipped.append(member.name)
                    continue
                if target.is_absolute() or ".." in target.parts:
                    raise H36MError(
                        f"{path}: member {member.name} would leave the target folder; get the archive again"
                    )
                final = into / target
                files[target.as_posix()] = member.size
                if not final.is_file() or final.stat().st_size != member.size:
                    _write_member(tar, member, final)
                    written += 1
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    with written_whole(note) as temporary:
        temporary.write_text(json.dumps({"archive": _identity(path), "files": files}, indent=1))
    return Unpacked(written, len(files) - written, tuple(skipped))


def _noted_files(note: Path, path: Path) -> dict[str, int]:
    """Places and sizes of what an earlier call unpacked from this very archive; empty where there was none."""
    try:
        known = json.loads(note.read_text())
        return dict(known["files"]) if known["archive"] == _identity(path) else {}
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return {}


def _identity(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, final: Path) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise tarfile.TarError(f"member {member.name} has no content")
    with written_whole(final) as temporary, temporary.open("wb") as target:
        while block := source.read(1 << 20):
            target.write(block)


def _damaged(path: Path, error: Exception) -> H36MError:
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return H36MError(f"{path}: is a web page, not an archive; your login had expired: log in and download it again")
    return H36MError(f"{path}: truncated or no tar archive ({error}); download it again")
