"""Conversations: replies of tokens, thumbs, ratings, comments and preferences."""

from heedful.domains.dialogue.domain import Dialogue, Options
from heedful.domains.dialogue.template import Template, TemplateError
from heedful.domains.dialogue.tokenizer import Tokenizer, TokenizerError

__all__ = ["Dialogue", "Options", "Template", "TemplateError", "Tokenizer", "TokenizerError"]
