"""Steps are counted by claim, from where each began."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from latentfarm.states import Lane, Stage
from worker import odometer as module
from worker.engine.order import Order
from worker.odometer import Odometer

if TYPE_CHECKING:
    from latentfarm.spec import RenderSpec


def order(render_id: int = 1, fence: int = 1) -> Order:
    return Order(render_id, fence, Stage.BASE, cast("RenderSpec", None), 0, Lane.BULK)


def test_what_a_checkpoint_spared_is_not_counted() -> None:
    odometer = Odometer()
    for done in range(8, 13):
        odometer.stepped(order(), done)
    assert odometer.taken(order()) == 5
    assert odometer.taken(order(fence=2)) == 0
    assert odometer.first_step_at(order(fence=2)) is None


def test_the_first_step_keeps_its_time() -> None:
    odometer = Odometer()
    odometer.stepped(order(), 1)
    first = odometer.first_step_at(order())
    odometer.stepped(order(), 2)
    assert odometer.first_step_at(order()) == first
    odometer.forget(order())
    assert (odometer.taken(order()), odometer.first_step_at(order())) == (0, None)


def test_claims_that_nobody_ends_are_forgotten_in_time() -> None:
    odometer = Odometer()
    for render in range(module.KEPT + 10):
        odometer.stepped(order(render), 1)
    assert odometer.taken(order(0)) == 0
    assert odometer.taken(order(module.KEPT + 9)) == 1
    assert len(odometer._ways) == module.KEPT
