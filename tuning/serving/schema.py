"""What the server is asked and answers, for the OpenAPI schema that it serves at /openapi.json."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

MAX_TEXTS = 1000
"""Maximum number of texts in one request."""
MAX_CHARACTERS = 20_000
"""Maximum number of characters in one text: about 4,000 words."""


class Texts(BaseModel):
    """A request to label texts."""

    texts: list[Annotated[str, Field(max_length=MAX_CHARACTERS)]] = Field(min_length=1, max_length=MAX_TEXTS)


class Answer(BaseModel):
    """The prediction for one text; the fields are those of core.inference.predictor.Prediction."""

    label: str | None
    probability: float
    probabilities: dict[str, float]
    unknown_words: float


class Answers(BaseModel):
    """The predictions, in the order of the texts."""

    predictions: list[Answer]


class Health(BaseModel):
    """The model that answers."""

    status: Literal["ok"]
    model: str
    classes: list[str]
    min_probability: float | None


class Problem(BaseModel):
    """Why a request has no answer."""

    detail: str


REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"description": "The header Host has a name that is not allowed. This answer is plain text."},
    408: {"description": "The request was not received in time.", "model": Problem},
    413: {"description": "The request has too many bytes.", "model": Problem},
    429: {"description": "The client has sent too many words: try again after Retry-After seconds.", "model": Problem},
    503: {
        "description": "Too much waits, or the server stops: try again after Retry-After seconds.",
        "model": Problem,
    },
}
"""Answers that each path may give."""
UNUSABLE: dict[int | str, dict[str, Any]] = {
    400: {
        "description": "The body is compressed, not in UTF-8, nested too deeply, or has too long a number. Or the "
        "header Host has a name that is not allowed; that answer is plain text.",
        "model": Problem,
    },
    422: {"description": "The body is no JSON, or its texts cannot be used.", "model": Problem},
    500: {"description": "The model gives no probabilities: its weights are damaged.", "model": Problem},
}
"""Answers to a request to label texts that gets no predictions."""
