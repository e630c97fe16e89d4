"""A pickled list read record by record: other projects pickle a dict a frame, gigabytes of them, and load them whole.

Nothing in the file is executed: its opcodes are obeyed here, those that records need, and only numpy's own constructors
can be named. What a record holds is forgotten soon after it, unless later records refer back to it.
"""

from __future__ import annotations

import mmap
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from h36m_toolbox.errors import H36MError
from h36m_toolbox.storage.safe_pickle import ALLOWED_GLOBALS

_KEPT_BATCHES = 3  # a batch is what one opcode appends to the list, 1000 elements as Python writes them
_LASTING = (str, dict, np.dtype)  # once asked for: few objects, such as a camera, which come again after any time
_CONSTRUCTORS = {value for value in ALLOWED_GLOBALS.values() if callable(value)}
_STOP, _MEMOIZE, _BINGET, _BININT1 = (code[0] for code in (pickle.STOP, pickle.MEMOIZE, pickle.BINGET, pickle.BININT1))
_WORD = 40  # characters: keys are shorter, names of images, one a record, are longer


def pickled_records(path: Path) -> Iterator[Any]:
    """The elements of a pickled list, plain containers, numbers, strings and numpy arrays, in the file's order.

    Memory holds some thousand of them, however many there are. Raises H36MError for a file that is no such pickle, or
    is damaged, when it comes to the place.
    """
    try:
        if not path.stat().st_size:
            raise pickle.UnpicklingError("it is empty")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield from _Machine(content).elements()
    except (H36MError, OSError):
        raise
    except pickle.UnpicklingError as error:
        raise H36MError(f"{path}: refused to unpickle ({error}); it is damaged or not what it claims to be") from error
    except Exception as error:  # a damaged stream asks numpy and Python for almost anything
        raise H36MError(f"{path}: cannot be unpickled ({type(error).__name__}: {error}); get it again") from error


class _Memo:
    """What the stream may refer back to. Whatever nobody asked for lately is dropped, or a long list would fill it."""

    def __init__(self) -> None:
        self.batch: dict[int, Any] = {}
        self.lasting: dict[int, Any] = {}
        self.count = 0
        self._before: list[dict[int, Any]] = []  # the latest is the first

    def append(self, value: Any) -> None:
        self.put(self.count, value)

    def put(self, place: int, value: Any) -> None:
        self.lasting.pop(place, None)  # the same place may be used anew
        is_word = type(value) is str and len(value) <= _WORD
        (self.lasting if is_word else self.batch)[place] = value
        self.count += 1

    def get(self, place: int) -> Any:
        if place in self.lasting:
            return self.lasting[place]
        for batch in (self.batch, *self._before):
            if place in batch:
                value = batch[place]
                lasts = isinstance(value, _LASTING) or callable(value)
                (self.lasting if lasts else self.batch)[place] = value
                return value
        raise pickle.UnpicklingError("it refers back to an object that no record near by has used")

    def end_batch(self) -> None:
        self._before = [self.batch, *self._before[: _KEPT_BATCHES - 1]]
        self.batch = {}


class _Machine:
    """Obeys a pickle's opcodes; hands out what is appended to the outermost list instead of keeping it."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.position, self.released = content, 0, 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # stacks under the marks
        self.memo = _Memo()
        self.ready: list[Any] = []

    def elements(self) -> Iterator[Any]:
        content, memo, lasting = self.content, self.memo, self.memo.lasting
        while (code := content[self.position]) != _STOP:
            self.position += 1
            # two thirds of a record are these, which are spared the call
            if code == _MEMOIZE:
                value = self.stack[-1]
                if type(value) is str:
                    memo.append(value)
                else:
                    memo.batch[memo.count] = value
                    memo.count += 1
                continue
            if code in (_BINGET, _BININT1):
                argument = content[self.position]
                self.position += 1
                if code == _BINGET:
                    argument = lasting[argument] if argument in lasting else memo.get(argument)
                self.stack.append(argument)
                continue
            obey = _OBEYED.get(code)
            if obey is None:
                raise pickle.UnpicklingError(f"opcode {bytes([code])!r}, which lists of records have no use for")
            obey(self)
            if self.ready:
                yield from self.ready
                self.ready = []
        if self.below or len(self.stack) != 1 or type(self.stack[0]) is not list:
            raise pickle.UnpicklingError("its outermost object is no list")

    def taken(self, count: int) -> bytes:
        """The next bytes."""
        start, self.position = self.position, self.position + count
        taken = self.content[start : self.position]
        if len(taken) != count:
            raise pickle.UnpicklingError(f"it ends after {len(self.content)} bytes, in the middle of a record")
        return taken

    def number(self, form: struct.Struct) -> Any:
        """The next number."""
        (number,) = form.unpack_from(self.content, self.position)
        self.position += form.size
        return number

    def line(self) -> str:
        """The text up to the next end of line."""
        end = self.content.find(b"\n", self.position)
        line = self.taken(max(end - self.position, 0))
        self.position += 1
        return line.decode()

    def to_mark(self) -> list[Any]:
        """What lies on the stack above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise pickle.UnpicklingError(f"it appends to {type(target).__name__}")
        if self.below or len(self.stack) > 1:
            target.extend(items)
        else:
            self.ready = items
            self.memo.end_batch()
            self.release()

    def release(self) -> None:
        """Give back the memory of what was read, where the system can be told."""
        if hasattr(mmap, "MADV_DONTNEED"):
            end = self.position // mmap.PAGESIZE * mmap.PAGESIZE
            if end > self.released:
                self.content.madvise(mmap.MADV_DONTNEED, self.released, end - self.released)
                self.released = end

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or not all(type(key) is str for key in items[::2]):
            raise pickle.UnpicklingError("a record's keys are no strings")
        target.update(zip(items[::2], items[1::2], strict=True))

    def named(self, module: str, name: str) -> Any:
        try:
            return ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which label files have no use for") from None

    def reduce(self) -> Any:
        arguments = self.stack.pop()
        function = self.stack.pop()
        if function not in _CONSTRUCTORS:
            raise pickle.UnpicklingError("it calls what is no constructor of numpy's")
        return function(*arguments)

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is np.ndarray:
            if state[2].hasobject:
                raise pickle.UnpicklingError("an array of objects")
        elif not isinstance(target, np.dtype):
            raise pickle.UnpicklingError(f"it gives a state to {type(target).__name__}")
        target.__setstate__(state)


_BYTE, _SHORT, _INT, _UNSIGNED = (struct.Struct(f"<{form}") for form in "BHiI")
_LONG_LONG, _DOUBLE = struct.Struct("<Q"), struct.Struct(">d")
_Obey = Callable[[_Machine], object]


def _pushing(value: Callable[[_Machine], Any]) -> _Obey:
    return lambda machine: machine.stack.append(value(machine))


def _text(length: struct.Struct, encoding: str = "utf-8") -> _Obey:
    errors = "surrogatepass" if encoding == "utf-8" else "strict"
    return _pushing(lambda machine: machine.taken(machine.number(length)).decode(encoding, errors))


def _bytes(length: struct.Struct) -> _Obey:
    return _pushing(lambda machine: machine.taken(machine.number(length)))


def _long(length: struct.Struct) -> _Obey:
    return _pushing(lambda machine: int.from_bytes(machine.taken(machine.number(length)), "little", signed=True))


def _put(place: struct.Struct) -> _Obey:
    return lambda machine: machine.memo.put(machine.number(place), machine.stack[-1])


def _get(place: struct.Struct) -> _Obey:
    return _pushing(lambda machine: machine.memo.get(machine.number(place)))


def _tuple(count: int) -> _Obey:
    def obey(machine: _Machine) -> None:
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return obey


def _tuple_to_mark(machine: _Machine) -> None:
    items = tuple(machine.to_mark())
    machine.stack.append(items)


def _mark(machine: _Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _stack_global(machine: _Machine) -> None:
    name = machine.stack.pop()
    machine.stack.append(machine.named(machine.stack.pop(), name))


def _set_item(machine: _Machine) -> None:
    value = machine.stack.pop()
    machine.set_items([machine.stack.pop(), value])


_BY_OPCODE: dict[bytes, _Obey] = {
    pickle.PROTO: lambda machine: machine.taken(1),
    pickle.FRAME: lambda machine: machine.taken(8),
    pickle.MARK: _mark,
    pickle.EMPTY_LIST: _pushing(lambda _: []),
    pickle.EMPTY_DICT: _pushing(lambda _: {}),
    pickle.EMPTY_TUPLE: _pushing(lambda _: ()),
    pickle.TUPLE: _tuple_to_mark,
    pickle.TUPLE1: _tuple(1),
    pickle.TUPLE2: _tuple(2),
    pickle.TUPLE3: _tuple(3),
    pickle.APPEND: lambda machine: machine.append([machine.stack.pop()]),
    pickle.APPENDS: lambda machine: machine.append(machine.to_mark()),
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: lambda machine: machine.set_items(machine.to_mark()),
    pickle.POP: lambda machine: machine.stack.pop(),
    pickle.NONE: _pushing(lambda _: None),
    pickle.NEWTRUE: _pushing(lambda _: True),
    pickle.NEWFALSE: _pushing(lambda _: False),
    pickle.BININT: _pushing(lambda machine: machine.number(_INT)),
    pickle.BININT1: _pushing(lambda machine: machine.number(_BYTE)),
    pickle.BININT2: _pushing(lambda machine: machine.number(_SHORT)),
    pickle.BINFLOAT: _pushing(lambda machine: machine.number(_DOUBLE)),
    pickle.LONG1: _long(_BYTE),
    pickle.BINUNICODE: _text(_UNSIGNED),
    pickle.SHORT_BINUNICODE: _text(_BYTE),
    pickle.BINUNICODE8: _text(_LONG_LONG),
    pickle.BINSTRING: _text(_INT, "latin1"),  # Python 2's strings hold raw bytes
    pickle.SHORT_BINSTRING: _text(_BYTE, "latin1"),
    pickle.BINBYTES: _bytes(_UNSIGNED),
    pickle.SHORT_BINBYTES: _bytes(_BYTE),
    pickle.BINBYTES8: _bytes(_LONG_LONG),
    pickle.BYTEARRAY8: _pushing(lambda machine: bytearray(machine.taken(machine.number(_LONG_LONG)))),
    pickle.GLOBAL: _pushing(lambda machine: machine.named(machine.line(), machine.line())),
    pickle.STACK_GLOBAL: _stack_global,
    pickle.REDUCE: _pushing(lambda machine: machine.reduce()),
    pickle.BUILD: _Machine.build,
    pickle.BINPUT: _put(_BYTE),
    pickle.LONG_BINPUT: _put(_UNSIGNED),
    pickle.MEMOIZE: lambda machine: machine.memo.append(machine.stack[-1]),
    pickle.BINGET: _get(_BYTE),
    pickle.LONG_BINGET: _get(_UNSIGNED),
}
_OBEYED = {opcode[0]: obey for opcode, obey in _BY_OPCODE.items()}
