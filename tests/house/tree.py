"""The tree as the house tests read it: which code is ours, parsed once."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("main", "outlets", "rails", "settings", "sight")
APART = {"tests", "bench", "docs", "build", "dist", "node_modules"}


@cache
def packages() -> tuple[str, ...]:
    """Our top-level packages, as the tree has them."""
    return tuple(sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in APART))


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file that runs in production, or seeds the demo."""
    inside = [path for name in packages() for path in sorted((ROOT / name).rglob("*.py"))]
    return (*(ROOT / f"{name}.py" for name in MODULES), *inside)


@cache
def suite() -> tuple[Path, ...]:
    return tuple(sorted((ROOT / "tests").rglob("*.py")))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


@cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    return shown(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it, as they are written."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
