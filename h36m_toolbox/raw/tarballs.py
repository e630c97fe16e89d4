"""The `.tgz` archives as the official site serves them, and zip files: unpacked without trusting them."""

from __future__ import annotations

import json
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.files import written_whole

# zipfile names encryption with RuntimeError and an unknown compression with NotImplementedError
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    RuntimeError,
    zlib.error,
    TypeError,
    ValueError,
    OverflowError,
)
_LARGEST_ZIPPED = 1 << 28  # bytes; the longest recording's poses are 5 MB


def is_tarball(path: Path) -> bool:
    """Whether a file's name says that it is a compressed tar archive."""
    return path.name.endswith((".tgz", ".tar.gz"))


def is_zip(path: Path) -> bool:
    """Whether a file's name says that it is a zip archive."""
    return path.suffix.lower() == ".zip"


def is_compressed(path: Path) -> bool:
    """Whether a file starts as gzip does, whatever its name, such as `SubjectSpecific_1.tgz.1` or `filebrowser.php`."""
    if not path.is_file():  # reading a pipe would wait for ever
        return False
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def member_names(path: Path) -> Iterator[str]:
    """Names of the regular files in an archive, in order, read lazily; H36MError where the archive is damaged."""
    try:
        for member in _members(path):
            if member.is_file:
                yield member.name
    except _DAMAGE as error:
        raise _damaged(path, error) from error


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_file: bool  # a regular one: no folder, link or device
    is_folder: bool
    open: Callable[[], IO[bytes] | None]  # None: it has no content


def _members(path: Path) -> Iterator[_Member]:
    return _zip_members(path) if is_zip(path) else _tar_members(path)


def _tar_members(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r|*") as tar:
        for info in tar:
            yield _Member(info.name, info.size, info.isfile(), info.isdir(), partial(tar.extractfile, info))


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16  # of the system that packed it; 0 elsewhere than on Unix
            is_file = not info.is_dir() and stat.S_IFMT(mode) in (0, stat.S_IFREG)
            yield _Member(info.filename, info.file_size, is_file, info.is_dir(), partial(archive.open, info))


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
        for member in _members(path):
            target = place(member.name) if member.is_file else None
            if target is None:
                if not member.is_folder:
                    skipped.append(member.name)
                continue
            _check_member(path, member, target)
            final = into / target
            files[target.as_posix()] = member.size
            if not final.is_file() or final.stat().st_size != member.size:
                _write_member(member, final)
                written += 1
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.filename:  # what is wrong is the place to write to
            raise
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


def _check_member(path: Path, member: _Member, target: Path) -> None:
    if target.is_absolute() or ".." in target.parts:
        raise H36MError(f"{path}: member {member.name} would leave the target folder; get the archive again")
    if is_zip(path) and member.size > _LARGEST_ZIPPED:
        raise H36MError(
            f"{path}: member {member.name} says it has {member.size:,} bytes; expected {_LARGEST_ZIPPED:,} at most"
        )


def _write_member(member: _Member, final: Path) -> None:
    source = member.open()
    if source is None:
        raise tarfile.TarError(f"member {member.name} has no content")
    with source, written_whole(final) as temporary, temporary.open("wb") as target:
        while block := source.read(1 << 20):
            target.write(block)


def _damaged(path: Path, error: Exception) -> H36MError:
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return H36MError(f"{path}: is a web page, not an archive; your login had expired: log in and download it again")
    return H36MError(f"{path}: truncated or no {'zip' if is_zip(path) else 'tar'} archive ({error}); download it again")
