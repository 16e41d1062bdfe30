"""The log as lines of JSON."""

import json
import logging
import sys
import time


class JsonLines(logging.Formatter):
    """A record as one line; what stands in its `fields` becomes entries."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values = {"time": f"{moment}.{int(record.msecs):03}Z", "level": record.levelname.lower()}
        values |= {"message": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, default=str)


def to_standard_error() -> None:
    """All records of this process become such lines; ours from `info` on, those of others from `warning` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("seq2seq.serving").setLevel(logging.INFO)
