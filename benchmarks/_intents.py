"""Messages with intents, made here: what somebody wants of an assistant, in many words.

Each message is a phrase of its intent around a topic, with openings and endings that tell nothing,
and slips of the hand. The phrases of training and test are different ones, so what is learned has
to carry over to words in other company. One in twenty labels is wrong: people label so.
"""

from __future__ import annotations

import numpy as np

INTENTS: dict[str, list[str]] = {
    "question": [
        "what is {}",
        "how does {} work",
        "can you explain {} to me",
        "who invented {}",
        "why do people like {}",
        "do you know anything about {}",
        "when did {} begin",
        "tell me about {}",
    ],
    "request": [
        "write me a poem about {}",
        "make a list of facts on {}",
        "please draft a letter about {}",
        "give me three ideas for {}",
        "help me plan {}",
        "write a short story with {}",
        "make me a plan for {}",
        "please give me a text on {}",
    ],
    "shorter": [
        "shorter please",
        "that is too long, cut it down",
        "can you say that about {} in one sentence",
        "too many words, be brief",
        "please keep it short",
        "cut that to one sentence",
        "be brief about {} please",
        "too long, say it in fewer words",
    ],
    "correction": [
        "no, that is wrong",
        "that is not true of {}",
        "you made a mistake about {}",
        "this is not what I asked",
        "wrong, {} is something else",
        "no, I asked about {}",
        "not true, there is a mistake in it",
        "that is not right, look again",
    ],
    "thanks": [
        "thanks, that helped",
        "great answer about {}, thank you",
        "perfect, that is all I wanted",
        "thank you so much",
        "nice, I like it",
        "that was great, thanks",
        "thanks for the help with {}",
        "I like that, perfect",
    ],
    "complaint": [
        "this is useless",
        "you never understand me",
        "I am tired of this nonsense about {}",
        "what a terrible answer",
        "you are no help at all with {}",
        "terrible, useless nonsense",
        "I am so tired of you",
        "you never give a useful answer on {}",
    ],
}
TOPICS = [
    *("chess", "the tides", "jazz", "bread", "football", "volcanoes", "taxes", "gardening"),
    *("robots", "the moon", "old maps", "bicycles", "coffee", "dreams", "trains", "birds"),
    *("glaciers", "the violin", "soap", "knitting"),
]
OPENINGS = ("", "", "", "well, ", "hey, ", "so, ", "ok, ", "hm, ")
ENDINGS = ("", "", "", "?", "!", ".", " :)", " ...", " today")
SLIPS, WRONG = 0.03, 0.05


def messages(n: int, seed: int, *, fresh: bool) -> tuple[list[str], list[str]]:
    """Return n messages and their intents.

    Args:
        n: how many.
        seed: of the draws.
        fresh: made of the last three phrases of each intent, which the others are not made of.
    """
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        label = str(rng.choice(list(INTENTS)))
        phrases = INTENTS[label][5:] if fresh else INTENTS[label][:5]
        phrase = str(rng.choice(phrases)).format(rng.choice(TOPICS))
        text = f"{rng.choice(OPENINGS)}{phrase}{rng.choice(ENDINGS)}"
        texts.append("".join(c for c in text if rng.random() > SLIPS))
        labels.append(str(rng.choice(list(INTENTS))) if rng.random() < WRONG else label)
    return texts, labels
