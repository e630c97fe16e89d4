"""Some frames of a video without decoding the others: only groups of pictures that hold a wanted frame are decoded.

A group starts at a key frame. Frames are numbered by their presentation times, which the packets tell without being
decoded. A frame that is shown before its group's key frame (an open group) may also need the group before.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import PictureType

from h36m_toolbox.frames.videos import decoded_frames, opened_video, video_stream

_MOST_WAITING = 32  # decoded frames held back to be put in order; no codec reorders over more than 16


def chosen_frames(path: Path, wanted: Container[int]) -> Iterator[av.VideoFrame | None]:
    """One item a frame of the video: the decoded frame where its number (from 0) is wanted, else None.

    The frames are those of a full decode to the last bit. Where the container does not tell times and key frames, or
    tells something that turns out to be wrong, everything is decoded. Raises H36MError as `decoded_frames`.
    """
    done = 0
    if not (isinstance(wanted, range) and wanted.step == 1):  # then nearly every group is needed
        try:
            for item in _by_groups(path, wanted):
                yield item
                done += 1
            return
        except (_UnsteadyError, av.FFmpegError):
            pass  # the full decode below goes on where this stopped, and tells of damage
    for number, frame in enumerate(decoded_frames(path)):
        if number >= done:
            yield frame if number in wanted else None


class _UnsteadyError(Exception):
    """The packets do not say which frames they hold, or another frame came than they said."""


@dataclass(frozen=True)
class _Run:
    """Neighbouring packets to decode in one go: the first is a key frame, the last holds the last wanted frame."""

    packets: range
    first: int  # number of the key frame
    wanted: frozenset[int]  # frame numbers


@dataclass(frozen=True)
class _Index:
    """What the packets of a video say, in decoding order."""

    times: tuple[int, ...]
    keys: tuple[int, ...]  # packets that hold a key frame

    @cached_property
    def number_at(self) -> dict[int, int]:
        """The frame number at each time."""
        return {time: number for number, time in enumerate(sorted(self.times))}

    @property
    def numbers(self) -> list[int]:
        """The frame number of each packet."""
        return [self.number_at[time] for time in self.times]


def _by_groups(path: Path, wanted: Container[int]) -> Iterator[av.VideoFrame | None]:
    with opened_video(path) as container:
        index = _read_index(container)
        runs = _runs(index, wanted)
        if _knows_its_packets(container):  # opened once: opening decodes a key frame, the dearest picture
            yield from _spread(index, (item for run in runs for item in _decoded_run(container, index, run)))
            return
    with opened_video(path) as container:
        video_stream(container)
        yield from _spread(index, (item for run in runs for item in _decoded_run(container, index, run)))


def _knows_its_packets(container: InputContainer) -> bool:
    """Whether there is a table of the places of all packets, so that each is found again."""
    return "mp4" in container.format.name.split(",")


def _spread(index: _Index, frames: Iterable[tuple[int, av.VideoFrame]]) -> Iterator[av.VideoFrame | None]:
    """Numbered frames with a None for every frame of the video between them."""
    following = 0
    for number, frame in frames:
        if number < following:
            raise _UnsteadyError
        yield from (None for _ in range(following, number))
        yield frame
        following = number + 1
    yield from (None for _ in range(following, len(index.times)))


def _read_index(container: InputContainer) -> _Index:
    stream = video_stream(container)
    times: list[int] = []
    keys: list[int] = []
    for packet in container.demux(stream):
        if packet.size == 0:  # the mark of the end
            continue
        if packet.pts is None or packet.is_corrupt or packet.is_discard:
            raise _UnsteadyError
        if packet.is_keyframe:
            keys.append(len(times))
        times.append(packet.pts)
    # 0 frames declared: unknown
    whole = times and len(set(times)) == len(times) and stream.frames in (0, len(times))
    if not whole or keys[:1] != [0] or times[0] != min(times):
        raise _UnsteadyError
    return _Index(tuple(times), tuple(keys))


def _runs(index: _Index, wanted: Container[int]) -> list[_Run]:
    """Which packets to decode: of each group up to its last wanted frame, joined where one needs the one before."""
    numbers = index.numbers
    runs: list[_Run] = []
    ends = (*index.keys[1:], len(numbers))
    for group, (start, end) in enumerate(zip(index.keys, ends, strict=True)):
        needed = [packet for packet in range(start, end) if numbers[packet] in wanted]
        if not needed:
            continue
        if any(index.times[packet] < index.times[start] for packet in needed):
            start = index.keys[group - 1]
        chosen = frozenset(numbers[packet] for packet in needed)
        if runs and start <= runs[-1].packets.stop:
            last = runs.pop()
            start, chosen = last.packets.start, last.wanted | chosen
        runs.append(_Run(range(start, needed[-1] + 1), numbers[start], chosen))
    return runs


def _decoded_run(container: InputContainer, index: _Index, run: _Run) -> Iterator[tuple[int, av.VideoFrame]]:
    """The wanted frames of a run with their numbers, ascending; the packets before it are passed over."""
    stream, ordered = container.streams.video[0], _Ordered(run, index.number_at)
    if _knows_its_packets(container):
        container.seek(index.times[run.packets[0]], stream=stream)
    left = iter(run.packets)
    place = next(left)
    for packet in container.demux(stream):
        if packet.pts != index.times[place] or not packet.size:
            if place == run.packets[0] and packet.size:
                continue
            raise _UnsteadyError
        # a picture that nobody wants and no other is predicted from need not be decoded
        is_wanted = index.number_at[index.times[place]] in run.wanted or place == run.packets[0]
        stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        yield from ordered.put(stream.codec_context.decode(packet))
        place = next(left, -1)
        if place < 0:
            yield from ordered.put(stream.codec_context.decode(None))
            ordered.check_complete()
            stream.codec_context.flush_buffers()
            return
    raise _UnsteadyError


class _Ordered:
    """Puts the wanted frames of a run in the order of their numbers and lets no other pass."""

    def __init__(self, run: _Run, frame_at: dict[int, int]) -> None:
        self._run, self._frame_at = run, frame_at
        self._expected = sorted(run.wanted, reverse=True)
        self._waiting: dict[int, av.VideoFrame] = {}
        self._started = False

    def put(self, frames: list[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Take decoded frames, give those whose turn it is."""
        for frame in frames:
            number = -1 if frame.pts is None else self._frame_at.get(frame.pts, -1)
            if number == self._run.first:
                # where pictures are refreshed bit by bit, "key frames" are predicted from what was not decoded
                if frame.pict_type != PictureType.I:
                    raise _UnsteadyError
                self._started = True
            if number in self._run.wanted:
                if frame.is_corrupt or number in self._waiting or len(self._waiting) == _MOST_WAITING:
                    raise _UnsteadyError
                self._waiting[number] = frame
        while self._expected and self._expected[-1] in self._waiting and self._started:
            number = self._expected.pop()
            yield number, self._waiting.pop(number)

    def check_complete(self) -> None:
        """Raise where a wanted frame did not come."""
        if self._expected:
            raise _UnsteadyError
