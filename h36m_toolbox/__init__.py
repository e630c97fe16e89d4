"""Prepare Human3.6M and benchmark 3D human pose models on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from h36m_toolbox.cameras import Camera
    from h36m_toolbox.errors import H36MError
    from h36m_toolbox.labels import read_labels
    from h36m_toolbox.raw.archive import RawArchive

__version__ = "0.1.0"
__all__ = ["Camera", "H36MError", "RawArchive", "__version__", "read_labels"]

_HOMES = {
    "Camera": "h36m_toolbox.cameras",
    "H36MError": "h36m_toolbox.errors",
    "RawArchive": "h36m_toolbox.raw.archive",
    "read_labels": "h36m_toolbox.labels",
}


def __getattr__(name: str) -> Any:  # numpy and pyarrow are imported when first needed: `h36m --help` is instant
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
