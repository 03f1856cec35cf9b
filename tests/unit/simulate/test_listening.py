"""Both queues of a listening socket: who is admitted, dropped, forgotten or reset."""

from __future__ import annotations

from ftpstorm.simulate.listening import Answer, Listener

REQUEST, COOKIE, DROPPED = Answer.REQUEST, Answer.COOKIE, Answer.DROPPED


def test_handshakes_one_by_one_fill_the_accept_queue_and_further_syns_are_dropped_cookies_or_not() -> None:
    for cookies in (True, False):
        listener = Listener(interval_ns=10, backlog=2, cookies=cookies)
        accepted = []
        for _ in range(4):
            assert listener.syn(0) is REQUEST
            accepted.append(listener.ack(REQUEST, 0))
        assert accepted == [0, 10, 20, 30]  # one at once, B + 1 wait
        assert listener.syn(0) is DROPPED
        assert listener.syn(10) is REQUEST  # one has been accepted
        assert listener.ghosts == 0


def test_handshakes_at_one_time_are_requests_up_to_one_more_than_the_backlog_and_cookies_beyond() -> None:
    listener = Listener(interval_ns=10, backlog=2)
    answers = [listener.syn(0) for _ in range(6)]
    assert answers == [REQUEST] * 3 + [COOKIE] * 3
    assert [listener.ack(answer, 5) for answer in answers] == [5, 15, 25, 35, None, None]
    assert listener.ghosts == 2


def test_without_cookies_a_syn_beyond_the_requests_is_dropped() -> None:
    listener = Listener(interval_ns=10, backlog=2, cookies=False)
    assert [listener.syn(0) for _ in range(5)] == [REQUEST] * 3 + [DROPPED] * 2


def test_a_request_without_room_stays_one_until_it_is_tried_again() -> None:
    listener = Listener(interval_ns=10, backlog=1, cookies=False)
    assert [listener.syn(0) for _ in range(3)] == [REQUEST, REQUEST, DROPPED]
    assert [listener.ack(REQUEST, 0), listener.ack(REQUEST, 0)] == [0, 10]
    assert [listener.syn(1), listener.syn(1)] == [REQUEST, REQUEST]
    assert [listener.ack(REQUEST, 2), listener.ack(REQUEST, 2)] == [20, None]
    assert listener.syn(11) is REQUEST  # room in the accept queue, and one request waits
    assert listener.syn(11) is DROPPED
    assert listener.ack(REQUEST, 12) == 30
    assert listener.ack(REQUEST, 25) == 40


def test_with_abort_on_overflow_a_request_without_room_is_gone() -> None:
    listener = Listener(interval_ns=10, backlog=1, cookies=False, abort=True)
    assert [listener.syn(0), listener.syn(0)] == [REQUEST, REQUEST]
    assert [listener.ack(REQUEST, 0), listener.ack(REQUEST, 0)] == [0, 10]
    assert [listener.syn(1), listener.syn(1)] == [REQUEST, REQUEST]
    assert [listener.ack(REQUEST, 2), listener.ack(REQUEST, 2)] == [20, None]
    assert [listener.syn(11), listener.syn(11), listener.syn(11)] == [REQUEST, REQUEST, DROPPED]
