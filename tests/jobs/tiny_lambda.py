"""What Lambda would be given, with a report for tests among the others."""

from pathlib import Path

from reporting_jobs import handlers, reports

reports.__path__.append(str(Path(__file__).parent / "tiny"))

tiny = handlers.handler("tiny")
tiny_parts = handlers.handler("tiny_parts")
queue_worker = handlers.queue_worker
