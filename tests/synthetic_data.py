"""Commands as a user types them, run in this process, and what every test of a refusal looks for."""

from __future__ import annotations

import hashlib
from pathlib import Path

from click.testing import CliRunner, Result

from h36m_toolbox.cli import main

ACTIONS = ("Directions", "Eating", "Walking")
FRAMES = 8
VIEWS = len(ACTIONS) * 2 * 4  # sequences of one subject


def h36m(*words: object) -> Result:
    """One command, whatever its exit status; an exception that is no clean exit fails the test with its traceback."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*words: object) -> str:
    """What a command that must succeed prints."""
    result = h36m(*words)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    """The message of a command that must end in exit status 1 with nothing but one `Error: ...`."""
    result = h36m(*words)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("Error") == 1
    return result.stderr


def digests(folder: Path) -> dict[str, str]:
    """The content of every file below a folder, hashed, by its place there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class WritesAFile:
    """Unpickled by somebody careless, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")
