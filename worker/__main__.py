"""`python -m worker`: one parent and one child per device."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from latentfarm.database import SOON_S, connect
from latentfarm.errors import LatentfarmError, ModelError
from latentfarm.logs import configure, get_logger
from latentfarm.registry import load_registry
from latentfarm.repository.facade import Repository
from latentfarm.settings import Settings
from latentfarm.states import Stage
from worker.options import Options, absent_models, models_of, parse
from worker.parent import Parent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latentfarm.registry import ModelEntry


def main() -> int:
    """Runs until SIGTERM or SIGINT; renders in flight go back to the queue."""
    options = parse(sys.argv[1:])
    return _one(options) if len(options.devices) == 1 else _many(options)


def _one(options: Options) -> int:
    settings = Settings().for_worker()
    configure("worker", level=settings.log_level, as_json=settings.log_json)
    try:
        models = models_of(options.stages, settings)
        if Stage.SEAL not in options.stages:
            _tell_absent(settings, models)
    except LatentfarmError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    engine = connect(settings.database_url, pool=2, application="latentfarm worker", answer_s=SOON_S)
    device = options.devices[0]
    parent = Parent(Repository(engine), settings, device=device, stages=options.stages, models=models)
    _on_stop(parent.stop)
    parent.run()
    engine.dispose()
    return 0


def _tell_absent(settings: Settings, models: Sequence[ModelEntry]) -> None:
    for name in absent_models(load_registry(settings.models_file), settings.models):
        get_logger().info("model_absent", model=name)
    if not models:
        raise ModelError("no model's files are on this machine; `latentfarm models pull NAME` fetches them")


def _many(options: Options) -> int:
    """A parent process for each device, so that no device's trouble is another's."""
    stages = ",".join(stage.label for stage in options.stages)
    parents = [
        subprocess.Popen([sys.executable, "-m", "worker", "--stages", stages, "--devices", device])
        for device in options.devices
    ]
    stopped = threading.Event()
    _on_stop(stopped.set)
    while not stopped.wait(0.2) and any(parent.poll() is None for parent in parents):
        continue
    for parent in parents:
        parent.terminate()
    return max(abs(parent.wait()) for parent in parents)


def _on_stop(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


if __name__ == "__main__":
    raise SystemExit(main())
