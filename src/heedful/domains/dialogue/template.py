"""Chat templates, message by message.

Templates render a whole conversation. A stream grows, and what a policy has read does not change
afterwards, so a template is taken apart into what stands before and after each message; one that
cannot be put together again from these pieces is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heedful.contract import Message
from heedful.domains.dialogue.tokenizer import ROLES, Tokenizer

_SAID = {"system": "Asystemsaid", "user": "Ausersaid", "assistant": "Anassistantsaid"}
_AGAIN = "Auseradded"


class TemplateError(ValueError):
    """A chat template is missing, or cannot be used message by message."""


@dataclass(frozen=True, slots=True)
class Template:
    """What stands around messages.

    Attributes:
        opening: in front of a conversation without a system message.
        before: in front of a message, by role; a system message's holds the opening, too.
        after: behind a message, by role.
        ask: behind the last message, in front of the reply.
        end: the token that ends a reply.
        resume: behind that token, in front of the message after it.
        system: whether there may be a system message; else it is put in front of the first message.
    """

    opening: str
    before: dict[str, str]
    after: dict[str, str]
    ask: str
    end: str
    resume: str
    system: bool = True

    def pieces(self, messages: Sequence[Message], *, turn: int) -> list[tuple[str, bool]]:
        """Return ``messages`` as pieces of text, and whether each is the template's own.

        Args:
            messages: what was said since the last reply, or before the first.
            turn: how many replies there were.
        """
        first = messages[0]["role"] == "system" and self.system and turn == 0
        pieces = [(self.resume if turn else "" if first else self.opening, True)]
        for message in self._said(messages):
            role = message["role"]
            pieces += [(self.before[role], True), (message["content"], False)]
            pieces.append((self.after[role], True))
        return [piece for piece in [*pieces, (self.ask, True)] if piece[0]]

    def _said(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages; where no role of system is known, it is told by the next one."""
        if self.system:
            return list(messages)
        said: list[Message] = []
        told = ""
        for message in messages:
            if message["role"] == "system":
                told += message["content"] + "\n\n"
                continue
            said.append({**message, "content": told + message["content"]})
            told = ""
        return [*said, {"role": "user", "content": told.strip()}] if told else said

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Template:
        """Take the template of ``tokenizer`` apart.

        Raises:
            TemplateError: it has none, or one in which a message changes what stands elsewhere.
        """
        if tokenizer.chat_template is None:
            raise TemplateError(
                "the tokenizer has no chat template, so nobody knows how a conversation is to be "
                "written for this model; put a chat_template.jinja beside it, or set template = "
                '"plain" under [domain]'
            )
        try:
            return _taken_apart(tokenizer)
        except TemplateError:
            raise
        except Exception as error:
            raise TemplateError(f"the chat template cannot be rendered: {error}") from error

    @classmethod
    def plain(cls, tokenizer: Tokenizer) -> Template:
        """Return the template of models that were never taught one: names, and an end of line."""
        before = {role: f"{role.capitalize()}: " for role in ROLES}
        after = dict.fromkeys(ROLES, "\n")
        end = tokenizer.units[tokenizer.end]
        opening = "" if tokenizer.start is None else tokenizer.units[tokenizer.start]
        system = opening + before["system"]
        before = {**before, "system": system}
        return cls(opening, before, after, "Assistant:", end, "\n")


def _taken_apart(tokenizer: Tokenizer) -> Template:
    user, reply = _message("user"), _message("assistant")
    again: Message = {"role": "user", "content": _AGAIN}
    head, between, middle, after_user = _cut(_render(tokenizer, [user, reply, again]))
    after_reply = _render(tokenizer, [user, reply]).split(_SAID["assistant"])[-1]
    before_reply = between.removeprefix(after_user)
    before_user = middle.removeprefix(after_reply)
    asked = _render(tokenizer, [user], ask=True).split(_SAID["user"])[-1]
    end, resume = _end_of(tokenizer, after_reply)
    before = {"user": before_user, "assistant": before_reply}
    after = {"user": after_user, "assistant": after_reply}
    opening = head.removesuffix(before_user)
    ask = asked.removeprefix(after_user)
    template = Template(opening, before, after, ask, end, resume, system=False)
    with_system = _with_system(tokenizer, template)
    template = with_system or template
    _check(tokenizer, template)
    return template


def _with_system(tokenizer: Tokenizer, template: Template) -> Template | None:
    try:
        told = _render(tokenizer, [_message("system"), _message("user")])
    except Exception:  # the template says by an error of its own that it knows no such role
        return None
    before, found, rest = told.partition(_SAID["system"])
    if not found:
        return None
    after = rest.partition(_SAID["user"])[0].removesuffix(template.before["user"])
    return Template(
        template.opening,
        {**template.before, "system": before},
        {**template.after, "system": after},
        template.ask,
        template.end,
        template.resume,
    )


def _end_of(tokenizer: Tokenizer, after_reply: str) -> tuple[str, str]:
    """Return the token that ends a reply, and what follows it in front of the next message."""
    tokens = tokenizer.encode(after_reply, special=True)
    if tokens and tokens[0] in tokenizer.special:
        end = tokenizer.backend.convert_ids_to_tokens(tokens[0])
        if after_reply.startswith(end):
            return end, after_reply.removeprefix(end)
    return tokenizer.units[tokenizer.end], after_reply


def _check(tokenizer: Tokenizer, template: Template) -> None:
    """Compare with whole conversations.

    What stands before a reply is what asked for it, and may differ from how the template would
    write the same reply later (without its thoughts, say): that is left out of the comparison.
    """
    probes: list[list[Message]] = [
        [_message("user")],
        [_message("user"), _message("assistant"), {"role": "user", "content": _AGAIN}],
    ]
    if template.system:
        probes += [[_message("system"), *probe] for probe in probes]
    for probe in probes:
        whole = _render(tokenizer, probe, ask=True)
        put_together = "".join(piece for piece, _ in template.pieces(probe, turn=0))
        if whole != put_together:
            raise TemplateError(
                "the chat template writes a message differently depending on what comes later: "
                f'{whole!r} is not {put_together!r}; set template = "plain" under [domain], or '
                "give the tokenizer a template that treats each message alike"
            )


def _message(role: str) -> Message:
    return {"role": role, "content": _SAID[role]}


def _render(tokenizer: Tokenizer, messages: Sequence[Message], *, ask: bool = False) -> str:
    rendered = tokenizer.backend.apply_chat_template(
        [dict(message) for message in messages], tokenize=False, add_generation_prompt=ask
    )
    return str(rendered)


def _cut(text: str) -> tuple[str, str, str, str]:
    head, _, rest = text.partition(_SAID["user"])
    between, _, rest = rest.partition(_SAID["assistant"])
    middle, _, tail = rest.partition(_AGAIN)
    return head, between, middle, tail
