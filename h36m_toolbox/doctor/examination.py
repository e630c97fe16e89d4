"""What an examination of a folder found: a table by subject, and findings; as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One line: `level` is "ok", "note" (partial, known or unusual) or "problem"."""

    level: str
    where: str
    what: str


@dataclass(frozen=True)
class Examination:
    """The table has a row a subject, a cell a column; "" for nothing there."""

    folder: Path
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def has_problems(self) -> bool:
        """Whether something is damaged or contradicts itself, which the user should put right."""
        return any(finding.level == "problem" for finding in self.findings)

    def lines(self) -> list[str]:
        """The table and the findings as text."""
        width = max((len(item.where) for item in self.findings), default=0)
        findings = [f"{item.level:8} {item.where:{width}} {item.what}" for item in self.findings]
        return [*self._table(), "", *findings]

    def record(self) -> dict[str, Any]:
        """The same for JSON."""
        subjects = {subject: dict(zip(self.columns, cells, strict=True)) for subject, cells in self.rows.items()}
        return {
            "folder": str(self.folder),
            "problems": sum(item.level == "problem" for item in self.findings),
            "subjects": subjects,
            "findings": [asdict(item) for item in self.findings],
        }

    def _table(self) -> Iterator[str]:
        table = [
            ("", *self.columns),
            *((subject, *(cell or "-" for cell in row)) for subject, row in self.rows.items()),
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def some(examples: list[str]) -> str:
    """The first few of many, and how many more there are."""
    more = len(examples) - _EXAMPLES
    return "; ".join(examples[:_EXAMPLES]) + (f"; and {more} more" if more > 0 else "")
