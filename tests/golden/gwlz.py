"""The golden GWLZ streams: what they were encoded from, and ``python -m tests.golden.gwlz`` to add one."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.bounds import Bound
from sciflow.codecs.gwlz import GWLZConfig, decode, encode
from sciflow.codecs.sz import SZConfig
from tests.golden.examples import hills, noise

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "gwlz.json"
VERSION = "0_2"

SHARED = (FOLDER / "gwlz_model.bin").read_bytes() if (FOLDER / "gwlz_model.bin").exists() else b""


@dataclass(frozen=True, slots=True)
class Example:
    """An array and how it was encoded."""

    array: NDArray[Any]
    config: GWLZConfig
    aux: tuple[NDArray[Any], ...] = ()


def waves(shape: tuple[int, ...], dtype: str = "<f4") -> NDArray[Any]:
    """Ridges of the third degree that repeat, with noise: integers only, so the same bits anywhere."""
    total = noise(shape, bits=7)
    for index, axis in enumerate(np.ix_(*(np.arange(n, dtype=np.int64) for n in shape))):
        at = (axis * (index + 2)) % 24 - 12
        total = total + at * (144 - at * at) * (3 - index)
    return np.asarray(total / 1024).astype(dtype)


def beside(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """What another variable decodes to: the ridges, less noise, scaled; with a hole."""
    field = np.rint(waves(shape, "<f8") * 16) * -3 + 100
    field[2, 3:7] = np.nan
    return np.asarray(field.astype(dtype))


def holed() -> NDArray[Any]:
    """Ridges with NaN, Inf, -0.0 and a sentinel."""
    field = waves((48, 64))
    field[5:20, 7:30] = np.nan
    field[30, :5] = [np.inf, -np.inf, -0.0, -9999.0, -9999.0]
    field[40:44, 50:] = -9999.0
    return field


def examples() -> dict[str, Example]:
    """Every example by name; each is made anew."""
    loose = SZConfig(Bound.abs(0.5))
    return {
        "bound_3d": Example(waves((12, 24, 40)), GWLZConfig(loose)),
        "psnr_2d_f8_big_fortran": Example(
            np.asfortranarray(waves((60, 80), ">f8")), GWLZConfig(SZConfig(Bound.psnr(30.0)), target="psnr")
        ),
        "holes": Example(
            holed(), GWLZConfig(SZConfig(Bound.abs(0.5), preserve=[-9999.0]), target="psnr", psnr=32.0)
        ),
        "row": Example(waves((9000,)), GWLZConfig(loose, groups="quantile")),
        "value_groups_4d": Example(
            waves((2, 10, 48, 48)),
            GWLZConfig(loose, groups="value", n_groups=4),
        ),
        "shared": Example(waves((10, 24, 40)), GWLZConfig(loose, target="psnr", psnr=28.0, shared=SHARED)),
        "aux_3d": Example(waves((10, 24, 40)), GWLZConfig(loose, aux=["u"]), (beside((10, 24, 40), "<f8"),)),
        "aux_two_fortran": Example(
            np.asfortranarray(waves((80, 90), ">f4")),
            GWLZConfig(loose, aux=["u", "v"]),
            (beside((80, 90), "<f4"), beside((80, 90), ">f8")[:, ::-1]),
        ),
        "measured": Example(hills((9, 11), rough=8), GWLZConfig(SZConfig(Bound.psnr(60.0)), target="psnr")),
        "off": Example(hills((9, 11), rough=8), GWLZConfig(SZConfig(Bound.abs(1e-4)))),
    }


def digest(array: NDArray[Any]) -> str:
    """The digest of an array's memory."""
    return sha256(array.tobytes(order="A")).hexdigest()


def add_missing() -> list[str]:
    """Encode each example that has no golden yet; returns the names of the files written."""
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    have = {entry["example"] for entry in manifest.values()}
    written = []
    for name, example in examples().items():
        if name in have:
            continue
        file = FOLDER / f"gwlz_{VERSION}_{name}.bin"
        stream = encode(example.array, example.config, aux=example.aux)
        with file.open("xb") as out:
            out.write(stream)
        decoded = decode(stream, example.config, aux=example.aux)
        manifest[file.name] = {
            "example": name,
            "stream_sha256": sha256(stream).hexdigest(),
            "decoded_sha256": digest(decoded),
            "config": example.config.to_json(),
        }
        written.append(file.name)
    MANIFEST.write_text(json.dumps(dict(sorted(manifest.items())), indent=1) + "\n")
    return written


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in add_missing()) or "every example has its golden\n")
