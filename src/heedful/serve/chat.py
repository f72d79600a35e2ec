"""Chat completions as OpenAI's clients speak them, over the same decisions as every other route.

What is accepted and has no effect, and what only may ask for nothing, are two lists here; all else
is refused. A client that sends a temperature and is given the policy's own reads so in the docs;
one that sends tools must not believe that they were used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationError

from heedful.contract import Message
from heedful.record import RecordError
from heedful.serve.bodies import Body, shortened
from heedful.serve.requests import DecisionAnswer, DecisionRequest, Reason, ServiceError

MODEL = "heedful"
"""What clients call the model: whatever version decides for the one who asks."""

PATHS = ("/v1/chat/", "/v1/models")

WITHOUT_EFFECT = frozenset(
    {
        *("temperature", "top_p", "seed", "reasoning_effort", "verbosity", "service_tier"),
        *("metadata", "store", "parallel_tool_calls"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    }
)
"""Accepted: temperature and top-p are the policy's own, so that its probabilities are known."""

ASKING_FOR_NOTHING: Mapping[str, tuple[object, ...]] = {
    "stop": ([],),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Accepted with these values, refused with any other."""

STATUS: dict[Reason, tuple[int, str, str | None]] = {
    "invalid": (400, "invalid_request_error", None),
    "conflict": (409, "invalid_request_error", "conflict"),
    "nothing_to_choose": (400, "invalid_request_error", "nothing_to_choose"),
    "too_many": (400, "invalid_request_error", None),
    "busy": (429, "rate_limit_error", "rate_limit_exceeded"),
    "unavailable": (503, "server_error", "unavailable"),
    "failed": (500, "server_error", "failed"),
    "unknown": (404, "invalid_request_error", None),
    "rejected": (410, "invalid_request_error", "rejected"),
}
"""What a reason of the service is called in OpenAI's errors: status, type, code."""


class ChatError(ServiceError):
    """A request for a completion that is refused before anything is asked of the service.

    Attributes:
        status: of the answer.
        param: which parameter is at fault.
        code: what is wrong with it, in a word.
    """

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__("invalid", message)
        self.status, self.param, self.code = status, param, code


class _Text(Body):
    type: Literal["text"]
    text: str


class _Message(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Text] | None = None
    name: str | None = None

    def message(self) -> Message:
        """Return it in the words of the contract; who is called what is not read."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text for part in content)
        return {
            "role": "system" if self.role == "developer" else self.role,
            "content": content or "",
        }


class _StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool = False


class CompletionBody(Body):
    """The body of ``POST /v1/chat/completions``, without what has no effect."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    user: str | None = None
    safety_identifier: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    n: Literal[1] = 1
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a completion.

    Attributes:
        request: what it asks of the service.
        stream: whether the answer comes in pieces.
        usage: whether the last piece counts tokens.
    """

    request: DecisionRequest
    stream: bool
    usage: bool


def read(body: object, *, somebody: str, longest: int, key: str | None) -> Asked:
    """Return what a body asks for.

    Args:
        body: parsed JSON.
        somebody: who asks, where the body names nobody.
        longest: the longest reply, in units; who allows more is served all the same.
        key: the idempotency key, from the request's header.

    Raises:
        ChatError: it cannot be understood, or asks for what there is none of here.
    """
    if not isinstance(body, dict):
        raise ChatError("the body is no JSON object")
    given = {name: value for name, value in body.items() if _counts(name, value)}
    given["messages"] = _stripped(given.get("messages"))
    try:
        asked = CompletionBody.model_validate(given)
        _check_model(asked.model)
        most = asked.max_completion_tokens or asked.max_tokens or longest
        request = DecisionRequest(
            user=asked.user or asked.safety_identifier or somebody,
            messages=[message.message() for message in asked.messages],
            length=min(most, longest),
            idempotency_key=key,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        unknown = first["type"] == "extra_forbidden"
        raise ChatError(
            f"{place}: {'is no parameter here' if unknown else first['msg']}",
            param=place or None,
            code="unknown_parameter" if unknown else None,
        ) from None
    except RecordError as error:
        raise ChatError(str(error), param=error.field) from None
    return Asked(request, asked.stream, asked.stream and asked.stream_options.include_usage)


def _counts(name: str, value: object) -> bool:
    """Return whether a parameter is to be read; null is as good as absent.

    Raises:
        ChatError: it asks for what there is none of here.
    """
    if value is None or name in WITHOUT_EFFECT:
        return False
    if name not in ASKING_FOR_NOTHING:
        return True
    if value not in ASKING_FOR_NOTHING[name]:
        raise ChatError(
            f"{name}: there is none here; leave it out", param=name, code="unsupported_parameter"
        )
    return False


def _stripped(messages: object) -> object:
    """Leave out what messages say nothing in: clients send back all fields of an answer."""
    if not isinstance(messages, list):
        return messages
    return [
        {name: value for name, value in message.items() if value not in (None, [], {})}
        if isinstance(message, dict)
        else message
        for message in messages
    ]


def _check_model(name: str) -> None:
    if name != MODEL:
        raise no_model()


def no_model() -> ChatError:
    """Return the error for a model that there is none of."""
    return ChatError(
        f"there is one model here, {MODEL}: the version that decides for whoever asks",
        param="model",
        code="model_not_found",
        status=404,
    )


def held(decision: str) -> ChatError:
    """Return the error for a reply that waits for a person; clients do not try again on it."""
    return ChatError(
        f"a person looks at this reply first; ask for it at /v1/decisions/{decision}",
        code="held",
        status=403,
    )


def model(created: float) -> dict[str, object]:
    """Return how the model is listed.

    Args:
        created: when its live version was registered, seconds since the epoch.
    """
    return {"id": MODEL, "object": "model", "created": int(created), "owned_by": "heedful"}


def completion(answer: DecisionAnswer, created: float) -> dict[str, object]:
    """Return the body of an answer in one piece; its id is the decision's."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    return {
        **_head(answer, created, "chat.completion"),
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
        ],
        "usage": _usage(answer),
    }


def pieces(answer: DecisionAnswer, created: float, *, usage: bool) -> Iterator[str]:
    """Yield the server-sent events of a streamed answer.

    The decision is in the log as a whole before the first of them, so a client that hangs up loses
    what it did not read and nothing else. They are cut between words.
    """
    head = _head(answer, created, "chat.completion.chunk")
    count: dict[str, object] = {"usage": None} if usage else {}

    def chunk(delta: dict[str, object], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**head, "choices": [choice], **count})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for words in re.findall(r"\s*\S+|\s+", answer.text or ""):
        yield chunk({"content": words})
    yield chunk({}, _finish(answer))
    if usage:
        yield _event({**head, "choices": [], "usage": _usage(answer)})
    yield "data: [DONE]\n\n"


def _event(content: object) -> str:
    return f"data: {json.dumps(content, separators=(',', ':'))}\n\n"


def _head(answer: DecisionAnswer, created: float, kind: str) -> dict[str, object]:
    # As "gpt-4o" is answered by a dated version, so is "heedful".
    version = f"{MODEL}-{answer.policy}"
    return {"id": answer.id, "object": kind, "created": int(created), "model": version}


def _finish(answer: DecisionAnswer) -> str:
    return "stop" if answer.ended else "length"


def _usage(answer: DecisionAnswer) -> dict[str, int]:
    said = len(answer.units)
    return {
        "prompt_tokens": answer.read,
        "completion_tokens": said,
        "total_tokens": answer.read + said,
    }


def is_chat(path: str) -> bool:
    """Return whether errors at ``path`` look as OpenAI's do."""
    return path.startswith(PATHS)


def error_json(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of an error."""
    if isinstance(error, ChatError):
        kind = "invalid_request_error"
        return error.status, error_body(str(error), kind, code=error.code, param=error.param)
    status, kind, code = STATUS[error.reason]
    param = "messages" if str(error).startswith("messages") else None
    return status, error_body(str(error), kind, code=code, param=param)


def error_body(
    message: str, kind: str, *, code: str | None, param: str | None = None
) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    return {
        "error": {"message": shortened(message), "type": kind, "param": param, "code": code},
    }


def refusal_body(status: int, reason: str, message: str) -> dict[str, Any]:
    """Return an error that is none of the service: no key, no route, too large a body."""
    if status == 401:
        return error_body(message, "invalid_request_error", code="invalid_api_key")
    return error_body(message, "invalid_request_error", code=reason)
