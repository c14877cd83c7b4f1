"""The driver against a real Slurm cluster. Each of Slurm's surprises that we know of is a test."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hardware.errors import CallHangs, Condition, HardwareError, SchedulerLost, Unsupported, WriteRefused
from hardware.job import JobState, JobView, PauseMethod, SchedulerDriver
from hardware.job_terms import JobTerms, TermsRule
from hardware.slurm.checkpoint import Checkpoint
from hardware.slurm.command import SlurmCommands
from hardware.slurm.jobs import SlurmJobs
from tests.slurm_cluster import NOBODY, SlurmCluster

TICKS = "while true; do echo tick; sleep 0.02; done"
RANKS = "srun --output=%j-%t.out sh -c 'while true; do echo tick; sleep 0.02; done'"
WHOLE_NODES = ("--nodes=2", "--gres=gpu:8")

METHODS = {method.value: TermsRule(where={"name": f"{method}-*"}, terms=JobTerms(
    tier="flex2", min_throughput=0.75, max_pause_s=120.0, method=method,
)) for method in PauseMethod}  # fmt: skip


@pytest.fixture
def cluster(slurm: SlurmCluster) -> Iterator[SlurmCluster]:
    yield slurm
    slurm.tidy()


@pytest.fixture
def driver(cluster: SlurmCluster) -> SlurmJobs:
    return opened(cluster)


def opened(cluster: SlurmCluster, *, deadline_s: float = 20.0, folder: Path | None = None) -> SlurmJobs:
    return SlurmJobs(
        SlurmCommands(conf=cluster.conf, folder=folder),
        rules=tuple(METHODS.values()),
        deadline_s=deadline_s,
        settle_s=10.0,
        rest_s=1.0,
        checkpoint=Checkpoint(within_s=10.0),
    )


def submitted(
    cluster: SlurmCluster, script: str, *options: str, method: str = "suspend", state: str = "RUNNING"
) -> str:
    job_id = cluster.submit(script, f"--job-name={method}-job", *options)
    cluster.wait_for(job_id, state)
    return job_id


def running(cluster: SlurmCluster, *options: str, method: str = "suspend", script: str = TICKS) -> str:
    """A job that writes fifty lines a second, and has begun to."""
    job_id = submitted(cluster, script, *options, method=method)
    cluster.wait(f"job {job_id} writes", lambda: cluster.written(f"{job_id}.out") > 0)
    return job_id


def view(driver: SlurmJobs, job_id: str) -> JobView:
    return next(job for job in driver.jobs() if job.job_id == job_id)


def raised(call: Callable[[], object]) -> HardwareError:
    with pytest.raises(HardwareError) as caught:
        call()
    return caught.value


def is_still(cluster: SlurmCluster, *names: str) -> bool:
    """Whether nothing is written to these files for a while in which a running job would write ten lines."""
    before = [cluster.written(name) for name in names]
    time.sleep(0.25)
    return [cluster.written(name) for name in names] == before


def goes_on(cluster: SlurmCluster, *names: str) -> None:
    for name in names:
        before = cluster.written(name)
        cluster.wait(f"{name} grows", lambda name=name, before=before: cluster.written(name) > before)  # type: ignore[misc]


class TestListing:
    def test_jobs_are_listed_with_their_devices_and_terms(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        first = running(cluster, "--gres=gpu:3")
        wide = running(cluster, "--nodes=2", "--gres=gpu:h100:2", method="signal")
        waiting = submitted(cluster, TICKS, *WHOLE_NODES, state="PENDING", method="nothing")
        jobs = {job.job_id: job for job in driver.jobs()}

        assert isinstance(driver, SchedulerDriver)
        assert jobs[first].device_ids == ("gpu1/0", "gpu1/1", "gpu1/2")
        assert jobs[wide].device_ids == ("gpu1/3", "gpu1/4", "gpu2/0", "gpu2/1")
        assert jobs[waiting].device_ids == ()
        assert [jobs[key].state for key in (first, wide, waiting)] == [JobState.RUNNING] * 2 + [JobState.PENDING]
        assert [jobs[key].method for key in (first, wide)] == [PauseMethod.SUSPEND, PauseMethod.SIGNAL]
        assert (jobs[first].tier, jobs[first].max_pause_s) == ("flex2", 120.0)
        assert (jobs[waiting].tier, jobs[waiting].max_pause_s) == ("flex0", 0.0)

    def test_progress_is_what_a_job_has_written(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        job_id = running(cluster)
        before = view(driver, job_id).progress
        assert before is not None
        cluster.wait("the job has come further", lambda: (view(driver, job_id).progress or 0.0) > before)
        silent = cluster.submit(TICKS, "--output=/dev/null")
        cluster.wait_for(silent, "RUNNING")
        assert view(driver, silent).progress is None

    def test_job_whose_name_imitates_a_listing_is_read_right(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        name = "x\n   UserId=0 Partition=serve JobState=COMPLETED"
        job_id = cluster.submit(TICKS, f"--job-name={name}")
        cluster.wait_for(job_id, "RUNNING")
        assert view(driver, job_id).state is JobState.RUNNING

    def test_tasks_of_an_array_are_jobs_and_those_that_wait_are_one(
        self, cluster: SlurmCluster, driver: SlurmJobs
    ) -> None:
        array = cluster.submit(TICKS, "--array=0-4%2", "--job-name=suspend-array")
        cluster.wait("two tasks run", lambda: cluster.say("squeue", "-h", "-t", "R").count("\n") == 2)
        jobs = {job.job_id: job.state for job in driver.jobs() if job.job_id.split("_")[0] == array}
        assert jobs == {f"{array}_0": JobState.RUNNING, f"{array}_1": JobState.RUNNING, array: JobState.PENDING}

        driver.pause(f"{array}_0")
        driver.hold(array)
        states = {job.job_id: job.state for job in driver.jobs()}
        assert states[f"{array}_0"] is JobState.PAUSED
        assert states[f"{array}_1"] is JobState.RUNNING
        assert states[array] is JobState.HELD
        driver.release(array)
        driver.resume(f"{array}_0")
        assert view(driver, f"{array}_0").state is JobState.RUNNING
        assert view(driver, array).state is JobState.PENDING

    def test_heterogeneous_job_is_one_and_pauses_as_a_whole(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        script = cluster.script(TICKS)
        mem = "--mem=50"
        words = ("--gres=gpu:1", mem, "--job-name=suspend-het", ":", "--gres=gpu:2", mem, "--job-name=suspend-het")
        job_id = cluster.say("sbatch", "--parsable", f"--chdir={cluster.folder}/jobs", *words, str(script)).strip()
        cluster.wait("it runs", lambda: view(driver, job_id).state is JobState.RUNNING)
        assert len(view(driver, job_id).device_ids) == 3
        driver.pause(job_id)
        parts = cluster.say("squeue", "-h", "-o", "%i %T").split("\n")[:2]
        assert sorted(parts) == [f"{job_id}+0 SUSPENDED", f"{job_id}+1 SUSPENDED"]


class TestPauses:
    @pytest.mark.parametrize("method", ["suspend", "signal"])
    def test_pause_and_resume_are_read_back_and_may_be_repeated(
        self, cluster: SlurmCluster, driver: SlurmJobs, method: str
    ) -> None:
        job_id = running(cluster, method=method)
        driver.pause(job_id)
        driver.pause(job_id)
        assert view(driver, job_id).state is JobState.PAUSED
        assert is_still(cluster, f"{job_id}.out")
        driver.resume(job_id)
        driver.resume(job_id)
        assert view(driver, job_id).state is JobState.RUNNING
        goes_on(cluster, f"{job_id}.out")

    @pytest.mark.parametrize("method", ["suspend", "signal"])
    def test_ranks_on_two_nodes_stop_together_and_go_on_together(
        self, cluster: SlurmCluster, driver: SlurmJobs, method: str
    ) -> None:
        job_id = submitted(cluster, RANKS, "--nodes=2", "--ntasks=2", method=method)
        ranks = [f"{job_id}-0.out", f"{job_id}-1.out"]
        cluster.wait("both ranks write", lambda: all(cluster.written(rank) > 0 for rank in ranks))
        driver.pause(job_id)
        cluster.wait("both ranks are still", lambda: is_still(cluster, *ranks))
        stopped = [cluster.written_at_s(rank) for rank in ranks]
        assert abs(stopped[0] - stopped[1]) < 1.0
        driver.resume(job_id)
        goes_on(cluster, *ranks)

    def test_suspended_job_keeps_its_gpus_and_the_next_one_waits(
        self, cluster: SlurmCluster, driver: SlurmJobs
    ) -> None:
        job_id = running(cluster, *WHOLE_NODES)
        driver.pause(job_id)
        waiting = submitted(cluster, TICKS, "--gres=gpu:1", state="PENDING Resources")
        assert len(view(driver, job_id).device_ids) == 16
        driver.resume(job_id)
        assert cluster.state(waiting) == "PENDING Resources"

    def test_requeue_pauses_a_job_without_its_devices_and_resume_begins_it_anew(
        self, cluster: SlurmCluster, driver: SlurmJobs
    ) -> None:
        job_id = running(cluster, "--gres=gpu:8", method="requeue")
        driver.pause(job_id)
        driver.pause(job_id)
        paused = view(driver, job_id)
        assert (paused.state, paused.device_ids) == (JobState.PAUSED, ())
        cluster.wait("it has ended", lambda: cluster.state(job_id).startswith("PENDING job requeued in held state"))
        driver.resume(job_id)
        cluster.wait("it runs again", lambda: view(driver, job_id).state is JobState.RUNNING, within_s=30.0)

    def test_checkpoint_is_written_before_the_job_is_suspended(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        script = "trap 'sleep 0.5; echo saved; touch checkpoint.done' USR1\n" + TICKS
        job_id = running(cluster, method="checkpoint", script=script)
        driver.pause(job_id)
        assert view(driver, job_id).state is JobState.PAUSED
        assert "saved" in cluster.output(job_id)
        driver.resume(job_id)
        goes_on(cluster, f"{job_id}.out")

    def test_job_that_writes_no_checkpoint_in_its_time_is_suspended_all_the_same(self, cluster: SlurmCluster) -> None:
        driver = SlurmJobs(
            SlurmCommands(conf=cluster.conf), rules=tuple(METHODS.values()), checkpoint=Checkpoint(within_s=0.5)
        )
        job_id = running(cluster, method="checkpoint", script=f"trap : USR1\n{TICKS}")
        driver.pause(job_id)
        assert view(driver, job_id).state is JobState.PAUSED

    def test_job_that_waits_cannot_be_suspended(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        running(cluster, *WHOLE_NODES)
        waiting = submitted(cluster, TICKS, "--gres=gpu:1", state="PENDING")
        assert "Job is pending execution" in cluster.ask("scontrol", "suspend", waiting).stderr
        fault = raised(lambda: driver.pause(waiting))
        assert isinstance(fault, Unsupported)
        assert "hold it instead" in fault.cure

    def test_exit_codes_that_the_driver_does_not_go_by(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        job_id = running(cluster)
        assert cluster.ask("scontrol", "resume", job_id).stderr.startswith("Job is not suspended")
        driver.resume(job_id)
        cluster.say("scontrol", "suspend", job_id)
        cluster.say("scontrol", "suspend", job_id)
        assert cluster.ask("scontrol", "suspend", "99999").stderr.startswith("Unexpected message received")
        fault = raised(lambda: driver.pause("99999"))
        assert (fault.condition, fault.device_id) == (Condition.LOST, "99999")

    @pytest.mark.parametrize("name", ["1 2", "1,2", "--help", "1;reboot", ""])
    def test_what_is_no_listed_job_never_reaches_slurm(self, driver: SlurmJobs, name: str) -> None:
        assert raised(lambda: driver.pause(name)).condition is Condition.LOST

    def test_run_time_stops_counting_while_a_job_is_suspended(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        job_id = running(cluster)
        driver.pause(job_id)
        first = cluster.say("squeue", "-h", "-j", job_id, "-o", "%M")
        time.sleep(1.2)
        assert cluster.say("squeue", "-h", "-j", job_id, "-o", "%M") == first


class TestQueue:
    def test_hold_release_and_priority_are_read_back(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        running(cluster, *WHOLE_NODES)
        waiting = submitted(cluster, TICKS, "--gres=gpu:1", state="PENDING")
        driver.hold(waiting)
        driver.hold(waiting)
        assert view(driver, waiting).state is JobState.HELD
        assert isinstance(raised(lambda: driver.prioritize(waiting, 7)), Unsupported)
        driver.release(waiting)
        driver.release(waiting)
        assert view(driver, waiting).state is JobState.PENDING
        driver.prioritize(waiting, 4321)
        assert view(driver, waiting).priority == 4321
        assert isinstance(raised(lambda: driver.prioritize(waiting, 0)), WriteRefused)

    def test_job_that_has_started_cannot_be_held(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        job_id = running(cluster)
        assert "pause it instead" in raised(lambda: driver.hold(job_id)).cure
        assert view(driver, job_id).state is JobState.RUNNING

    def test_requeue_by_slurm_alone_would_wait_two_minutes_and_take_no_signal(self, cluster: SlurmCluster) -> None:
        job_id = running(cluster)
        cluster.say("scontrol", "requeue", job_id)
        cluster.wait_for(job_id, "PENDING BeginTime")
        waits_s = float(cluster.say("squeue", "-h", "-j", job_id, "-O", "StartTime").strip() != "N/A")
        assert waits_s == 1.0
        driver = opened(cluster)
        began_s = time.monotonic()
        with pytest.raises(Unsupported):
            driver.pause(job_id)
        assert time.monotonic() - began_s < 5.0
        with pytest.raises(CallHangs):
            SlurmCommands(conf=cluster.conf).signal(job_id, "USR1", time.monotonic() + 1.0)

    def test_requeued_job_begins_within_seconds_and_is_not_lost(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        # A node refuses for good what begins again in the second in which it ended: five jobs meet any part of one.
        job_ids = [running(cluster) for _ in range(5)]
        for job_id in job_ids:
            driver.requeue(job_id)
        for job_id in job_ids:
            cluster.wait("it runs again", lambda: view(driver, job_id).state is JobState.RUNNING, within_s=30.0)  # noqa: B023
            assert "Restarts=1" in cluster.say("scontrol", "show", "job", job_id)

    def test_job_that_may_not_be_requeued_says_so(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        job_id = running(cluster, "--no-requeue")
        fault = raised(lambda: driver.requeue(job_id))
        assert isinstance(fault, Unsupported)
        assert "--requeue" in fault.cure
        assert view(driver, job_id).state is JobState.RUNNING

    def test_drain_and_undrain_are_read_back_and_jobs_go_on(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        job_id = running(cluster)
        driver.drain("gpu1", "a feed is out")
        driver.drain("gpu1", "again")
        assert {node.node_id: node.drained for node in driver.nodes()} == {"gpu1": True, "gpu2": False}
        assert "gridgate: a feed is out" in cluster.say("scontrol", "show", "node", "gpu1")
        assert view(driver, job_id).state is JobState.RUNNING
        driver.undrain("gpu1")
        driver.undrain("gpu1")
        assert not any(node.drained for node in driver.nodes())
        assert raised(lambda: driver.drain("gpu9", "no such node")).condition is Condition.LOST

    def test_node_that_is_down_says_so_and_how_to_have_it_back(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        cluster.say("scontrol", "update", "NodeName=gpu2", "State=DOWN", "Reason=no power")
        try:
            whole, down = driver.nodes()
            assert whole.fault is None
            assert down.fault is not None
            assert down.fault.condition is Condition.LOST
            assert "no power" in down.fault.detail
            assert "NodeName=gpu2 State=RESUME" in down.fault.cure
        finally:
            cluster.say("scontrol", "update", "NodeName=gpu2", "State=RESUME")

    def test_node_that_somebody_else_drained_stays_drained(self, cluster: SlurmCluster, driver: SlurmJobs) -> None:
        cluster.say("scontrol", "update", "NodeName=gpu2", "State=DRAIN", "Reason=bad fan")
        driver.drain("gpu2", "a feed is out")
        fault = raised(lambda: driver.undrain("gpu2"))
        assert fault.condition is Condition.CONFLICT
        assert "bad fan" in str(fault)
        assert driver.nodes()[1].drained


class TestFaults:
    def test_dead_controller_holds_nobody_up_and_a_pause_outlives_it(self, cluster: SlurmCluster) -> None:
        driver = opened(cluster, deadline_s=2.0)
        job_id = running(cluster)
        driver.pause(job_id)
        cluster.wait_until_saved(job_id)
        cluster.kill_controller()
        with capture_logs() as told:
            began_s = time.monotonic()
            first = raised(lambda: driver.resume(job_id))
            assert time.monotonic() - began_s < 5.0
            assert isinstance(first, CallHangs)
            began_s = time.monotonic()
            second = raised(driver.jobs)
            assert time.monotonic() - began_s < 0.5
            assert isinstance(second, SchedulerLost)
            assert second.condition is Condition.CALL_HANGS
            assert "slurmctld" in second.cure
            cluster.start_controller()
            cluster.wait("it is asked again", lambda: answers(driver))
        assert [entry["event"] for entry in told] == ["slurm_lost", "slurm_back"]
        assert view(driver, job_id).state is JobState.PAUSED
        cluster.wait("its nodes are back", lambda: "*" not in "".join(cluster.node_states().values()))
        driver.resume(job_id)
        goes_on(cluster, f"{job_id}.out")

    def test_controller_that_hangs_is_left_at_the_deadline(self, cluster: SlurmCluster) -> None:
        driver = opened(cluster, deadline_s=1.5)
        job_id = running(cluster)
        cluster.freeze_controller()
        began_s = time.monotonic()
        fault = raised(lambda: driver.pause(job_id))
        assert time.monotonic() - began_s < 4.0
        assert fault.condition is Condition.CALL_HANGS
        cluster.thaw_controller()
        cluster.wait("it is asked again", lambda: answers(driver))
        driver.pause(job_id)
        assert view(driver, job_id).state is JobState.PAUSED

    def test_ordinary_user_may_look_and_is_told_which_role_the_rest_needs(
        self, cluster: SlurmCluster, tmp_path: Path
    ) -> None:
        job_id = running(cluster, "--gres=gpu:1")
        waiting = submitted(cluster, TICKS, *WHOLE_NODES, state="PENDING")
        folder = commands(cluster, f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$real" "$@"')
        driver = opened(cluster, folder=folder)
        assert view(driver, job_id).state is JobState.RUNNING
        for call in (
            lambda: driver.pause(job_id),
            lambda: driver.requeue(job_id),
            lambda: driver.prioritize(waiting, 9),
            lambda: driver.hold(waiting),
            lambda: driver.drain("gpu1", "no"),
        ):
            fault = raised(call)
            assert fault.condition is Condition.NO_PERMISSION
            assert "operator" in fault.cure
        assert view(driver, job_id).state is JobState.RUNNING

    def test_scheduler_that_is_not_installed_or_not_configured_is_named(
        self, cluster: SlurmCluster, tmp_path: Path
    ) -> None:
        absent = raised(opened(cluster, folder=tmp_path).jobs)
        assert (type(absent), absent.condition) == (SchedulerLost, Condition.NO_DRIVER)
        assert "slurm-client" in absent.cure
        began_s = time.monotonic()
        unknown = raised(SlurmJobs(SlurmCommands(conf=tmp_path / "slurm.conf"), rules=()).jobs)
        assert time.monotonic() - began_s < 4.0
        assert unknown.condition is Condition.NO_DRIVER
        assert "slurm.conf" in unknown.cure

    def test_munge_that_is_down_is_named(self, cluster: SlurmCluster, tmp_path: Path) -> None:
        text = cluster.conf.read_text(encoding="ascii")
        conf = tmp_path / "slurm.conf"
        conf.write_text(text.replace("/munge/socket", "/munge/elsewhere"), encoding="ascii")
        fault = raised(SlurmJobs(SlurmCommands(conf=conf), rules=(), deadline_s=20.0).jobs)
        assert fault.condition is Condition.NO_DRIVER
        assert "munged" in fault.cure

    def test_client_of_another_version_is_named(self, cluster: SlurmCluster) -> None:
        # Slurm's own words for SLURM_PROTOCOL_VERSION_ERROR; no second version is at hand.
        says = 'echo "slurm_load_jobs error: Incompatible versions of client and server code" >&2; exit 1'
        fault = raised(opened(cluster, folder=commands(cluster, says)).jobs)
        assert (type(fault), fault.condition) == (SchedulerLost, Condition.VERSION_MISMATCH)

    def test_job_that_ends_under_the_pause_is_told_from_one_that_runs_on(
        self, cluster: SlurmCluster, driver: SlurmJobs
    ) -> None:
        job_id = running(cluster)
        folder = commands(
            cluster, f'[ "$1" = suspend ] && {{ scancel {job_id}; sleep 1; }}; exec "$real" "$@"', only="scontrol"
        )
        fault = raised(lambda: opened(cluster, folder=folder).pause(job_id))
        assert fault.condition is Condition.LOST
        assert view(driver, job_id).state is JobState.FINISHED
        driver.resume(job_id)

    def test_pause_that_slurm_takes_in_vain_is_not_in_force(self, cluster: SlurmCluster) -> None:
        first, second = running(cluster), running(cluster)
        folder = commands(cluster, f'[ "$2" = {second} ] && exit 0; exec "$real" "$@"', only="scontrol")
        driver = SlurmJobs(SlurmCommands(conf=cluster.conf, folder=folder), rules=tuple(METHODS.values()), settle_s=0.3)
        driver.pause(first)
        fault = raised(lambda: driver.pause(second))
        assert fault.condition is Condition.NOT_IN_FORCE
        assert [view(driver, key).state for key in (first, second)] == [JobState.PAUSED, JobState.RUNNING]
        driver.resume(first)

    def test_environment_of_the_caller_changes_nothing(
        self, cluster: SlurmCluster, driver: SlurmJobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = running(cluster)
        for name in (
            "SQUEUE_FORMAT",
            "SQUEUE_STATES",
            "SLURM_TIME_FORMAT",
            "SLURM_CONF",
            "SCANCEL_STATE",
            "LD_PRELOAD",
        ):
            monkeypatch.setenv(name, "/nowhere")
        driver.pause(job_id)
        assert view(driver, job_id).state is JobState.PAUSED


def answers(driver: SlurmJobs) -> bool:
    try:
        driver.jobs()
    except HardwareError:
        return False
    return True


def commands(cluster: SlurmCluster, script: str, only: str = "") -> Path:
    """A folder of Slurm's commands in which this stands before each of them, or before one; ``$real`` is the real."""
    folder = cluster.folder / "jobs" / f"commands-{time.monotonic_ns()}"
    folder.mkdir()
    for name in ("scontrol", "squeue", "sinfo", "scancel"):
        real = cluster.program(name)
        place = folder / name
        body = script if only in ("", name) else 'exec "$real" "$@"'
        place.write_text(f"#!/bin/sh\nreal={real}\n{body}\n", encoding="ascii")
        place.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    os.sync()
    return folder
