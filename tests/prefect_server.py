"""One Prefect server a session, on a free port and in a folder of its own; for tests of flows."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

__all__ = ["PrefectServer", "prefect_server"]

_READY_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """A server that runs.

    Prefect reads its settings when it is imported: give `environment` to a subprocess that runs the flow.
    """

    url: str
    home: Path
    environment: dict[str, str]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server with an empty database; the test is skipped where Prefect is not installed."""
    if importlib.util.find_spec("prefect") is None:
        pytest.skip("no prefect: install sciflow[flows]")
    home, port = tmp_path_factory.mktemp("prefect"), _free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")},
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    log = home / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(server, url, log)
        yield PrefectServer(url, home, environment)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(f"{url}/health", timeout=5) as answer:
                if answer.read() == b"true":
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the Prefect server did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
