"""What every measurement keeps beside its numbers: machine, versions, commit, date."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from h36m_toolbox.storage.files import written_whole

RESULTS = Path(__file__).parents[1] / "results"


def keep_evidence(name: str, measured: dict[str, Any], libraries: tuple[str, ...]) -> Path:
    """Write `benchmarks/results/<name>.json`: what was measured, then where and with what."""
    path = RESULTS / f"{name}.json"
    where = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {_processor()}",
        "versions": {"python": platform.python_version(), **{library: version(library) for library in libraries}},
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps({**measured, **where}, indent=1) + "\n")
    return path


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
