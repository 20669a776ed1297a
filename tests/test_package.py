"""The shape of the package: what it loads, what it exports, what it says where the engine is missing."""

from __future__ import annotations

import ast
import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterable
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

HEAVY = ("torch", "xarray", "dask", "distributed", "prefect", "h5py", "netCDF4", "matplotlib", "typer")
PACKAGES_AT_THE_TOP = {"sciflow", "tests"}
Finished = subprocess.CompletedProcess[str]


def run_python(code: str, *, path: Iterable[Path] = (), cwd: Path | None = None) -> Finished:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, cwd=cwd, check=False
    )


def heavy_modules_after(statement: str, folder: Path) -> set[str]:
    """Which of HEAVY a fresh process holds after `statement`.

    Each is stood in for by an empty package, so that one that is not installed here is caught as well.
    """
    stand_ins = folder / "stand_ins"
    for name in HEAVY:
        (stand_ins / name).mkdir(parents=True, exist_ok=True)
        (stand_ins / name / "__init__.py").touch()
    code = f"import sys\n{statement}\nprint('LOADED', *({set(HEAVY)!r} & set(sys.modules)))"
    done = run_python(code, path=[stand_ins, folder])
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("LOADED", 1)[1].split())


LIGHT = [
    "import sciflow",
    "import sciflow.codecs",
    "import sciflow; sciflow.SZ(0.1)",
    "import numcodecs; numcodecs.get_codec({'id': 'sciflow.sz', 'bound': {'kind': 'abs', 'value': 0.1}})",
    "import zarr.registry; zarr.registry.get_codec_class('sciflow.sz')",
    "from sciflow.models import predictor, resolve; predictor(resolve('shallow-water-klt'))",
    "import sciflow.models.runs, sciflow.models.checkpoints; from sciflow.models import names; names()",
]


@pytest.mark.parametrize("statement", LIGHT)
def test_the_codec_path_loads_nothing_heavy(statement: str, tmp_path: Path) -> None:
    assert heavy_modules_after(statement, tmp_path) == set()


@pytest.mark.parametrize("heavy", HEAVY)
def test_a_heavy_import_would_be_seen(heavy: str, tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(f"try:\n    import {heavy}\nexcept ImportError:\n    pass\n")
    assert heavy_modules_after("import careless", tmp_path) == {heavy}


def imported_names(source: Path) -> set[str]:
    """What type checkers find in a lazy module: every name that it imports from sciflow."""
    imports = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)]
    of_ours = [node for node in imports if (node.module or "").startswith("sciflow")]
    return {alias.asname or alias.name for node in of_ours for alias in node.names}


@pytest.mark.parametrize("name", ["sciflow", "sciflow.codecs"])
def test_all_lists_the_public_names(name: str, repository: Path) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert set(exported) == imported_names(repository.joinpath(*name.split("."), "__init__.py"))
    assert set(exported) <= set(dir(module))
    assert [each for each in exported if not hasattr(module, each)] == []


def test_only_sciflow_and_tests_are_packages(repository: Path) -> None:
    packages = {found.parent.name for found in repository.glob("*/__init__.py")}
    assert packages <= PACKAGES_AT_THE_TOP


def test_codecs_is_the_standard_library(repository: Path) -> None:
    done = run_python("import codecs; codecs.lookup('utf-8'); print(codecs.__file__)", cwd=repository)
    assert Path(done.stdout.strip()).is_relative_to(sysconfig.get_path("stdlib")), done.stderr


def test_a_tree_without_the_engine_says_how_to_build_it(repository: Path, tmp_path: Path) -> None:
    built = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(repository / "sciflow", tmp_path / "sciflow", ignore=built)
    # An editable install hooks itself in before sys.path: drop the hook, then the copy is what is found.
    code = (
        "import sys\n"
        "sys.meta_path = [each for each in sys.meta_path if 'editable' not in type(each).__module__]\n"
        "import sciflow.codecs.sz\n"
    )
    done = run_python(code, path=[tmp_path])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert "pip install -e ." in done.stderr.splitlines()[-1]


def test_the_version_stands_in_one_place(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert version("sciflow") == importlib.import_module("sciflow").__version__ == project["version"]


@pytest.mark.parametrize("group", ["numcodecs.codecs", "zarr.codecs"])
def test_registries_know_the_codec(group: str) -> None:
    (entry,) = entry_points(group=group, name="sciflow.sz")
    assert entry.load().__name__ == "SZ"


def test_the_stub_names_what_the_engine_has(repository: Path) -> None:
    native = importlib.import_module("sciflow._native")
    stub = ast.parse((repository / "sciflow" / "_native.pyi").read_text())
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    constants = {ast.unparse(node.target) for node in stub.body if isinstance(node, ast.AnnAssign)}
    assert functions | constants == {name for name in dir(native) if not name.startswith("_")}


def test_the_package_is_typed(repository: Path) -> None:
    assert (repository / "sciflow" / "py.typed").is_file()
