"""What several tests stand on: the reduced archive of the goldens, a tiny synthetic one, DATA folders of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic_data import ACTIONS, FRAMES, done

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


@pytest.fixture(scope="session")
def synthetic_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny synthetic archive with detections and without videos: S1, S9 and S11, three actions, eight frames."""
    raw = tmp_path_factory.mktemp("synthetic") / "raw"
    plan = ("--subjects", "S1,S9,S11", "--actions", ",".join(ACTIONS), "--frames", FRAMES, "--no-videos")
    done("synth", raw, *plan, "--jobs", 1)
    return raw


@pytest.fixture(scope="session")
def synthetic_data(synthetic_raw: Path) -> Path:
    """DATA of the tiny archive: the label table, and gt, cpn and sh detections; tests only read it."""
    data = synthetic_raw.parent / "data"
    cpn, sh = (
        synthetic_raw / "detections" / name
        for name in ("data_2d_h36m_cpn_ft_h36m_dbb.npz", "stacked_hourglass_fined_tuned_240.tar.gz")
    )
    done("detections", synthetic_raw, "--out", data, "--cpn", cpn, "--sh", sh)
    done("labels", synthetic_raw, "--out", data, "--jobs", 1)
    return data


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Torch on one thread: these networks are small, and test processes share the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
