"""From ``[[hardware]]`` that runs jobs to the drivers of a host."""

import signal

import pytest

from gateway.attach import job_runners, looked_at
from gateway.config import settings_from
from hardware.errors import HardwareError
from hardware.job import JobState, SchedulerDriver


def settings(*hardware):
    return settings_from({"site": {"id": "lab"}, "hardware": list(hardware)}, source="x.toml")


def process(**job):
    return {"kind": "process", "job": [{"id": "train", "max_pause_s": 60, **job}]}


@pytest.mark.parametrize("way", ["pid_file", "process_group_of", "session_of", "cgroup"])
def test_process_jobs_are_found_as_they_are_declared(tmp_path, way):
    declared = settings(process(**{way: str(tmp_path / "nothing")}, devices=["gpu-0"], tier="flex3"))
    (driver,) = job_runners(declared, tmp_path / "stopped.json").values()
    (job,) = driver.jobs()
    assert (job.job_id, job.device_ids, job.tier, job.state) == ("train", ("gpu-0",), "flex3", JobState.FINISHED)
    assert not (tmp_path / "stopped.json").exists()


def test_checkpoint_is_asked_for_as_it_is_declared(tmp_path):
    declared = settings(
        process(
            pid_file="/run/a.pid",
            method="checkpoint",
            checkpoint_signal="SIGUSR2",
            checkpoint_file=str(tmp_path / "done"),
            checkpoint_timeout_s=90,
        )
    )
    (driver,) = job_runners(declared, None).values()
    checkpoint = driver._members["train"].job.checkpoint
    assert (checkpoint.signal_number, checkpoint.timeout_s) == (signal.SIGUSR2, 90.0)


def test_slurm_by_either_way(tmp_path):
    rest = {"way": "rest", "url": "http://127.0.0.1:6820", "user": "root", "token_file": str(tmp_path / "token")}
    runners = job_runners(settings({"kind": "slurm"}, {"kind": "slurm", "name": "b", **rest}), None)
    assert list(runners) == ["slurm slurm", "slurm b"]
    assert all(isinstance(driver, SchedulerDriver) for driver in runners.values())


def test_slurm_by_an_address_that_would_show_the_token_is_refused(tmp_path):
    rest = {"way": "rest", "url": "http://head.lab:6820", "user": "root", "token_file": str(tmp_path / "token")}
    with pytest.raises(HardwareError, match="https"):
        job_runners(settings({"kind": "slurm", **rest}), None)


def test_host_with_jobs_only_is_looked_at_without_devices(tmp_path):
    with looked_at(settings(process(pid_file=str(tmp_path / "none.pid")))) as (devices, jobs):
        assert devices.devices() == ()
        assert [job.job_id for job in jobs.jobs()] == ["train"]


def test_simulated_host_with_process_jobs_has_both(tmp_path):
    with looked_at(settings({"kind": "simulated"}, process(pid_file=str(tmp_path / "none.pid")))) as (devices, jobs):
        assert devices.devices()
        assert "train" in {job.job_id for job in jobs.jobs()}
        assert len(jobs.jobs()) > 1
