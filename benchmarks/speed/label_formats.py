"""Seconds, peak memory and size of every label format at the full size of the data set.

    python benchmarks/speed/label_formats.py [--jobs N]

Poses are synthetic, 2,110,396 of them in the original's files. Each command is a whole process; peak memory is that of
its largest process. Evidence goes to benchmarks/results/. Needs 12 GB of disk in the temporary folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from h36m_toolbox.benchmarks.speed.evidence import keep_evidence

# The official scripts' CPU seconds per 1000 views on one thread, from watching them: the pickles' generators.
OFFICIAL_S_PER_1000 = {"labels toolbox": 0.07, "labels poseformer": 2.7}


def measured(arguments: list[str], written: Path) -> dict[str, Any]:
    """Run `h36m` with these arguments: wall and CPU seconds, peak MB of a process, MB of what it wrote."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "h36m_toolbox", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"h36m {' '.join(arguments)} failed")
    size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
    return {
        "wall_s": round(time.perf_counter() - start, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "written_mb": round(size / 1e6),
    }


def main() -> None:
    """Measure, print and keep the evidence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", default="1")
    jobs = ["--jobs", parser.parse_args().jobs]
    with tempfile.TemporaryDirectory() as folder:
        raw, data = Path(folder) / "raw", Path(folder) / "data"
        results = {"synth": measured(["synth", str(raw), "--size", "full", *jobs], raw)}
        detections = ["detections", str(raw), "--out", str(data)]
        results["detections gt"] = measured(detections, data / "detections")
        shutil.copyfile(data / "detections" / "gt.parquet", data / "detections" / "cpn.parquet")
        for name in ("parquet", "toolbox", "poseformer"):
            command = ["labels", str(raw), "--out", str(data), "--format", name, "--without-images", *jobs]
            results[f"labels {name}"] = measured(command, data / "labels" / name)
            if name != "parquet":
                shutil.rmtree(data / "labels" / name)
        results["stats"] = measured(["stats", str(data)], data / "stats")
    for name, values in results.items():
        official = OFFICIAL_S_PER_1000.get(name)
        beside = f"; official about {official * 2110:.0f} CPU s" if official else ""
        print(f"{name:20} {values}{beside}")
    evidence = {"claim": "full size: 2,110,396 poses", "jobs": jobs[1], "results": results}
    keep_evidence("label_formats", evidence, ("pyarrow", "numpy", "cdflib"))


if __name__ == "__main__":
    main()
