"""How a result ends that could not be delivered: whose fault it is called."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest
import torch
from sqlalchemy.exc import IntegrityError

from latentfarm.errors import ErrorClass, TransientError
from latentfarm.records import ObjectRef
from latentfarm.redraws import Redraw, Wanting
from latentfarm.spec import RenderSpec
from latentfarm.states import Lane, Stage
from worker.engine.order import Order, Picture
from worker.holdings import Holdings
from worker.outflow import UPLOADERS, Outflow

if TYPE_CHECKING:
    from latentfarm.records import Claimed, Failure

WHOLE = torch.zeros(8, 8, 3, dtype=torch.uint8)
ORDER = Order(1, 1, Stage.BASE, RenderSpec(prompt="a", width=64, height=64), 0, Lane.BULK)

NOBODY: tuple[Any, Any, Any] = (None, None, None)
"""Who would show progress, save checkpoints, and end the child."""


class Committer:
    """Refuses every result, and remembers what it is told of failures."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def finish(self, done: object) -> Future[Any]:
        answer: Future[Any] = Future()
        answer.set_exception(IntegrityError("INSERT ...", {}, Exception("duplicate key")))
        return answer

    def fail(self, failure: Failure) -> None:
        self.failures.append(failure)


@pytest.mark.parametrize(
    ("pixels", "error_class"),
    [(WHOLE.float(), ErrorClass.DEFECT), (WHOLE, ErrorClass.TRANSIENT)],
    ids=["cannot be encoded", "is refused by the database"],
)
def test_the_device_is_not_blamed(pixels: torch.Tensor, error_class: ErrorClass) -> None:
    committer, holdings = Committer(), Holdings()
    holdings.add(cast("Claimed", SimpleNamespace(render_id=1, fence=1, key="v1/x.png")))
    store = SimpleNamespace(put=lambda key, data, _: ObjectRef(key, b"\0" * 32, len(data)))
    outflow = Outflow(holdings, cast("Any", committer), cast("Any", store), *NOBODY)
    outflow.finished(ORDER, Picture(pixels, {}))
    outflow.close()
    (failure,) = committer.failures
    assert failure.error_class is error_class, failure.message
    assert len(holdings) == 0


def test_results_do_not_wait_for_each_others_commits() -> None:
    many, holdings = 4 * UPLOADERS, Holdings()
    answers: list[Future[Any]] = []

    def finish(_done: object) -> Future[Any]:
        answer: Future[Any] = Future()
        answers.append(answer)
        return answer

    store = SimpleNamespace(put=lambda key, data, _: ObjectRef(key, b"\0" * 32, len(data)))
    outflow = Outflow(holdings, cast("Any", SimpleNamespace(finish=finish)), cast("Any", store), *NOBODY)
    for number in range(many):
        holdings.add(cast("Claimed", SimpleNamespace(render_id=number, fence=1, key="v1/x.png")))
        outflow.finished(dataclasses.replace(ORDER, render_id=number), Picture(WHOLE, {}))
    outflow._pool.shutdown(wait=True)
    assert (len(answers), len(holdings)) == (many, many)
    closing = threading.Thread(target=outflow.close)
    closing.start()
    for answer in answers[1:]:
        answer.set_result({(1, 1)})
    assert len(holdings) == 1
    assert closing.is_alive()  # one of them is not committed yet
    answers[0].set_result(set())
    closing.join(20)
    assert (len(holdings), closing.is_alive()) == (0, False)


def test_a_superseded_result_is_not_sent_again_to_a_store_that_comes_back() -> None:
    holdings, sent = Holdings(), []
    holdings.add(cast("Claimed", SimpleNamespace(render_id=1, fence=1, key="v1/x.png")))

    def put(key: str, data: bytes, media_type: str) -> ObjectRef:
        sent.append(key)
        if len(sent) > 1:
            return ObjectRef(key, b"\0" * 32, len(data))
        holdings.remove(1, 1)
        raise TransientError("the store is away")

    outflow = Outflow(
        holdings,
        cast("Any", Committer()),
        cast("Any", SimpleNamespace(put=put)),
        *NOBODY,
    )
    outflow.finished(ORDER, Picture(WHOLE, {}))
    outflow._pool.shutdown(wait=True)
    assert sent == ["v1/x.png"]


def test_a_machine_without_files_ends_the_child_and_no_render() -> None:
    committer, holdings, sick = Committer(), Holdings(), []
    holdings.add(cast("Claimed", SimpleNamespace(render_id=1, fence=1, key="v1/x.png")))

    def put(key: str, data: bytes, media_type: str) -> ObjectRef:
        raise OSError(24, "Too many open files")

    store = cast("Any", SimpleNamespace(put=put))
    outflow = Outflow(holdings, cast("Any", committer), store, *NOBODY[:2], lambda: sick.append(1))
    outflow.finished(ORDER, Picture(WHOLE, {}))
    outflow.close()
    assert (sick, committer.failures, len(holdings)) == ([1], [], 1)


def test_images_that_are_wanting_are_committed_as_such() -> None:
    holdings = Holdings()
    told: list[tuple[str, object]] = []

    def answer(kind: str, record: object) -> Future[Any]:
        told.append((kind, record))
        done: Future[Any] = Future()
        done.set_result({(1, 1)})
        return done

    committer = SimpleNamespace(
        seal=lambda packed: answer("seal", packed), redraw=lambda wanted: answer("redraw", wanted)
    )
    wanted = Redraw(1, 1, 7, UUID(int=1), (Wanting(2, ("dark",)),))
    for record in (wanted, cast("Any", "files")):
        holdings.add(cast("Claimed", SimpleNamespace(render_id=1, fence=1)))
        outflow = Outflow(holdings, cast("Any", committer), cast("Any", None), *NOBODY)
        outflow.packed(ORDER, record, lambda: told.append(("then", None)))
        outflow.close()
    assert told == [("redraw", wanted), ("then", None), ("seal", "files"), ("then", None)]
    assert len(holdings) == 0
