"""What has arrived of a download: `.NAME.part` beside the target and a note of which version of the file it is of."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.files import written_whole

if sys.platform != "win32":
    import fcntl

_BLOCK = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Digests:
    """What a file on disk is."""

    size: int  # bytes
    sha256: str
    md5: str


@dataclass(frozen=True)
class PartNote:
    """Which version of which file a part is of."""

    url: str
    etag: str
    modified: str
    total: int | None  # bytes of the whole

    @property
    def validator(self) -> str:
        """For If-Range, which takes no weak tag."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def is_of(self, other: PartNote) -> bool:
        """Whether two answers spoke of the same version, as far as both said."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.total, other.total))
        return all(mine == theirs for mine, theirs in pairs if mine and theirs)


@contextmanager
def claimed(part: Path) -> Iterator[None]:
    """`part` exists and no other process downloads to it (where the system has file locks); not left behind empty."""
    with part.open("ab") as file:
        if sys.platform == "win32":
            file.close()  # an open file cannot be renamed there
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise H36MError(f"{part}: another process is downloading this file; wait for it") from None
            except OSError as error:
                _log.info("%s: no file locks here (%s)", part, error.strerror)
        try:
            yield
        finally:
            if part.is_file() and not part.stat().st_size:
                part.unlink()
                note_path(part).unlink(missing_ok=True)


def forget(part: Path) -> None:
    """Drop what has arrived."""
    note_path(part).unlink(missing_ok=True)
    with part.open("wb"):
        pass


def note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def read_note(part: Path) -> PartNote | None:
    try:
        return PartNote(**json.loads(note_path(part).read_text("utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_note(part: Path, note: PartNote) -> None:
    with written_whole(note_path(part)) as temporary:
        temporary.write_text(json.dumps(asdict(note)), "utf-8")


def digests_of(path: Path) -> Digests:
    """Both digests in one reading."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            md5.update(block)
            size += len(block)
    return Digests(size, sha256.hexdigest(), md5.hexdigest())
