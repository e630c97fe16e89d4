"""Small valid files of every kind that the readers take from strangers, and pickles that mean harm."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from h36m_toolbox.pose_tables import PoseField, sequence_table, table_schema
from h36m_toolbox.raw.cdf import write_pose_cdf
from h36m_toolbox.sequences import CAMERA_IDS, sequences
from h36m_toolbox.skeletons import H36M_17

POSES = np.linspace(-900, 900, 2 * 32 * 3, dtype=np.float32).reshape(2, 32, 3)
POSITIONS = {"S1": {"Walking": [POSES[:, :17, :2] for _ in CAMERA_IDS], "Walking 1": [None, POSES[:, :17, :2]]}}
TOUCHED = "H36M_FUZZ_TOUCHED"  # a file of this name is made by whatever executes a harmful pickle


def content_of(write: Callable[[Path], object], suffix: str) -> bytes:
    """What a function writes to a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()


def cdf_files() -> list[bytes]:
    return [
        content_of(lambda path: write_pose_cdf(path, POSES), ".cdf"),
        content_of(lambda path: write_pose_cdf(path, POSES[:1]), ".cdf"),
    ]


def npz_files() -> list[bytes]:
    metadata = {"num_joints": 17, "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]]}
    values = {"positions_2d": np.array(POSITIONS, dtype=object), "metadata": np.array(metadata, dtype=object)}
    packed, plain = io.BytesIO(), io.BytesIO()
    np.savez_compressed(packed, **values)
    np.savez(plain, **values, numbers=POSES)
    harmful = [_object_npz(content) for content in harmful_pickles()]
    return [packed.getvalue(), plain.getvalue(), plain.getvalue(), *harmful]


def _object_npz(pickled: bytes) -> bytes:
    """An npz whose object array is this pickle."""
    member, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|O", "fortran_order": False, "shape": ()})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("positions_2d.npy", member.getvalue() + pickled)
    return file.getvalue()


class Runs:
    """Its pickle runs something when it is read by somebody careless."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def harmful_pickles() -> list[bytes]:
    """Code by every opcode that can name it, bombs, and recursion."""
    touch = f"touch {TOUCHED}"
    by_class = [pickle.dumps(Runs(os.system, touch), protocol) for protocol in range(6)]
    by_eval = [pickle.dumps({"positions_2d": Runs(eval, f"open({TOUCHED!r}, 'w')")}, protocol) for protocol in (2, 4)]
    command = touch.encode()
    by_hand = [
        b"cos\nsystem\n(S'" + command + b"'\ntR.",
        b"(S'" + command + b"'\nios\nsystem\n.",
        b"\x80\x02cos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command + b"\x85R.",
        b"(cos\nsystem\nS'" + command + b"'\no.",
        b"cnumpy\nndarray\n)\x81}(S'__class__'\ncos\nsystem\nsb.",  # state that is not an array's
        b"cnumpy\nndarray\n(J\xff\xff\xff\x7ft\x81.",  # an array of 16 GB
        b"cnumpy\nndarray\n((J\xff\xff\xff\x7fJ\xff\xff\xff\x7ftS'f8'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\xff\xff\xff\x7ftS'd'\ntR.",
        b"cnumpy\nndarray\n(S'x'\ntR0" + b"c__builtin__\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'x'\ntR.",
        b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a frame of 2**63 bytes
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.",  # a bytearray of 2**60
        b"r\xff\xff\xff\x7f" + b"N" + b"r\xff\xff\xff\x7f.",  # a memo of 2**31 places
        b"I1\n" + b"\x85" * 100_000 + b".",  # tuples in tuples in tuples
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b"}" + b"I1\n" + b"\x85" * 100_000 + b"Ns.",  # and as the key of a dict, which is hashed
        b"]" + b"q\x00(h\x00h\x00e" + b"".join(_doubled(n, b"l") for n in range(1, 60)) + b".",
        b"}" + b"I1\nq\x00" + b"".join(_doubled(n, b"t") for n in range(1, 60)) + b"Ns.",
    ]
    return by_class + by_eval + by_hand


def _doubled(number: int, build: bytes) -> bytes:
    """Twice what memo `number - 1` holds, as memo `number`."""
    before = b"h" + bytes([number - 1])
    return b"0(" + before + before + build + b"q" + bytes([number])


def pickles() -> list[bytes]:
    records = [{"image": "a/b.jpg", "joints_3d": POSES[0], "center": (1.0, np.float64(2)), "subject": 1}] * 2
    plain = [pickle.dumps(records, protocol) for protocol in (0, 2, 4, 5)]
    python_2 = b"(dp0\nS'\\xe9'\np1\nI1\nsVname\np2\nS'text'\np3\ns."
    return [*plain, *plain, python_2, *harmful_pickles()]


def _tar(members: dict[str, bytes], mode: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def tars() -> list[bytes]:
    members = {f"S1/MyPoseFeatures/D3_Positions/{name}.cdf": b"x" * 700 for name in ("Walking", "Walking 1")}
    outside = {"../../S1/MyPoseFeatures/D3_Positions/Walking.cdf": b"x", "/S1/Videos/Walking.54138969.mp4": b"x"}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("S1/MyPoseFeatures/D3_Positions/Walking.cdf")
            member.type, member.linkname = kind, "../../../../outside"
            tar.addfile(member)
    return [_tar(members, "w"), _tar(members, "w:gz"), _tar({**members, **outside}, "w"), content.getvalue()]


def _hourglass_members() -> dict[str, bytes]:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["poses"] = POSES[:, :16, :2]
    return {f"S1/StackedHourglass/Walking.{camera}.h5": content.getvalue() for camera in CAMERA_IDS[:2]}


def hourglass_tars() -> list[bytes]:
    return [_tar(_hourglass_members(), "w"), _tar(_hourglass_members(), "w:gz")]


def hourglass_zips() -> list[bytes]:
    files = []
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", compression) as archive:
            for name, data in _hourglass_members().items():
                archive.writestr(f"h36m/{name}", data)
        files.append(content.getvalue())
    return files


def mask_files() -> list[bytes]:
    def write(path: Path, **storage: object) -> None:
        mask = np.zeros((100, 80), np.uint8)
        mask[20:50, 30:60] = 1
        with h5py.File(path, "w", userblock_size=512) as file:
            references = np.empty((2, 1), h5py.ref_dtype)
            for i in range(2):
                references[i, 0] = file.create_dataset(f"#refs#/m{i}", data=mask, **storage).ref
            file.create_dataset("Masks", data=references, dtype=h5py.ref_dtype)

    return [
        content_of(write, ".mat"),
        content_of(lambda path: write(path, chunks=(50, 80), compression="gzip"), ".mat"),
        content_of(lambda path: write(path, chunks=(13, 9), compression="gzip"), ".mat"),
    ]


def parquet_files() -> list[bytes]:
    schema = table_schema((PoseField("joints_2d", H36M_17, 2, "px", "image"),))
    table = sequence_table(sequences()[0], np.arange(2), {"joints_2d": POSES[:, :17, :2]}, schema)
    columns = {f"{axis}_{joint}": [1.0, 2.0] for joint in H36M_17.joints for axis in "xy"}
    flat = pa.table({**{name: table.column(name) for name in table.column_names[:5]}, **columns})
    return [
        content_of(lambda path: pq.write_table(table, path), ".parquet"),
        content_of(lambda path: pq.write_table(table, path, compression="zstd"), ".parquet"),
        content_of(lambda path: pq.write_table(flat, path, compression="none"), ".parquet"),
    ]
