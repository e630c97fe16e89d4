"""Training runs as TOML files: a model, its 2D input, its options and the values of its recipe, each under its name.

model = "semgcn"
detections = "gt"

[options]
p_dropout = 0.25

[recipe]
epochs = 50
batch_size = 64
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h36m_toolbox.errors import H36MError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXPERIMENTS = Path(__file__).parent / "experiments"  # the published ones, by name

_TABLES = ("options", "recipe")
_WORDS = ("model", "detections", "pelvis")


@dataclass(frozen=True)
class RecipeFile:
    """What a file says; what it does not say is "" or empty."""

    model: str
    detections: str
    options: Mapping[str, Any]
    recipe: Mapping[str, Any]
    pelvis: str = ""  # "gt": the true one


def read_recipe_file(path: Path) -> RecipeFile:
    """Read a TOML file, the published experiment of that name, or an official YAML configuration.

    An H36MError says what in it is not understood.
    """
    if path.suffix in (".yaml", ".yml"):
        from h36m_toolbox.models.official_configs import read_official_config

        return read_official_config(path)
    published = EXPERIMENTS / f"{path}.toml"
    path = published if published.is_file() and not path.exists() else path
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise H36MError(f"{path}: cannot be read as TOML ({error})") from error
    unknown = [name for name in content if name not in (*_WORDS, *_TABLES)]
    if unknown:
        raise H36MError(f"{path}: unknown {', '.join(unknown)}; there are {', '.join((*_WORDS, *_TABLES))}")
    for name, value in content.items():
        expected = dict if name in _TABLES else str
        if not isinstance(value, expected):
            raise H36MError(f"{path}: {name} is {value!r}; expected a {'table' if expected is dict else 'word'}")
    words = {name: content.get(name, "") for name in _WORDS}
    return RecipeFile(**words, options=content.get("options", {}), recipe=content.get("recipe", {}))


def recipe_as_toml(model: str, detections: str, options: Mapping[str, Any], recipe: DataclassInstance) -> str:
    """The file that asks for this run."""
    values = {name: 0.0 if value is None else value for name, value in asdict(recipe).items()}
    lines = [f'model = "{model}"', f'detections = "{detections}"']
    for title, table in (("options", options), ("recipe", values)):
        if table:
            lines += ["", f"[{title}]", *(f"{name} = {_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
