"""Builds the wheel and tries it in an empty environment: run by `make test`, after the suite.

The environment sees the dependencies of the one that runs this, but not the checkout: there `h36m_toolbox` and its
rooms must be importable, the command must answer, and bare `models` and `benchmarks` must not exist.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROBE = """
import importlib.util, h36m_toolbox, h36m_toolbox.models, h36m_toolbox.benchmarks.metrics
from importlib.resources import files
from h36m_toolbox.benchmarks.standings.published import published_figures
from h36m_toolbox.cameras import h36m_cameras
from h36m_toolbox.models.recipe_files import EXPERIMENTS
assert len(h36m_cameras()) == 44
assert len(published_figures()) == 160
assert files("h36m_toolbox.benchmarks").joinpath("page", "report.js").is_file()
assert list(EXPERIMENTS.glob("*.toml"))
assert "site-packages" in h36m_toolbox.__file__, h36m_toolbox.__file__
for name in ("models", "benchmarks", "cli", "tests"):
    assert importlib.util.find_spec(name) is None, f"{name} landed in site-packages"
print("wheel: h36m_toolbox", h36m_toolbox.__version__, "and its rooms import; models, benchmarks, cli, tests do not")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would put what is left there into the wheel
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(place), str(ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (wheel,) = place.glob("*.whl")
        venv.create(place / "venv", with_pip=True)
        python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
        paths = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        )
        # dependencies only: an editable install of the checkout works through .pth files, which a plain path entry
        # of sys.path does not read
        dependencies = sysconfig.get_path("purelib")
        Path(paths.stdout.strip(), "dependencies.pth").write_text(f"import sys; sys.path.append({dependencies!r})\n")
        subprocess.run([python, "-c", PROBE], check=True, cwd=place)
        subprocess.run([python, "-m", "h36m_toolbox", "--version"], check=True, cwd=place)


if __name__ == "__main__":
    main()
