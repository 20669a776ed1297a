"""The golden streams on disk: one file each, and a manifest of what they are and decode to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sciflow._engine import native
from sciflow.codecs.sz import decode, encode, info
from tests.golden.examples import EXAMPLES, Example

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Golden:
    """What a golden file is; the bytes of the decoded array are those of its memory."""

    example: str
    stream_sha256: str
    decoded_sha256: str
    dtype: str
    shape: list[int]
    order: str
    config: dict[str, Any]


def read_manifest(folder: Path = FOLDER) -> dict[str, Golden]:
    """File names and what they are."""
    entries = json.loads((folder / "manifest.json").read_text())
    return {name: Golden(**entry) for name, entry in entries.items()}


def describe(name: str, example: Example, stream: bytes) -> Golden:
    """What `stream` is."""
    header = info(stream)
    return Golden(
        example=name,
        stream_sha256=sha256(stream).hexdigest(),
        decoded_sha256=memory_sha256(decode(stream)),
        dtype=header.dtype.str,
        shape=list(header.shape),
        order=header.order,
        config=example.config.to_json(),
    )


def memory_sha256(array: NDArray[Any]) -> str:
    """The digest of an array's memory."""
    return sha256(array.tobytes(order="A")).hexdigest()


def add_missing(folder: Path = FOLDER, examples: Mapping[str, Example] = EXAMPLES) -> list[str]:
    """Encode each example that has no golden yet; returns the names of the files written.

    Raises
    ------
    FileNotFoundError
        If a file of the manifest is gone: restore it, its bytes cannot be made again.
    FileExistsError
        If a file to be written is there already.
    """
    manifest = read_manifest(folder)
    gone = [name for name in manifest if not (folder / name).is_file()]
    if gone:
        raise FileNotFoundError(
            f"golden streams {gone} are gone from {folder}: restore them from version control"
        )
    have = {golden.example for golden in manifest.values()}
    written = []
    for name, example in examples.items():
        if name in have:
            continue
        file = folder / f"v{native.STREAM_MAJOR}_{native.STREAM_MINOR}_{name}.scf"
        regions = example.regions() if example.regions else None
        stream = encode(example.make(), example.config, regions=regions)
        with file.open("xb") as out:
            out.write(stream)
        manifest[file.name] = describe(name, example, stream)
        written.append(file.name)
    entries = {name: asdict(golden) for name, golden in sorted(manifest.items())}
    (folder / "manifest.json").write_text(json.dumps(entries, indent=1) + "\n")
    return written
