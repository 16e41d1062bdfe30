"""Requests made up from the OpenAPI description: each is answered as it says, and never by a breakdown."""

from pathlib import Path
from typing import Any

import pytest
import torch

import seq2seq
from seq2seq.data.tokenizers.base import Tokenizers
from seq2seq.models.attention import Dot
from seq2seq.serving.limits import ServingLimits
from seq2seq.serving.models import RunModel
from seq2seq.tasks.translation import Translation
from tests.support import saved, small

pytestmark = pytest.mark.slow
schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
pytest.importorskip("fastapi")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from seq2seq.serving.app import Service, application  # noqa: E402

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def test_made_up_requests_are_answered_as_described(tokenizers: Tokenizers, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = small(Translation, tokenizers, attention=Dot())
    limits = ServingLimits(texts=3, characters=60, beam=4, tokens=12)
    service = Service([RunModel("tiny", seq2seq.load(saved(task, tmp_path / "tiny.ckpt")))], limits)
    schema = schemathesis.openapi.from_asgi("/openapi.json", application(service), headers={"host": "localhost"})
    answered: set[tuple[str, int]] = set()

    def ask(case: Any) -> None:
        response = case.call(headers={"host": "localhost"})
        answered.add((case.path, response.status_code))
        case.validate_response(response, checks=CHECKS)

    few = settings(
        max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    for operation in (one.ok() for one in schema.get_all_operations()):
        modes = list(GenerationMode) if operation.method == "post" else [GenerationMode.POSITIVE]
        for mode in modes:
            few(given(operation.as_strategy(generation_mode=mode))(ask))()
    service.close()
    assert {("/predict", 200), ("/predict", 422), ("/score", 200), ("/encode", 200), ("/stream", 200)} <= answered
    assert {status for _, status in answered} <= {200, 400, 404, 415, 422}
