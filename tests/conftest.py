"""What every test may ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.nvml_library.control import Board, compiled, installed
from tests.slurm_cluster import SlurmCluster, why_not

# Shared machines are slow at times: a property says what must hold, not how fast.
settings.register_profile("gridgate", deadline=None)
settings.load_profile("gridgate")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and recipes; absent, the test skips, which under CI is a failure."""
    folder = Path(os.environ.get("GRIDGATE_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no test data at {folder}: set GRIDGATE_SHARED")
    return folder


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own libnvidia-ml.so.1, built once a process."""
    return compiled(tmp_path_factory.mktemp("nvml-library"))


@pytest.fixture
def nvml_board(nvml_library: Path, tmp_path: Path) -> Iterator[Board]:
    """Four GPUs behind the real binding in this process, on a clock that the test moves."""
    with installed(nvml_library, Board(tmp_path / "nvml.state")) as board:
        yield board


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A real Slurm cluster of two nodes, started once a process. Each test leaves it empty (``SlurmCluster.tidy``)."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    cluster = SlurmCluster()
    try:
        cluster.open()
        yield cluster
    finally:
        cluster.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say under CI that a skip is a failure."""
    if os.environ.get("CI") == "true" and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("CI: a skipped test is a failure", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run under CI where a test was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
