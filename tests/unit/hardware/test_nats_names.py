"""Subjects, and who may use which."""

import pytest

from hardware import nats_names as names


@pytest.mark.parametrize("text", ["h00", "gpu-01", "a_b", "A", "x" * 63])
def test_name(text):
    assert names.is_name(text)


@pytest.mark.parametrize("text", ["", "a.b", "*", ">", "a b", "x" * 64, "ü", "a\n", "a\r\nPUB x 0", "a,OU=gateway"])
def test_no_name(text):
    assert not names.is_name(text)


def test_no_two_hosts_share_what_they_may_publish():
    assert not set(names.agent_may_publish("s", "a")) & set(names.agent_may_publish("s", "b"))
    assert not set(names.agent_may_subscribe("s", "a")) & set(names.agent_may_subscribe("s", "b"))


def test_news_tell_whose_they_are():
    assert names.host_of_news(names.hello_subject("s", "gpu-01")) == ("gpu-01", names.HELLO)
    assert names.host_of_news(names.bye_subject("s", "gpu-01")) == ("gpu-01", names.BYE)
