"""Structured logs: one line per event, JSON where nobody watches. Never prompts, never secrets."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger

# PostgreSQL quotes whole rows there; it ends where SQLAlchemy or the traceback goes on.
_DETAIL = re.compile(r"DETAIL:.*?(?=\n\[SQL:|\n\nThe above exception|\Z)", re.DOTALL)


def configure(service: str, *, level: str = "INFO", as_json: bool | None = None) -> None:
    """Sets logging up for a process. Called by entry points.

    Args:
        service: name of the process, in every line.
        as_json: JSON lines; default: when standard error is no terminal.
    """
    import structlog

    renderer: structlog.typing.Processor
    if as_json or (as_json is None and not sys.stderr.isatty()):
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, without_rows, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def without_rows(_logger: object, _name: str, event: EventDict) -> EventDict:
    """A processor: errors of the database without the rows that they quote."""
    for name in ("error", "exception"):
        if isinstance(event.get(name), str):
            event[name] = _DETAIL.sub("DETAIL: left out", event[name])
    return event


def get_logger() -> FilteringBoundLogger:
    """A logger; cheap, and configured when it is first used."""
    import structlog

    logger: FilteringBoundLogger = structlog.get_logger()
    return logger
