"""The driver by a real slurmrestd, whose answers are not what they seem."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.errors import CallHangs, Condition, HardwareError, SchedulerLost
from hardware.job import JobState, PauseMethod
from hardware.job_terms import JobTerms, TermsRule
from hardware.slurm.command import SlurmCommands
from hardware.slurm.jobs import SlurmJobs
from hardware.slurm.rest import SlurmRest
from tests.slurm_cluster import SlurmCluster, why_no_rest

TICKS = "while true; do echo tick; sleep 0.02; done"
RULES = (TermsRule(terms=JobTerms(tier="flex2", min_throughput=0.75, max_pause_s=60.0, method=PauseMethod.SUSPEND)),)


@pytest.fixture
def cluster(slurm: SlurmCluster) -> Iterator[SlurmCluster]:
    reason = why_no_rest()
    if reason is not None:
        pytest.skip(reason)
    slurm.start_rest()
    yield slurm
    slurm.tidy()


@pytest.fixture
def token_file(cluster: SlurmCluster, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"SLURM_JWT={cluster.token()}\n", encoding="ascii")
    return file


def opened(cluster: SlurmCluster, token_file: Path, *, url: str = "", deadline_s: float = 20.0) -> SlurmJobs:
    rest = SlurmRest(
        url=url or cluster.start_rest(), user="root", token_file=token_file, commands=SlurmCommands(conf=cluster.conf)
    )
    return SlurmJobs(rest, rules=RULES, deadline_s=deadline_s, rest_s=0.0)


def said(cluster: SlurmCluster, token: str, method: str, path: str, body: object = None) -> tuple[int, str]:
    """What slurmrestd itself answers: status, and the errors in the body."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.rest_port, timeout=20)
    headers = {"X-SLURM-USER-NAME": "root", "X-SLURM-USER-TOKEN": token, "Content-Type": "application/json"}
    try:
        connection.request(method, f"/slurm/v0.0.38{path}", json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        return response.status, str(json.loads(response.read())["errors"])
    finally:
        connection.close()


def test_jobs_and_nodes_are_the_same_by_rest_and_by_command_line(cluster: SlurmCluster, token_file: Path) -> None:
    job_id = cluster.submit(TICKS, "--nodes=2", "--gres=gpu:2")
    cluster.wait_for(job_id, "RUNNING")
    by_rest, by_command = opened(cluster, token_file), SlurmJobs(SlurmCommands(conf=cluster.conf), rules=RULES)
    (one,) = [job for job in by_rest.jobs() if job.job_id == job_id]
    (other,) = [job for job in by_command.jobs() if job.job_id == job_id]
    assert one.device_ids == other.device_ids == ("gpu1/0", "gpu1/1", "gpu2/0", "gpu2/1")
    assert (one.state, one.priority, one.tier) == (other.state, other.priority, other.tier)
    assert by_rest.nodes() == by_command.nodes()


def test_every_verb_holds_whichever_way_it_goes(cluster: SlurmCluster, token_file: Path) -> None:
    driver = opened(cluster, token_file)
    runs = cluster.submit(TICKS, "--nodes=2", "--gres=gpu:8")
    cluster.wait_for(runs, "RUNNING")
    waits = cluster.submit(TICKS, "--gres=gpu:8")
    cluster.wait_for(waits, "PENDING")

    def state(job_id: str) -> JobState:
        return next(job.state for job in driver.jobs() if job.job_id == job_id)

    driver.pause(runs)
    assert state(runs) is JobState.PAUSED
    driver.resume(runs)
    assert state(runs) is JobState.RUNNING
    driver.hold(waits)
    assert state(waits) is JobState.HELD
    driver.release(waits)
    assert state(waits) is JobState.PENDING
    driver.prioritize(waits, 77)
    assert next(job.priority for job in driver.jobs() if job.job_id == waits) == 77
    driver.drain("gpu2", "test")
    assert [node.drained for node in driver.nodes()] == [False, True]
    driver.undrain("gpu2")
    assert not any(node.drained for node in driver.nodes())


def test_status_200_with_errors_is_no_success(cluster: SlurmCluster, token_file: Path) -> None:
    job_id = cluster.submit(TICKS, "--hold")
    status, errors = said(cluster, cluster.token(), "POST", f"/job/{job_id}", {"job": {"hold": False}})
    assert status == 200
    assert "Unknown key" in errors
    rest = SlurmRest(
        url=cluster.start_rest(), user="root", token_file=token_file, commands=SlurmCommands(conf=cluster.conf)
    )
    with pytest.raises(HardwareError, match="Priority must be >0"):
        rest.prioritize(job_id, 0, time.monotonic() + 10)


def test_bad_token_is_answered_by_500_and_named_with_its_cure(cluster: SlurmCluster, token_file: Path) -> None:
    assert said(cluster, "not-a-token", "GET", "/jobs")[0] == 500
    driver = opened(cluster, token_file)
    token_file.write_text("not-a-token", encoding="ascii")
    for call in (driver.jobs, driver.nodes):
        with pytest.raises(SchedulerLost) as caught:
            call()
        assert caught.value.condition is Condition.NO_PERMISSION
        assert "scontrol token username=root lifespan=" in caught.value.cure
    token_file.write_text(cluster.token(), encoding="ascii")
    driver.jobs()
    token_file.unlink()
    with pytest.raises(SchedulerLost, match="cannot be read"):
        driver.jobs()


def test_dead_controller_and_dead_service_are_told_apart(cluster: SlurmCluster, token_file: Path) -> None:
    driver = opened(cluster, token_file, deadline_s=1.5)
    cluster.freeze_controller()
    began_s = time.monotonic()
    with pytest.raises(CallHangs):
        driver.jobs()
    assert time.monotonic() - began_s < 4.0
    cluster.thaw_controller()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(SchedulerLost, match="start slurmrestd"):
            opened(cluster, token_file, url=url).jobs()


def test_service_that_drips_is_cut_off_at_the_deadline(cluster: SlurmCluster, token_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not over.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            began_s = time.monotonic()
            with pytest.raises(CallHangs):
                opened(cluster, token_file, url=f"http://127.0.0.1:{server.getsockname()[1]}", deadline_s=0.5).jobs()
            assert time.monotonic() - began_s < 3.0
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("url", ["http://cluster.example:6820", "ftp://127.0.0.1", "https://host/path", "nothing"])
def test_token_is_not_shown_to_the_network(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="slurmrestd"):
        SlurmRest(url=url, user="root", token_file=tmp_path / "token", commands=SlurmCommands())
