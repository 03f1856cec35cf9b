"""Rules of the passive pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ftpstorm.emulator.pool import PassivePool
from ftpstorm.vocabulary import PoolState, Side


def use(pool: PassivePool, now_ns: int, closed_by: Side = Side.SERVER) -> int | None:
    """Take a port through a whole data connection at one instant."""
    port = pool.reserve(now_ns)
    if port is not None:
        pool.connected(port, now_ns)
        pool.ended(port, now_ns, closed_by)
    return port


def test_ports_are_reused_in_the_order_in_which_they_became_free() -> None:
    pool = PassivePool([7, 5, 9])
    assert [pool.reserve(0) for _ in range(4)] == [7, 5, 9, None]
    pool.give_back(9, 1)
    pool.give_back(7, 2)
    assert [pool.reserve(3) for _ in range(3)] == [9, 7, None]


@pytest.mark.parametrize("hold_ns", [1, 1000, 2_000_000_000])
def test_a_held_port_comes_back_exactly_when_its_hold_is_over(hold_ns: int) -> None:
    pool = PassivePool([1], hold_ns=hold_ns)
    assert use(pool, 100) == 1
    assert pool.reserve(100 + hold_ns - 1) is None
    assert pool.state(1, 100 + hold_ns - 1) is PoolState.HELD
    assert pool.reserve(100 + hold_ns) == 1


@pytest.mark.parametrize(
    ("rule_", "closed_by", "held"),
    [
        ("any-close", Side.CLIENT, True),
        ("any-close", Side.SERVER, True),
        ("server-close", Side.CLIENT, False),
        ("server-close", Side.SERVER, True),
        ("none", Side.CLIENT, False),
        ("none", Side.SERVER, False),
    ],
)
def test_who_closed_first_decides_by_the_rule(rule_: str, closed_by: Side, held: bool) -> None:
    pool = PassivePool([1], hold_ns=10, rule=rule_)  # type: ignore[arg-type]
    use(pool, 0, closed_by)
    assert pool.state(1, 1) is (PoolState.HELD if held else PoolState.FREE)


def test_a_port_that_nobody_connected_to_has_no_hold() -> None:
    pool = PassivePool([1], hold_ns=10)
    assert pool.reserve(0) == 1
    pool.give_back(1, 0)
    assert pool.reserve(0) == 1


def test_no_hold_time_frees_at_once() -> None:
    pool = PassivePool([1], hold_ns=0)
    assert use(pool, 5) == 1
    assert use(pool, 5) == 1


def test_changes_hold_every_port_first_and_then_only_what_changed() -> None:
    pool = PassivePool([1, 2], hold_ns=10)
    assert pool.take_changes(0) == {1: PoolState.FREE, 2: PoolState.FREE}
    assert pool.take_changes(0) == {}
    use(pool, 1)
    assert pool.take_changes(2) == {1: PoolState.HELD}
    assert pool.take_changes(10) == {}
    assert pool.take_changes(11) == {1: PoolState.FREE}


def test_steps_out_of_order_are_refused() -> None:
    pool = PassivePool([1], hold_ns=10)
    with pytest.raises(ValueError, match=r"not <PoolState.LISTENING"):
        pool.connected(1, 0)
    with pytest.raises(ValueError, match=r"not <PoolState.IN_USE"):
        pool.ended(1, 0, Side.SERVER)
    with pytest.raises(ValueError, match="port 2 is None"):
        pool.give_back(2, 0)
    pool.reserve(5)
    with pytest.raises(ValueError, match="back by 1 ns"):
        pool.reserve(4)


@pytest.mark.parametrize("ports", [[], [1, 1]])
def test_a_pool_without_ports_or_with_one_twice_is_refused(ports: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one port"):
        PassivePool(ports)


def test_a_negative_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        PassivePool([1], hold_ns=-1)


@given(st.integers(1, 50), st.integers(1, 1000), st.integers(1, 20))
def test_a_greedy_client_gets_exactly_the_pool_once_a_hold(size: int, hold_ns: int, step_ns: int) -> None:
    pool = PassivePool(range(size), hold_ns=hold_ns)
    taken = [now_ns for now_ns in range(0, 4 * hold_ns, step_ns) for _ in range(size) if use(pool, now_ns) is not None]
    for start in taken:
        assert sum(start <= instant < start + hold_ns for instant in taken) <= size


class PoolMachine(RuleBasedStateMachine):
    """Drives a pool at random beside a plain model: port -> (state, held until)."""

    def __init__(self) -> None:
        super().__init__()
        self.hold_ns = 50
        self.ports = tuple(range(100, 106))
        self.pool = PassivePool(self.ports, hold_ns=self.hold_ns, rule="server-close")
        self.model: dict[int, PoolState] = dict.fromkeys(self.ports, PoolState.FREE)
        self.held_until: dict[int, int] = {}
        self.now_ns = 0

    def settle(self) -> None:
        for port, until in list(self.held_until.items()):
            if self.now_ns >= until:
                del self.held_until[port]
                self.model[port] = PoolState.FREE

    def some(self, state: PoolState) -> list[int]:
        return [port for port in self.ports if self.model[port] is state]

    @rule(step=st.integers(0, 30))
    def time_passes(self, step: int) -> None:
        self.now_ns += step
        self.settle()

    @rule()
    def reserve(self) -> None:
        port = self.pool.reserve(self.now_ns)
        if port is None:
            assert not self.some(PoolState.FREE), "a free port was not handed out"
        else:
            assert self.model[port] is PoolState.FREE, "a port that was not free was handed out"
            self.model[port] = PoolState.LISTENING

    @precondition(lambda self: self.some(PoolState.LISTENING))
    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        port = data.draw(st.sampled_from(self.some(PoolState.LISTENING)))
        self.pool.connected(port, self.now_ns)
        self.model[port] = PoolState.IN_USE

    @precondition(lambda self: self.some(PoolState.LISTENING))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        port = data.draw(st.sampled_from(self.some(PoolState.LISTENING)))
        self.pool.give_back(port, self.now_ns)
        self.model[port] = PoolState.FREE

    @precondition(lambda self: self.some(PoolState.IN_USE))
    @rule(data=st.data(), closed_by=st.sampled_from([Side.CLIENT, Side.SERVER]))
    def end(self, data: st.DataObject, closed_by: Side) -> None:
        port = data.draw(st.sampled_from(self.some(PoolState.IN_USE)))
        self.pool.ended(port, self.now_ns, closed_by)
        if closed_by is Side.SERVER:
            self.model[port] = PoolState.HELD
            self.held_until[port] = self.now_ns + self.hold_ns
        else:
            self.model[port] = PoolState.FREE

    @invariant()
    def every_port_is_in_its_one_state(self) -> None:
        assert {port: self.pool.state(port, self.now_ns) for port in self.ports} == self.model
        counts = self.pool.counts(self.now_ns)
        assert sum(counts.values()) == len(self.ports)
        assert counts == {state: len(self.some(state)) for state in PoolState}


TestPoolMachine = PoolMachine.TestCase
