"""Where a run took place: versions, machine, the commit of h36m, the command as it was typed."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h36m_toolbox
from h36m_toolbox import __version__
from h36m_toolbox.errors import H36MError

_LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "torch", "h5py", "cdflib", "av", "opencv-python-headless")


@dataclass(frozen=True)
class Environment:
    """What ran, on what and when asked how; `request` identifies the run: equal requests, equal predictions."""

    h36m_version: str
    git_commit: str  # of the checkout that h36m was run from, "-dirty" with uncommitted changes; "" of an installed one
    python: str
    platform: str
    libraries: dict[str, str]  # name: version, of those that a figure depends on
    device: str
    arguments: tuple[str, ...]  # of the command line, as given; none where a program called the library
    data: str  # the prepared folder
    request: dict[str, Any]

    def to_json(self) -> str:
        """For `environment.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"


def present_environment(device: str, arguments: tuple[str, ...], data: Path, request: dict[str, Any]) -> Environment:
    """That of this process."""
    return Environment(
        h36m_version=__version__,
        git_commit=_commit_of(Path(h36m_toolbox.__file__).parent),
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=_versions(),
        device=device,
        arguments=arguments,
        data=str(data.absolute()),
        request=json.loads(json.dumps(request)),  # as it comes back from the file: tuples are lists
    )


def read_environment(path: Path) -> Environment:
    """The record in an `environment.json`; an H36MError where it is none of this version."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return Environment(**{**record, "arguments": tuple(record["arguments"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise H36MError(f"{path}: no environment of a run ({error}); run the model again") from error


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit_of(folder: Path) -> str:
    """The commit of the checkout that this folder belongs to; "" where it is not under version control itself."""
    git = ["git", "--no-optional-locks", "-C", str(folder)]
    tracked = _output([*git, "ls-files", "--error-unmatch", "__init__.py"])
    return _output([*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]) if tracked else ""


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, no checkout
        return ""
