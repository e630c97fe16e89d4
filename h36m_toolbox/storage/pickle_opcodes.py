"""What a pickle is about to ask of the unpickler, read from its opcodes without obeying any."""

from __future__ import annotations

import pickle
import pickletools
from typing import IO, cast

_DEEPEST_TUPLE = 16  # of numpy's arrays and containers of them: 4
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_HASHED = {"TUPLE", "FROZENSET"}
_FIXED_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = -1


def check_opcodes(stream: IO[bytes], size: int) -> None:
    """Raise UnpicklingError or ValueError for what a pickle of `size` bytes has no use for and must not do.

    Lengths and memo places beyond the file, for which the unpickler would allocate first, and tuples in tuples so deep
    that hashing them never ends or exhausts the stack. About half a microsecond an opcode.
    """
    depths: list[int] = []  # of the tuples on the unpickler's stack; 0 for anything else
    memo: dict[int, int] = {}
    for count, (opcode, found, _) in enumerate(pickletools.genops(stream)):
        name, argument = opcode.name, cast(int, found)  # of those whose argument is used here
        if name in _PUT:
            if argument > count:
                raise pickle.UnpicklingError(f"it wants {argument} memo places for {count} opcodes")
            memo[argument] = _top(depths)
        elif name == "MEMOIZE":
            memo[len(memo)] = _top(depths)
        elif name in _GET:
            depths.append(memo.get(argument, 0))
        elif name == "DUP":
            depths.append(_top(depths))
        elif name == "MARK":
            depths.append(_MARK)
        elif name in _HASHED:
            depths.append(1 + max(_popped_to_mark(depths), default=0))
        elif name in _FIXED_TUPLES:
            depths.append(1 + max((_popped(depths) for _ in range(_FIXED_TUPLES[name])), default=0))
        elif name == "FRAME" and argument > size:
            raise pickle.UnpicklingError(f"it announces {argument} bytes, the file has {size}")
        else:
            _run(opcode, depths)
        if depths and depths[-1] > _DEEPEST_TUPLE:
            raise pickle.UnpicklingError(f"it nests tuples more than {_DEEPEST_TUPLE} deep")


def _run(opcode: pickletools.OpcodeInfo, depths: list[int]) -> None:
    """Take from the stack and put on it as much as any other opcode does."""
    before = opcode.stack_before
    if pickletools.markobject in before:
        _popped_to_mark(depths)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        _popped(depths)
    depths += [0] * len(opcode.stack_after)


def _top(depths: list[int]) -> int:
    if not depths:
        raise pickle.UnpicklingError("it reads from an empty stack")
    return depths[-1]


def _popped(depths: list[int]) -> int:
    top = _top(depths)
    depths.pop()
    return top


def _popped_to_mark(depths: list[int]) -> list[int]:
    taken = []
    while (depth := _popped(depths)) != _MARK:
        taken.append(depth)
    return taken
