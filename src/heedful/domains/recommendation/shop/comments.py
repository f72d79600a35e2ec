"""What people write: a verdict and a reason whose words follow the rating."""

__all__ = ["VERDICTS", "comment"]

VERDICTS = {
    1: ("Hated it", "A waste of time", "Terrible", "Not my taste at all"),
    2: ("Not really for me", "A bit dull", "Disappointing", "I expected better"),
    3: ("It was fine", "Okay", "So-so", "Neither good nor bad"),
    4: ("Really liked it", "Very good", "A good find", "Enjoyed this one"),
    5: ("Loved it", "Exactly my taste", "Wonderful", "The best I have found here"),
}
_REASONS = {
    1: ("please stop showing me these", "I gave up at once", "nothing about it worked"),
    2: ("I lost interest half way", "too much of the same", "I would not pick it again"),
    3: ("nothing special", "it passed the time", "some parts worked and some did not"),
    4: ("I would pick it again", "more of this please", "good value, if a little long"),
    5: ("I want more like this", "I have already told my friends", "it made my week"),
}


def comment(rating: int, luck: float) -> str:
    """The comment of a person who would give `rating`.

    Args:
        rating: 1..5.
        luck: in [0, 1), picks one of the comments for that rating.

    Returns:
        One sentence.

    >>> comment(5, 0.0)
    'Loved it, I want more like this.'
    >>> comment(1, 0.99)
    'Not my taste at all, nothing about it worked.'
    """
    verdicts, reasons = VERDICTS[rating], _REASONS[rating]
    verdict, reason = divmod(int(luck * len(verdicts) * len(reasons)), len(reasons))
    return f"{verdicts[verdict]}, {reasons[reason]}."
