"""The tests for real GPUs, run over our own library: they must work on the day a GPU is at hand."""

import os
import subprocess
import sys
from pathlib import Path

from tests.nvml_library.control import DRIVER_NOT_LOADED, STATE_VARIABLE, Board

ROOT = Path(__file__).parents[2]


def run(library: Path, board: Board, *words: str, **more: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in {"CI", "GRIDGATE_GPU_WRITE"}}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-s", *words, "tests/gpu"],
        cwd=ROOT,
        env=environment | {"LD_LIBRARY_PATH": str(library.parent), STATE_VARIABLE: str(board.path)} | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_they_pass_and_put_back_what_they_found(nvml_library, tmp_path):
    board = Board(tmp_path / "gpus", devices=1, manual=False)
    board.devices[0].limit_w = 380.0
    said = run(nvml_library, board, GRIDGATE_GPU_WRITE="1")
    # The library computes nothing: there is no matrix product to be slowed.
    assert "6 passed, 1 skipped" in said
    assert "no matrix product here: " in said
    assert "342 W written and read back" in said
    assert board.limits_w() == [380.0]
    assert board.devices[0].writes == 2


def test_they_write_nothing_unless_told(nvml_library, tmp_path):
    board = Board(tmp_path / "gpus", devices=1, manual=False)
    assert "1 passed, 1 skipped" in run(nvml_library, board, "-k", "test_a_limit")
    assert board.devices[0].writes == 0


def test_without_a_gpu_they_say_so_in_one_line(nvml_library, tmp_path):
    board = Board(tmp_path / "gpus", devices=1, manual=False)
    board.unload_driver(DRIVER_NOT_LOADED)
    said = run(nvml_library, board, GRIDGATE_GPU_WRITE="1")
    assert "SKIPPED [6] tests/gpu/test_real_gpu.py: no NVIDIA GPU at hand: cannot open the NVIDIA driver" in said
    assert said.count("no NVIDIA GPU at hand") == 2, "once a file"
