"""What clients ask: the bodies of requests, checked, and the question that a model gets."""

import json
from typing import Any, Literal, NamedTuple

from seq2seq.serving.limits import ServingLimits

Method = Literal["predict", "score", "encode"]

SEARCH = (
    "beam_size", "length_penalty", "min_length", "max_length", "temperature", "top_k", "top_p", "seed", "prefix",
    "include", "avoid",
)  # fmt: skip
"""The settings of decoding that a request may choose."""


class Question(NamedTuple):
    """What is wanted of some items; requests with equal questions are computed together."""

    method: Method
    n_best: int = 1
    attention: bool = False
    search: str = "{}"
    """Settings of decoding that differ from the run's, as JSON."""

    @property
    def decoding(self) -> dict[str, Any]:
        """`search` as values."""
        return dict(json.loads(self.search))

    @property
    def draws(self) -> bool:
        """Whether the answer hangs on the number of a row."""
        return "temperature" in self.decoding


class Bodies(NamedTuple):
    """The classes of pydantic that check the body of each request."""

    predict: Any
    score: Any
    encode: Any
    stream: Any


def searching(body: Any) -> str:
    """The settings of decoding that a body chooses, as JSON."""
    chosen = {name: getattr(body, name) for name in SEARCH}
    return json.dumps({name: value for name, value in chosen.items() if value is not None}, sort_keys=True)


def bodies(limits: ServingLimits) -> Bodies:
    """What requests may hold; unknown names, other types and numbers out of range are refused."""
    from typing import Annotated

    from pydantic import BaseModel, ConfigDict, Field, create_model

    strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    asked = "; null for that of the run"
    text = Field(max_length=limits.characters)
    one_text = Annotated[str, text]
    several = Annotated[list[one_text], Field(min_length=1, max_length=limits.texts)]
    words = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=20)]
    tokens = Annotated[int, Field(ge=0, le=limits.tokens)]

    def maybe(kind: Any, about: str, **bounds: Any) -> Any:
        return (Annotated[kind, Field(**bounds)] | None, Field(None, description=about + asked))

    model = (Annotated[str, Field(max_length=200)] | None, Field(None, description="its name; null if there is one"))
    search = {
        "beam_size": maybe(int, "hypotheses kept for each text", ge=1, le=limits.beam),
        "length_penalty": maybe(float, "exponent of the length in the score", ge=0, le=10),
        "min_length": maybe(tokens, "the fewest tokens"),
        "max_length": maybe(tokens, "the most tokens", ge=1),
        "temperature": maybe(float, "draw at random, log-probabilities divided by this", gt=0, le=100),
        "top_k": maybe(int, "draw from the k likeliest tokens", ge=1, le=1_000_000),
        "top_p": maybe(float, "draw from the smallest set with this probability", gt=0, le=1),
        "seed": maybe(int, "of the draws", ge=0, lt=1 << 63),
        "prefix": maybe(str, "text that predictions begin with", max_length=1000),
        "include": maybe(words, "words that each prediction holds"),
        "avoid": maybe(words, "words that no prediction holds"),
    }
    n_best = (Annotated[int, Field(ge=1, le=limits.beam)], Field(1, description="predictions of each text"))
    attention = (bool, Field(False, description="add where the decoder looks as it reads its best prediction"))

    def body(name: str, **of: Any) -> type[BaseModel]:
        return create_model(name, __config__=strict, **of)

    sources = (several | None, Field(None, description="null where the model reads none"))
    session = (Annotated[str, Field(max_length=100)] | None, Field(None, description="continue this one"))
    end = (bool, Field(True, description="whether the stream ends here; its session is kept if not"))
    one = (one_text, Field(description="what to write after, or the tokens to label"))
    return Bodies(
        body("Predict", texts=(several, ...), model=model, n_best=n_best, attention=attention, **search),
        body("Score", targets=(several, ...), sources=sources, model=model),
        body("Encode", texts=(several, ...), model=model),
        body("Stream", text=one, model=model, session=session, end=end, **search),
    )


def sentence_of(errors: Any) -> tuple[int, str]:
    """The status and one sentence for what pydantic found wrong with a body."""
    first = errors[0]
    place = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in first["loc"]).lstrip(".")
    kind, message = first["type"], str(first["msg"])
    if kind == "json_invalid":
        return 400, f"the body is no JSON: {first['ctx']['error']}"
    if kind == "extra_forbidden":
        return 422, f"{place[:60]} is no field of this request"
    if not place:
        return 422, "the body must be a JSON object"
    return 422, f"{place}: {message[:1].lower()}{message[1:]}"
