"""The page of AESZ's bench says what its rows hold."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from bench.learned.aesz_page import write_page

SIZES = {
    "0.1": {"sciflow balanced": 900, "aesz linear balanced": 800, "aesz klt balanced": 901},
    "0.01": {"sciflow balanced": 9000, "aesz linear balanced": 9001, "aesz klt balanced": 9001},
}
PEERS = {"pysz": 2.0, "pysz-lorenzo": 3.0, "hdf5-sz": 4.0, "zfpy": 10.0}


def rows() -> list[dict[str, str]]:
    found = []
    for rel, sizes in SIZES.items():
        base = sizes["sciflow balanced"]
        for codec, size in {**sizes, **{name: int(f * base) for name, f in PEERS.items()}}.items():
            used = size < base
            row = {
                "field": "f",
                "values": 1 << 16,
                "rel": rel,
                "codec": codec,
                "bytes": size,
                "psnr": -10 * size / -1e3,
            }
            row |= {"model_bytes": 5000 * used, "latent_bytes": 0, "encode_mbs": 10.0, "decode_mbs": 20.0}
            found.append({name: str(value) for name, value in row.items()})
    return found


def test_the_page_counts_compares_and_draws(tmp_path: Path) -> None:
    forced = {"field": "f", "model": "linear", "rel": "0.01", "bytes": "90", "plain_bytes": "100"}
    write_page(rows(), [{**forced, "encode_mbs": "50", "decode_mbs": "300"}], tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| linear | balanced | 2 | 1 | -11.1 % |" in page
    assert "| klt | balanced | 2 | 0 | - |" in page
    assert "| f | 0.1 | 328 | linear | 3.4 | 4.5 | 11.2 | 2.2 |" in page
    assert "| f | linear | 0.01 | -10.0 % | 50 | 300 |" in page
    assert (tmp_path / "page.png").stat().st_size > 1000
