"""Signals to end: the first is a wish, its echo is nothing, the second is an order."""

import signal
from threading import Thread

import pytest

from mbseg import interruption
from mbseg.interruption import ECHO, Interruption, endings_at_once

ENDINGS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _not_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_first_signal_is_a_wish_and_so_are_its_echoes(ending):
    ended = []
    with Interruption() as wish:
        wish.ends(lambda: ended.append(ending))
        for number in (ending, ending, signal.SIGINT):
            signal.raise_signal(number)
    assert wish.happened and ended == [ending]


def test_an_echo_that_comes_when_all_is_over_is_waited_for(monkeypatch):
    monkeypatch.setattr(interruption, "sleep", lambda _seconds: signal.raise_signal(signal.SIGINT))
    with Interruption() as wish:
        signal.raise_signal(signal.SIGINT)
    assert wish.happened


def test_the_next_signal_raises_however_many_echoes_came_before(monkeypatch):
    moments = iter([7.0, 7 + 0.6 * ECHO, 7 + 1.2 * ECHO, 7 + 1.4 * ECHO, 9.0])
    monkeypatch.setattr(interruption, "monotonic", lambda: next(moments))
    with Interruption():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_what_is_to_be_called_is_called_at_once_if_it_has_happened():
    ended = []
    with Interruption() as wish:
        signal.raise_signal(signal.SIGTERM)
        wish.ends(lambda: ended.append(True))
    assert ended == [True]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_signal_to_end_is_like_ctrl_c_for_a_while(ending):
    before = signal.getsignal(ending)
    with pytest.raises(KeyboardInterrupt) as caught, endings_at_once():
        signal.raise_signal(ending)
    assert caught.value.number == ending
    assert signal.getsignal(ending) == before


@pytest.mark.parametrize("opened", [Interruption, endings_at_once])
def test_nohup_is_obeyed(opened):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with opened():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_is_changed():
    def open_and_note() -> None:
        with Interruption(), endings_at_once():
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers = []
    thread = Thread(target=open_and_note)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
