"""Protocols on fewer subjects, actions or frames, under names of their own: `semgcn@S9/Walking+Eating/every-5`.

Such a name says all that differs, so a narrowed score never ranks with a whole one and the protocol can be made again.
"""

from __future__ import annotations

import re
from dataclasses import replace

from h36m_toolbox.benchmarks.protocols import Protocol, protocol_named
from h36m_toolbox.errors import H36MError
from h36m_toolbox.sequences import ACTIONS, SPLITS, SUBJECTS

_EVERY = re.compile(r"every-([1-9][0-9]*)")


def narrowed(
    protocol: Protocol, subjects: tuple[str, ...] = (), actions: tuple[str, ...] = (), every: int = 1
) -> Protocol:
    """The same switches on these subjects and actions, () for the protocol's own, and one in `every` of its frames.

    Raises H36MError for unknown subjects and actions, and for subjects whose frames the protocol does not define.
    """
    subjects = _ordered(subjects, SUBJECTS, "subject") or protocol.subjects
    actions = _ordered(actions, ACTIONS, "action") or protocol.actions
    if every < 1:
        raise H36MError(f"one in {every} frames cannot be scored; expected 1 or more")
    parts, changed = [], protocol
    if subjects != protocol.subjects:
        changed = changed.for_subjects(*subjects)
        parts.append("+".join(subjects))
    if actions != protocol.actions:
        changed = replace(changed, actions=actions)
        parts.append("+".join(actions))
    if every > 1:
        step = protocol.frames.step * every
        frames = replace(protocol.frames, step=step, words=f"{protocol.frames}, of these one in {every}")
        changed = replace(changed, frames=frames)
        parts.append(f"every-{every}")
    if not parts:
        return protocol
    joint = "/" if "@" in protocol.name else "@"
    return replace(changed, name=f"{protocol.name}{joint}{'/'.join(parts)}")


def protocol_of_name(name: str) -> Protocol:
    """The protocol behind a name, narrowed or not; an H36MError lists the known ones."""
    base, _, tail = name.partition("@")
    subjects: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    every = 1
    for part in tail.split("/") if tail else ():
        words = tuple(part.split("+"))
        if step := _EVERY.fullmatch(part):
            every = int(step[1])
        elif words[0] in SUBJECTS:
            subjects = words
        else:
            actions = words
    return narrowed(protocol_named(base), subjects, actions, every)


def protocol_of_split(name: str, split: str) -> Protocol:
    """The protocol of a name, on the training subjects under a name of its own where `split` is "train"."""
    protocol = protocol_of_name(name)
    if split == "val" or set(protocol.subjects) <= set(SPLITS[split]):
        return protocol
    return narrowed(protocol, SPLITS[split])


def split_of(protocol: Protocol) -> str:
    """The split whose labels hold a protocol's frames."""
    return next((name for name, subjects in SPLITS.items() if set(protocol.subjects) & set(subjects)), "val")


def _ordered(asked: tuple[str, ...], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    unknown = [word for word in asked if word not in known]
    if unknown:
        raise H36MError(f"no {what} is called {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(word for word in known if word in asked)
