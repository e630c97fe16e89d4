"""What several tests stand on: the reduced synthetic archive of the goldens, and a DATA folder prepared from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from h36m_toolbox.cli import main

DATAPREP = Path(__file__).parent / "data" / "dataprep"


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Outputs of the official preparation scripts on the reduced archive (S1 and S9, Walking)."""
    return DATAPREP / "golden"


@pytest.fixture(scope="session")
def archives_folder() -> Path:
    """The reduced archive as downloaded: one .tgz a kind and subject."""
    return DATAPREP / "archives"


@pytest.fixture(scope="session")
def third_party_folder() -> Path:
    """CPN and hourglass detections of the reduced archive, in their authors' formats."""
    return DATAPREP / "third_party"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, archives_folder: Path, third_party_folder: Path) -> Path:
    """A DATA folder made from the reduced archive by the commands a user types; tests only read it."""
    data = tmp_path_factory.mktemp("prepared")
    cpn = third_party_folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    sh = third_party_folder / "stacked_hourglass_fined_tuned_240.tar.gz"
    for command in (
        ["extract", archives_folder, "--out", data, "--jobs", "2"],
        ["detections", archives_folder, "--out", data, "--cpn", cpn, "--sh", sh],
        ["labels", archives_folder, "--out", data, "--jobs", "1"]
        + [word for name in ("parquet", "toolbox", "poseformer") for word in ("--format", name)],
    ):
        result = CliRunner().invoke(main, [str(word) for word in command])
        assert result.exit_code == 0, result.output
    return data


@pytest.fixture(scope="session")
def unpacked(prepared: Path) -> Path:
    """The reduced archive unpacked, as the original's folders: S1/MyPoseFeatures/..., S1/Videos/..."""
    return prepared / "raw"
