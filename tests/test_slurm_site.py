"""slurm.toml: read strictly, with errors that say what to do."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

pytest.importorskip("pydantic")

from pydantic import ValidationError

from sciflow.errors import InvalidArgument
from sciflow.flows.slurm.site import EXAMPLE, Resources, Site, as_walltime, load_site, seconds


def written(folder: Path, text: str) -> Path:
    file = folder / "slurm.toml"
    file.write_text(text)
    return file


def test_example_is_a_site_and_names_every_key(tmp_path: Path) -> None:
    site = load_site(written(tmp_path, EXAMPLE))
    assert site.mode == "alloc"
    assert site.environment == {"OMP_NUM_THREADS": "1"}
    for key in Resources.model_fields:
        assert key in EXAMPLE


def test_keys_that_are_commented_out_in_the_example_are_keys() -> None:
    lines = [
        line.removeprefix("# ") for line in EXAMPLE.splitlines() if line.startswith("# ") and " = " in line
    ]
    for line in lines:
        assert set(tomllib.loads(line)) <= set(Resources.model_fields), line


def test_folder_of_logs_counts_from_the_file(tmp_path: Path) -> None:
    assert load_site(written(tmp_path, 'log_dir = "logs"')).log_dir == str(tmp_path / "logs")
    assert load_site(written(tmp_path, 'log_dir = "/logs"')).log_dir == "/logs"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("partitions = 1", "unknown key 'partitions'"),
        ("nodes = 0", "nodes"),
        ('mem = "64 GB"', "64G"),
        ('walltime = "soon"', "HH:MM:SS"),
        ('walltime = "00:02:00"\ngrace_seconds = 120', "only start and stop"),
        ("nodes = 4", "ntasks"),
        ('mode = "cloud"', "mode"),
        ('extra_directives = ["exclusive"]', "--exclusive"),
        ('partition = "a b"', "without blanks"),
        ("[environment]\n'A B' = '1'", "name of a variable"),
        ("nodes = ", "no TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InvalidArgument, match=r"slurm\.toml") as found:
        load_site(written(tmp_path, text))
    assert named in str(found.value)


def test_a_site_is_fixed_and_strict() -> None:
    with pytest.raises(ValidationError):
        Site().nodes = 2
    with pytest.raises(ValidationError):
        Site.model_validate({"node": 2})


@pytest.mark.parametrize(
    ("walltime", "expected"),
    [("1", 60), ("90", 5400), ("01:30", 90), ("01:30:00", 5400), ("1-0", 86400), ("2-03:04:05", 183845)],
)
def test_walltimes(walltime: str, expected: int) -> None:
    assert seconds(walltime) == expected
    assert seconds(as_walltime(expected)) == expected


@pytest.mark.parametrize("walltime", ["", "0", "00:00:00", "1h", "-5", "1:2:3:4"])
def test_no_walltimes(walltime: str) -> None:
    with pytest.raises(InvalidArgument):
        seconds(walltime)
