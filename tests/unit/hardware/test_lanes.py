"""Calls side by side: order, faults as values, bugs raised, and one that hangs holding nobody else up."""

import threading

import pytest
from structlog.testing import capture_logs

from hardware.errors import CallHangs, Condition, DeviceLost
from hardware.lanes import Lanes, Serial
from tests.lab import eventually


@pytest.fixture
def lanes():
    made = Lanes(deadline_s=0.2)
    yield made
    made.close()


@pytest.fixture(params=["lanes", "serial"])
def fan_out(request, lanes):
    return lanes if request.param == "lanes" else Serial()


def doubled_or_lost(key):
    if key == "b":
        raise DeviceLost("gone", device_id=key)
    return 2 * key


def test_answers_and_faults_come_in_order(fan_out):
    answers = fan_out.each(["c", "b", "a"], doubled_or_lost)
    assert list(answers) == ["c", "b", "a"]
    assert (answers["c"], answers["a"]) == ("cc", "aa")
    assert isinstance(answers["b"], DeviceLost)
    assert fan_out.hung() == {}
    assert fan_out.each([], doubled_or_lost) == {}


def test_a_bug_is_raised(fan_out):
    with pytest.raises(ZeroDivisionError):
        fan_out.each(["a", "b"], lambda key: 1 / 0)
    assert fan_out.each(["a"], doubled_or_lost) == {"a": "aa"}


def test_calls_on_several_devices_are_made_at_the_same_time():
    lanes, meeting = Lanes(deadline_s=10.0), threading.Barrier(8)
    answers = lanes.each([str(index) for index in range(8)], lambda key: meeting.wait(9.0) >= 0)
    assert list(answers.values()) == [True] * 8
    lanes.close()


def test_each_device_keeps_its_thread(lanes):
    first = lanes.each(["a", "b"], lambda key: threading.get_ident())
    assert lanes.each(["b", "a"], lambda key: threading.get_ident()) == first
    assert first["a"] != first["b"]


def test_a_call_that_hangs_holds_nobody_up_and_is_over_when_it_comes_back(lanes):
    free, made = threading.Event(), []

    def call(key):
        made.append(key)
        if key == "b":
            free.wait(20.0)
        return key

    with capture_logs() as logs:
        answers = lanes.each("abc", call)
        assert (answers["a"], answers["c"]) == ("a", "c")
        fault = answers["b"]
        assert isinstance(fault, CallHangs)
        assert (fault.device_id, fault.condition) == ("b", Condition.CALL_HANGS)
        assert "restart" in fault.cure
        assert lanes.hung().keys() == {"b"}
        assert isinstance(lanes.each("abc", call)["b"], CallHangs)
        assert sorted(made) == list("aabcc"), "what hangs is not asked again"
        assert lanes.hung()["b"] >= 0.0
        free.set()
        eventually("the lane is free", lambda: not lanes.hung(), within_s=5.0)
        assert lanes.each("b", call) == {"b": "b"}
        eventually("its return is told", lambda: len(logs) == 2, within_s=5.0)
    assert [line["event"] for line in logs] == ["call_hangs", "call_came_back"], "each once"


def test_a_bug_in_a_call_that_came_back_late_is_raised_at_the_next(lanes):
    free = threading.Event()

    def call(key):
        free.wait(20.0)
        return 1 / 0

    assert isinstance(lanes.each("a", call)["a"], CallHangs)
    free.set()
    eventually("the lane is free", lambda: not lanes.hung(), within_s=5.0)
    with pytest.raises(ZeroDivisionError):
        lanes.each("a", doubled_or_lost)
