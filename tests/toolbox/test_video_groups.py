"""Some frames of a video: the right ones, to the last bit those of a full decode, without decoding the others."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from h36m_toolbox.errors import H36MError
from h36m_toolbox.frames import video_groups
from h36m_toolbox.frames.video_groups import chosen_frames
from h36m_toolbox.frames.videos import decoded_frames
from h36m_toolbox.sequences import Sequence
from h36m_toolbox.synthetic.video import BarCode, draw_bar_code, read_bar_code

VIEW = Sequence("S1", "Walking", 1, "54138969")
FRAMES, GROUP = 90, 12
SIZE = (320, 64)  # width, height, px


@dataclass(frozen=True)
class Coding:
    file: str
    codec: str
    options: dict[str, str]
    b_frames: int


CODINGS = {
    "H.264, closed groups": Coding("closed.mp4", "libx264", {"x264-params": "open-gop=0"}, 3),
    "H.264, open groups": Coding("open.mp4", "libx264", {"x264-params": "open-gop=1:b-pyramid=normal"}, 3),
    "H.264 without an index": Coding("open.ts", "libx264", {"x264-params": "open-gop=1"}, 3),
    "MPEG-4": Coding("mpeg4.mp4", "mpeg4", {"sc_threshold": "1000000000"}, 2),
    "MPEG-4, no B-frames": Coding("plain.avi", "mpeg4", {"sc_threshold": "1000000000"}, 0),
}


def encode(path: Path, coding: Coding) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0] + FRAMES), np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream(coding.codec, rate=50, options={"threads": "1", **coding.options})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = GROUP
        stream.codec_context.max_b_frames = coding.b_frames
        for number in range(FRAMES):
            image = noise[:, number : number + SIZE[0], None].repeat(3, axis=2) // 2 + 64
            draw_bar_code(image, BarCode(VIEW, number))
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    for coding in CODINGS.values():
        encode(folder / coding.file, coding)
    return {name: folder / coding.file for name, coding in CODINGS.items()}


@pytest.fixture(scope="module")
def decoded(videos: dict[str, Path]) -> dict[str, list[np.ndarray]]:
    """All frames by a full decode."""
    return {name: [frame.to_ndarray() for frame in decoded_frames(path)] for name, path in videos.items()}


class Decoders:
    """Counts full decodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = 0
        real = video_groups.decoded_frames

        def counting(path: Path) -> object:
            self.full += 1
            return real(path)

        monkeypatch.setattr(video_groups, "decoded_frames", counting)


def check(path: Path, wanted: Container[int], truth: list[np.ndarray]) -> None:
    items = list(chosen_frames(path, wanted))
    assert [number for number, item in enumerate(items) if item is not None] == [
        n for n in range(FRAMES) if n in wanted
    ]
    assert len(items) == len(truth) == FRAMES
    for number, item in enumerate(items):
        if item is not None:
            assert read_bar_code(item.to_ndarray(format="gray")) == BarCode(VIEW, number)
            np.testing.assert_array_equal(item.to_ndarray(), truth[number])


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("step", [1, 5, 64])
def test_every_nth_frame_is_that_of_a_full_decode(
    videos: dict[str, Path], decoded: dict[str, list[np.ndarray]], name: str, step: int
) -> None:
    check(videos[name], range(0, 10**9, step), decoded[name])


@pytest.mark.parametrize("name", CODINGS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.frozensets(st.integers(0, FRAMES - 1), max_size=6))
def test_any_choice_of_frames_is_that_of_a_full_decode(
    videos: dict[str, Path], decoded: dict[str, list[np.ndarray]], name: str, wanted: frozenset[int]
) -> None:
    check(videos[name], wanted, decoded[name])


@pytest.mark.parametrize("name", CODINGS)
def test_only_groups_with_a_wanted_frame_are_decoded(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    decoders = Decoders(monkeypatch)
    passed: list[range] = []
    real = video_groups._decoded_run

    def spying(container: object, index: object, run: video_groups._Run) -> object:
        passed.append(run.packets)
        return real(container, index, run)

    monkeypatch.setattr(video_groups, "_decoded_run", spying)
    assert sum(frame is not None for frame in chosen_frames(videos[name], {0, 40})) == 2
    assert decoders.full == 0
    assert len(passed) == 2
    assert sum(len(packets) for packets in passed) <= 1 + 2 * GROUP


@pytest.mark.parametrize("name", ["H.264, closed groups", "H.264, open groups", "MPEG-4"])
def test_pictures_that_no_other_refers_to_are_not_decoded(
    videos: dict[str, Path], decoded: dict[str, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    came: list[int] = []
    real = video_groups._Ordered.put

    def spying(self: video_groups._Ordered, frames: list[av.VideoFrame]) -> object:
        came.extend(self._frame_at[frame.pts] for frame in frames if frame.pts is not None)
        return real(self, frames)

    monkeypatch.setattr(video_groups._Ordered, "put", spying)
    wanted = 4 * GROUP - 2  # at the end of a group whose other pictures are predicted from each other, or are not
    frames = [frame for frame in chosen_frames(videos[name], {wanted}) if frame is not None]
    np.testing.assert_array_equal(frames[0].to_ndarray(), decoded[name][wanted])
    with av.open(videos[name]) as container:
        kinds = [frame.pict_type for frame in container.decode(video=0)]
    group = range(3 * GROUP, wanted + 1)
    assert PictureType.B in [kinds[number] for number in group]
    assert wanted in came
    assert len(came) < len(group) - 2
    assert all(number in came for number in group if kinds[number] != PictureType.B)


def test_nothing_wanted_still_counts_the_frames(videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = Decoders(monkeypatch)
    assert list(chosen_frames(videos["H.264, open groups"], frozenset())) == [None] * FRAMES
    assert decoders.full == 0


def test_a_video_that_is_refreshed_bit_by_bit_has_no_key_frames_and_is_decoded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "refreshed.ts"
    encode(path, Coding(path.name, "libx264", {"x264-params": "intra-refresh=1"}, 0))
    truth = [frame.to_ndarray() for frame in decoded_frames(path)]
    decoders = Decoders(monkeypatch)
    check(path, {50, 51}, truth)
    assert decoders.full == 1


def test_a_video_without_times_is_decoded_whole(
    videos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "raw.h264"
    with av.open(videos["H.264, closed groups"]) as old, av.open(path, "w", format="h264") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    truth = [frame.to_ndarray() for frame in decoded_frames(path)]
    decoders = Decoders(monkeypatch)
    check(path, {3, 50}, truth)
    assert decoders.full == 1


def test_a_video_whose_end_is_missing_tells_as_a_full_decode_does(videos: dict[str, Path], tmp_path: Path) -> None:
    for name, path in videos.items():
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        ends = []
        for wanted in (range(FRAMES), range(0, FRAMES, 7)):
            items, problem = 0, ""
            try:
                for _ in chosen_frames(cut, wanted):
                    items += 1
            except H36MError as error:
                problem = str(error)
            ends.append((items, problem))
        assert ends[0] == ends[1], name
