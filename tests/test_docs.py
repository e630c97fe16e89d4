"""The documentation against the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from h36m_toolbox.benchmarks.protocols import PROTOCOLS
from h36m_toolbox.benchmarks.reports import FIGURES
from h36m_toolbox.benchmarks.standings.leaderboard import COLUMNS
from h36m_toolbox.cli import main
from h36m_toolbox.formats.registry import FORMATS
from h36m_toolbox.frames.extraction import JPEG_QUALITY
from h36m_toolbox.frames.manifests import ImageManifest
from h36m_toolbox.frames.plans import CROP_RULES
from h36m_toolbox.frames.stores import LAYOUTS
from h36m_toolbox.frames.undistortion import UNDISTORTED_QUALITY
from h36m_toolbox.labels import LABEL_SCHEMA
from h36m_toolbox.limb_lengths import SELECTIONS
from h36m_toolbox.mpi_inf_3dhp.preparation import FORMATS as MPI_INF_3DHP_FORMATS
from h36m_toolbox.skeletons import H36M_17, SH_16

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DATASETS = (ROOT / "datasets.md").read_text()


@pytest.mark.parametrize("name", main.commands)
def test_every_command_says_what_it_does_and_stands_in_the_readme(name: str) -> None:
    assert main.commands[name].help
    assert f"h36m {name}" in README


def test_the_readme_names_no_command_or_option_that_does_not_exist() -> None:
    for line in re.findall(r"(?:`|    )h36m ([^`\n]*)", README):
        words = line.split("#")[0].split()
        assert words[0] in main.commands, line
        options = {option for param in main.commands[words[0]].params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_options_that_repeat_a_value_of_the_library_agree_with_it() -> None:
    options = {param.name: param for param in main.commands["extract"].params}
    assert options["quality"].show_default == f"{JPEG_QUALITY}; undistorted and crops {UNDISTORTED_QUALITY}"
    assert tuple(options["crop"].type.choices) == tuple(CROP_RULES)
    assert tuple(options["layout"].type.choices) == LAYOUTS
    assert f"quality {JPEG_QUALITY} by default" in DATASETS
    (formats,) = (param for param in main.commands["labels"].params if param.name == "formats")
    assert tuple(formats.type.choices) == tuple(dict.fromkeys((*FORMATS, *MPI_INF_3DHP_FORMATS)))
    (selection,) = (param for param in main.commands["stats"].params if param.name == "selection")
    assert tuple(selection.type.choices) == SELECTIONS


@pytest.mark.parametrize("column", LABEL_SCHEMA.names)
def test_every_label_column_is_documented(column: str) -> None:
    assert f"`{column}`" in DATASETS


def test_every_other_column_and_key_is_documented() -> None:
    for name in (*COLUMNS, *FIGURES, *(field.name for field in fields(ImageManifest))):
        assert f"`{name}`" in DATASETS, name


def test_every_pickle_key_is_documented(prepared: Path) -> None:
    from h36m_toolbox.storage.safe_pickle import read_plain_pickle

    for format_ in ("toolbox", "poseformer"):
        for key in read_plain_pickle(prepared / "labels" / format_ / "h36m_train.pkl")[0]:
            assert f"`{key}`" in DATASETS, key


def test_joint_orders_are_those_of_the_code() -> None:
    flowing = " ".join(DATASETS.split())
    assert ", ".join(H36M_17.joints) in flowing
    assert ", ".join(SH_16.joints) in flowing


def test_every_format_is_documented() -> None:
    for format_ in FORMATS:
        assert f"DATA/labels/{format_}/" in DATASETS


def test_no_protocol_is_called_by_a_number() -> None:
    assert not [name for name in PROTOCOLS if re.search(r"protocol|p\d", name)]


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_for_a_stranger_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)
    assert f"make {target}" in README.split("\n## ")[0]
