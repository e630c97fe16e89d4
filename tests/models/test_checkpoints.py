"""Checkpoints of every layout load, and nothing in them is ever run."""

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fill_weights import fill
from torch import nn

from h36m_toolbox.errors import H36MError
from h36m_toolbox.models import create_model, load_weights
from h36m_toolbox.models.checkpoints import read_checkpoint

PYTHON_2_IDS = (140234567890123, 140234567890456)


@pytest.fixture
def model() -> nn.Module:
    return fill(create_model("semgcn", non_local=True, hid_dim=8, num_layers=1))


@pytest.fixture
def fresh() -> nn.Module:
    return create_model("semgcn", non_local=True, hid_dim=8, num_layers=1)


def official_content(model: nn.Module) -> dict:
    """The layout of the released SemGCN checkpoint."""
    moments = {"step": 5, "exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.full((2, 3), 2.0)}
    groups = [{"params": list(PYTHON_2_IDS), "lr": 1e-3, "betas": (0.9, 0.999)}]
    return {
        "epoch": 39,
        "step": 950508,
        "lr": 6.925339958244801e-4,
        "error": 42.32632323957809,
        "state_dict": OrderedDict(model.state_dict()),
        "optimizer": {"state": {PYTHON_2_IDS[0]: moments}, "param_groups": groups},
    }


def written_by_python_2(content: object) -> bytes:
    """A checkpoint in the old format as Python 2 wrote it: long-lived ids as opcode INT, names as byte strings."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False, pickle_protocol=2)
    saved = file.getvalue()
    file.seek(0)
    rewritten = b""
    for _ in range(5):  # magic number, protocol, system, content, storage keys
        steps = list(pickletools.genops(file))
        ends = [position for _, _, position in steps[1:]] + [file.tell()]
        for (opcode, value, start), end in zip(steps, ends, strict=True):
            if opcode.name == "LONG1" and value < 2**63:
                rewritten += b"I%d\n" % value
            elif opcode.name == "BINUNICODE" and len(value) < 256:
                rewritten += b"U" + bytes([len(value)]) + value.encode()
            else:
                rewritten += saved[start:end]
    return rewritten + saved[file.tell() :]


def assert_same_weights(left: nn.Module, right: nn.Module) -> None:
    assert list(left.state_dict()) == list(right.state_dict())
    for name, values in left.state_dict().items():
        assert torch.equal(values, right.state_dict()[name]), name


def test_a_checkpoint_written_by_python_2_loads_although_weights_only_refuses_it(
    tmp_path: Path, model: nn.Module, fresh: nn.Module
) -> None:
    path = tmp_path / "ckpt_semgcn.pth.tar"
    path.write_bytes(written_by_python_2(official_content(model)))
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand 73"):
        torch.load(path, weights_only=True)
    checkpoint = load_weights(fresh, path)
    assert_same_weights(fresh, model)
    assert checkpoint.weights_key == "state_dict"
    assert checkpoint.values == {
        "epoch": 39,
        "step": 950508,
        "lr": 6.925339958244801e-4,
        "error": 42.32632323957809,
    }


def test_tensors_that_share_a_storage_come_out_of_the_old_format_as_they_were(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    path = tmp_path / "shared.pth"
    path.write_bytes(written_by_python_2({"state_dict": {"rows": base[1:], "turned": base.T}, "ids": PYTHON_2_IDS[0]}))
    weights = read_checkpoint(path).state_dict
    assert torch.equal(weights["rows"], base[1:])
    assert torch.equal(weights["turned"], base.T)


LAYOUTS: dict[str, Callable[[nn.Module], object]] = {
    "dict with state_dict": official_content,
    "dict with model": lambda model: {"model": model.state_dict(), "epoch": 3},
    "bare state dict": lambda model: model.state_dict(),
    "from DataParallel": lambda model: {"state_dict": nn.DataParallel(model).state_dict()},
    "non_local for nonlocal": lambda model: {
        name.replace("nonlocal", "non_local"): values for name, values in model.state_dict().items()
    },
    "before PyTorch 0.4.1": lambda model: {
        name: values for name, values in model.state_dict().items() if not name.endswith("num_batches_tracked")
    },
}


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_official_layouts_load(
    layout: str, zip_format: bool, tmp_path: Path, model: nn.Module, fresh: nn.Module
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(LAYOUTS[layout](model), path, _use_new_zipfile_serialization=zip_format)
    load_weights(fresh, path)
    assert_same_weights(fresh, model)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>", b"hello world\n", pickle.dumps({"a": 1}, 2)])
def test_files_that_are_no_checkpoints_are_told_apart(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(H36MError, match=r"weights\.pth: .*expected .*download it again"):
        read_checkpoint(path)


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_truncated_checkpoints_are_told_apart(kept: float, zip_format: bool, tmp_path: Path, model: nn.Module) -> None:
    path = tmp_path / "weights.pth"
    torch.save(official_content(model), path, _use_new_zipfile_serialization=zip_format)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(H36MError, match="damaged"):
        read_checkpoint(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(H36MError, match=r"no\.pth: cannot be read"):
        read_checkpoint(tmp_path / "no.pth")
    with pytest.raises(H36MError, match="cannot be read"):
        read_checkpoint(tmp_path)


def test_a_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "labels.pth"
    torch.save({"poses": torch.zeros(3), "epoch": 4}, path)
    with pytest.raises(
        H36MError, match=r"expected a state dict or a dict with state_dict .* found a dict with poses, epoch"
    ):
        read_checkpoint(path)


class _WritesAFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


WAYS: dict[str, Callable[[object, Path], object]] = {
    "zip": torch.save,
    "old format": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "old format of Python 2": lambda content, path: path.write_bytes(written_by_python_2(content)),
    "bare pickle": lambda content, path: path.write_bytes(pickle.dumps(content["evil"], 2)),
}


@pytest.mark.parametrize("way", WAYS)
def test_code_in_a_checkpoint_is_never_run(way: str, tmp_path: Path, model: nn.Module) -> None:
    path, sentinel = tmp_path / "weights.pth", tmp_path / "sentinel"
    WAYS[way]({**official_content(model), "evil": _WritesAFile(sentinel)}, path)
    with pytest.raises(H36MError, match=r"weights\.pth: refused, because loading it would run \w*io\.open"):
        read_checkpoint(path)
    assert not sentinel.exists()


def test_the_old_format_cannot_claim_more_memory_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    honest = written_by_python_2({"state_dict": {"w": torch.zeros(1000)}, "ids": PYTHON_2_IDS[0]})
    count = b"M\xe8\x03"  # opcode BININT2, 1000
    assert honest.count(count) >= 1
    path.write_bytes(honest.replace(count, b"J\xff\xff\xff\x7f"))
    with pytest.raises(H36MError, match="larger than the file"):
        read_checkpoint(path)


def test_weights_that_do_not_fit_are_named_and_leave_the_model_alone(tmp_path: Path, model: nn.Module) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    plain = fill(create_model("semgcn", hid_dim=16, num_layers=2))
    before = {name: values.clone() for name, values in plain.state_dict().items()}
    with pytest.raises(H36MError) as refusal:
        load_weights(plain, path)
    message = str(refusal.value)
    assert "weights.pth: the weights do not fit SemGCN" in message
    assert "16 missing: gconv_layers.1.gconv1.gconv.W" in message
    assert "28 unexpected: gconv_input.1.nonlocal.g.0.weight" in message
    assert "gconv_input.0.gconv.W (found (2, 2, 8), expected (2, 2, 16))" in message
    assert all(torch.equal(values, before[name]) for name, values in plain.state_dict().items())
