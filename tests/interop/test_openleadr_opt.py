"""A schedule of ours told to a real openleadr VTN, whose EiOpt is there in name only: the operator is told so."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Gateway, OpenleadrVtn, eventually, free_port

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="gg-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_vtn_without_the_service_leaves_the_schedule_in_force_with_us_alone(folder: Path) -> None:
    port = free_port()
    utility = OpenleadrVtn(port, "1")
    gateway = Gateway(folder, vtn_port=port)
    try:
        gateway.start()
        utility.wait_for("registered", within_s=40, ven_name="lab-ven")
        made = gateway.ask(
            "opt", "create", "--connection", "lab-ven", "--out", "--start", "+1h", "--duration", "1h", "--by", "ann"
        )
        assert made["outcome"]["done"]
        line = eventually(
            "it is not taken",
            lambda: next((one for one in gateway.ask("opt", "list") if one["state"] != "to be told"), None),
            within_s=100,
        )
        assert line["state"] == "in force with us, not taken by the grid"
        assert "EiOpt" in line["detail"], line
        assert gateway.stop() == 0
    finally:
        gateway.end()
        utility.end()
