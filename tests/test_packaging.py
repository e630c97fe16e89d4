"""The packaging as the design has it: one import name, two links, a wheel that lists every sub-package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")


DATA_ROOM = ROOT / "h36m_toolbox"
ROOMS = ("models", "benchmarks")  # which links lead to


def folders_with_modules(room: Path) -> list[Path]:
    """A room's folder and those below it, the links to other rooms not followed."""
    found = [room, *(folder for folder in room.rglob("*") if folder.relative_to(room).parts[0] not in ROOMS)]
    return [folder for folder in found if (folder / "__init__.py").is_file()]


def setuptools_table() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_folder_with_modules_is_listed_as_a_package() -> None:
    folders = [folder for room in ("h36m_toolbox", *ROOMS) for folder in folders_with_modules(ROOT / room)]
    names = [folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders]
    found = {name if name.startswith("h36m_toolbox") else f"h36m_toolbox.{name}" for name in names}
    assert set(setuptools_table()["packages"]) == found


@pytest.mark.parametrize("room", ["models", "benchmarks"])
def test_the_links_lead_to_the_rooms(room: str) -> None:
    link = ROOT / "h36m_toolbox" / room
    assert link.is_symlink()
    assert link.readlink() == Path("..") / room


def test_the_data_room_imports_neither_torch_nor_a_higher_room() -> None:
    files = [path for folder in folders_with_modules(DATA_ROOM) for path in folder.glob("[a-z]*.py")]
    places = [path.relative_to(DATA_ROOM).with_suffix("") for path in files]
    doors = ("cli", "commands")  # which see every room
    modules = sorted(".".join(place.parts) for place in places if place.parts[0] not in doors)
    code = (
        f"import sys, importlib\n"
        f"for module in {modules}:\n"
        f"    importlib.import_module('h36m_toolbox.' + module)\n"
        f"higher = ('torch', 'h36m_toolbox.models', 'h36m_toolbox.benchmarks')\n"
        f"print([module for module in sys.modules if module.startswith(higher)])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_models_import_no_judge() -> None:
    for path in (ROOT / "models").rglob("*.py"):
        assert "h36m_toolbox.benchmarks" not in path.read_text(), path


def test_help_needs_no_heavy_import() -> None:
    code = "import sys, h36m_toolbox.cli; print({'numpy', 'pyarrow', 'torch', 'pandas', 'cv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_public_names_of_the_contract_are_there() -> None:
    from h36m_toolbox import Camera, RawArchive, read_labels
    from h36m_toolbox.benchmarks import metrics
    from h36m_toolbox.models import create_model, list_models, load_weights

    for name in (Camera, RawArchive, read_labels, create_model, list_models, load_weights, metrics.mpjpe):
        assert name.__doc__
