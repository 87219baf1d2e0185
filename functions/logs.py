"""One way for every log line: JSON in production, readable elsewhere, to stderr; the texts of exceptions never (T-P01).

An exception's text may hold what a client sent, and a foreign library's second line mostly is an exception's. So a line
has an exception's type and its place, and of foreign texts the beginning.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

EVENT_CHARACTERS_MAX = 500  # our own are sentences; of a foreign text the beginning says what it is about
OURS = ("domain", "firestore", "functions", "graph", "integrations", "resolvers")


def configure(*, json: bool, stream: TextIO | None = None) -> None:
    """Send every line, also those of the standard library's loggers, to `stream` (stderr), from INFO on; libraries from
    WARNING on, because httpx tells whole addresses at INFO, and one of them holds a key."""
    out = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_texts,
    ]
    rendered: Processor = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*shared, rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, rendered],
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def _without_texts(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    told: Any = line.pop("exc_info", None)
    if told is True:
        told = sys.exc_info()
    fault = told if isinstance(told, BaseException) else told[1] if isinstance(told, tuple) else None
    record: logging.LogRecord | None = line.get("_record")
    if record is not None:
        record.exc_info = record.exc_text = record.stack_info = None  # the formatter would add them as text
    if fault is not None:
        line["fault"], line["raised_at"] = type(fault).__name__, place_of(fault.__traceback__)
    line["event"] = str(line["event"]).partition("\n")[0][:EVENT_CHARACTERS_MAX]
    return line


def place_of(trace: TracebackType | None) -> str:
    """The file and line where an exception was raised."""
    place = ""
    while trace is not None:  # ends: a stack is as deep as Python lets it be
        place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
