"""``[[hardware]]`` that runs jobs."""

from datetime import UTC, datetime

import pytest

from gateway.config import ConfigError, settings_from
from hardware.job import PauseMethod

SITE = {"site": {"id": "lab"}}
TRAIN = {"id": "train", "process_group_of": "/run/train.pid"}


def process(*jobs):
    return settings_from({**SITE, "hardware": [{"kind": "process", "job": list(jobs)}]}, source="x.toml")


def slurm(**keys):
    return settings_from({**SITE, "hardware": [{"kind": "slurm", **keys}]}, source="x.toml")


def test_terms_follow_the_tier_where_they_are_not_given():
    (job,) = process({**TRAIN, "tier": "flex2", "max_pause_s": 120, "curve": "finetune-8b"}).process_jobs
    terms = job.terms()
    assert (terms.tier, terms.min_throughput, terms.max_pause_s, terms.method) == (
        "flex2",
        0.75,
        120.0,
        PauseMethod.SIGNAL,
    )
    assert terms.curve[-1].throughput == 1.0


def test_nothing_said_means_that_nothing_may_be_asked():
    terms = process(TRAIN).process_jobs[0].terms()
    assert (terms.tier, terms.min_throughput, terms.max_pause_s, terms.curve) == ("flex0", 1.0, 0.0, ())


def test_curve_of_its_own():
    (job,) = process({**TRAIN, "curve": [[200, 195, 0.7], [400, 380, 1]]}).process_jobs
    assert [point.cap_w for point in job.terms().curve] == [200.0, 400.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pid_file": "/run/a.pid"}, "give one of pid_file"),
        ({"process_group_of": None}, "give one of pid_file"),
        ({"curve": "unheard-of"}, "known: finetune-8b"),
        ({"curve": [[400, 380, 1]]}, "two or more"),
        ({"curve": [[400, 380, 1], [200, 195, 0.7]]}, "rising in cap_w"),
        ({"curve": [[200, 395, 0.7], [400, 380, 1]]}, "does not fall"),
        ({"max_pause_s": -1}, "greater than or equal to 0"),
        ({"method": "checkpoint"}, "checkpoint_file go together"),
        ({"method": "suspend"}, "'signal' or 'checkpoint'"),
        ({"pidfile": "/run/a.pid"}, "did you mean 'pid_file'"),
    ],
)
def test_errors_say_what_is_wrong(changes, said):
    with pytest.raises(ConfigError, match=said):
        process({**TRAIN, **changes})


def test_two_jobs_of_one_id_are_refused():
    with pytest.raises(ConfigError, match="'train' is used twice"):
        process(TRAIN, TRAIN)


def test_a_deadline_is_an_instant():
    deadline = datetime(2026, 12, 1, 8, tzinfo=UTC)
    (job,) = process({**TRAIN, "deadline": deadline}).process_jobs
    assert job.terms().deadline_at == deadline
    with pytest.raises(ConfigError, match="timezone"):
        process({**TRAIN, "deadline": "2026-12-01T08:00:00"})


def test_slurm_has_rules_for_terms():
    rules = [{"where": {"partition": "train*"}, "tier": "flex3", "max_pause_s": 600, "method": "requeue"}]
    (cluster,) = slurm(terms=rules).slurms
    (rule,) = cluster.terms
    assert rule.where == {"partition": "train*"}
    assert rule.terms().method is PauseMethod.REQUEUE


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"way": "rest", "url": "http://127.0.0.1:6820"}, "needs url, user and token_file"),
        ({"terms": [{"where": {"queue": "train"}}]}, "'name', 'partition'"),
        ({"deadline": 3}, "did you mean 'deadline_s'"),
    ],
)
def test_errors_of_slurm(keys, said):
    with pytest.raises(ConfigError, match=said):
        slurm(**keys)


def test_hosts_with_devices_and_several_sorts_of_jobs():
    kinds = [
        {"kind": "simulated"},
        {"kind": "process", "job": [TRAIN]},
        {"kind": "slurm"},
        {"kind": "slurm", "name": "b"},
    ]
    settings = settings_from({**SITE, "hardware": kinds}, source="x.toml")
    assert (len(settings.fleets), len(settings.process_jobs), len(settings.slurms)) == (1, 1, 2)
    with pytest.raises(ConfigError, match="'slurm' is used twice"):
        settings_from({**SITE, "hardware": [{"kind": "slurm"}, {"kind": "slurm"}]}, source="x.toml")
