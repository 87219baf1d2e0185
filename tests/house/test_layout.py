"""Where code lives, and what may know of what (house rules 1 and 10)."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.house.tree import MODULES, ROOT, imports, module_name, packages, project, shown, sources

IMPORT_ALL = """
import sys, threading

def refuse(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.exec"}:
        raise RuntimeError(f"{event} at import: {arguments}")

sys.addaudithook(refuse)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
assert threading.active_count() == 1, f"a thread was started at import: {threading.enumerate()}"
print(len(sys.argv) - 1, "modules")
"""
NOUNS = ("users", "agents", "listings", "sessions", "wallets", "reviews")
SHELVES = ("domain", "firestore", "graph/types", "resolvers")


def test_every_module_imports_in_an_empty_environment_with_sockets_off(tmp_path: Path) -> None:
    names = [module_name(path) for path in sources() if path.name != "__main__.py"]
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", path + IMPORT_ALL, *names],
        env={},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == f"{len(names)} modules\n"
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_connects_at_import_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "eager.py").write_text("import socket; socket.create_connection(('127.0.0.1', 9), 1)\n")
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", path + IMPORT_ALL, "eager"],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "RuntimeError: socket.getaddrinfo at import" in done.stderr


def test_no_installed_distribution_brings_a_package_named_like_ours() -> None:
    installed = packages_distributions()
    taken = {name: set(installed.get(name, ())) - {"jiga-store"} for name in (*packages(), *MODULES)}
    assert {name: by for name, by in taken.items() if by} == {}
    assert {*packages(), *MODULES} & set(sys.stdlib_module_names) == set()
    site = Path(sysconfig.get_path("purelib"))
    assert [name for name in (*packages(), *MODULES) if (site / name).exists() or (site / f"{name}.py").exists()] == []


def test_pyproject_names_every_package() -> None:
    found = {module_name(path) for path in sources() if path.name == "__init__.py"}
    bare = {module_name(path.parent) for path in sources() if not (path.parent / "__init__.py").exists()} - {"."}
    told = project()["tool"]
    assert bare == set()
    assert told["setuptools"]["packages"] == sorted(found)
    assert told["setuptools"]["py-modules"] == list(MODULES)
    assert told["importlinter"]["root_packages"] == list(packages())
    assert told["mypy"]["files"] == [*(f"{name}.py" for name in MODULES), *packages()]


def test_the_layers_name_every_module_of_the_graph() -> None:
    """Of one that is in no layer import-linter would see nothing."""
    layers = next(each for each in project()["tool"]["importlinter"]["contracts"] if each["id"] == "down")["layers"]
    named = [name for layer in layers for name in re.findall(r"graph\.\w+", layer)]
    there = {module_name(path) for path in (ROOT / "graph").glob("*.py") if path.name != "__init__.py"}
    assert sorted(named) == sorted(there | {"graph.types"})


def test_the_domain_imports_the_standard_library_alone() -> None:
    allowed = sys.stdlib_module_names | {"domain"}
    strange = {
        (shown(path), name)
        for path in sources()
        if shown(path).startswith("domain/")
        for name in imports(path)
        if name.partition(".")[0] not in allowed
    }
    assert strange == set()


def test_the_domain_asks_no_clock_and_no_chance_and_opens_nothing() -> None:
    doors = {"random", "secrets", "uuid", "time", "asyncio", "threading", "socket", "os", "pathlib", "subprocess", "io"}
    strange = {(shown(path), name) for path in sources() if shown(path).startswith("domain/") for name in imports(path)}
    assert {(path, name) for path, name in strange if name.partition(".")[0] in doors} == set()
    asks = re.compile(r"\b(?:datetime|date)\.(?:now|utcnow|today)\(|(?<![\w.])(?:open|print|input)\(")
    asking = {shown(path) for path in sources() if shown(path).startswith("domain/") and asks.search(path.read_text())}
    assert asking == set()


def test_nobody_imports_the_composition_root() -> None:
    """import-linter reads packages alone, so the two modules beside them are looked after here."""
    builders = {shown(path) for path in sources() if {"main"} & set(imports(path))}
    readers = {shown(path) for path in sources() if {"settings"} & set(imports(path))}
    assert builders == set()
    assert readers == {"main.py", "outlets.py", "rails.py", "sight.py"}


def test_a_noun_is_spelled_alike_on_every_shelf() -> None:
    wanted = [f"{shelf}/{noun}.py" for shelf in SHELVES for noun in NOUNS]
    assert [name for name in wanted if not (ROOT / name).is_file()] == []
    types = {path.stem for path in (ROOT / "graph/types").glob("*.py")} - {"__init__"}
    resolvers = {path.stem for path in (ROOT / "resolvers").glob("*.py")} - {"__init__", "loaders"}
    assert types == resolvers


def test_the_pins_are_plain_and_complete() -> None:
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    plain = re.compile(r"([A-Za-z0-9._-]+)==[A-Za-z0-9.!+]+(?: ; .+)?")
    assert [line for line in pins if not plain.fullmatch(line)] == []
    pinned = {_canonical(line.partition("==")[0]) for line in pins}
    told = project()["project"]
    wanted = [*told["dependencies"], *told["optional-dependencies"]["dev"]]
    names = {_canonical(re.split(r"[<>=!~\[; ]", line, maxsplit=1)[0]) for line in wanted}
    assert names - pinned == set()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
