"""Hand-made documents: what is mended, what is dropped, and why."""

import numpy as np
import pytest

from heedful.domains.dialogue.cleaning import Cleaning, clean, mend

SPEECH = (
    "Friends, Romans, countrymen, lend me your ears; I come to bury Caesar, not to praise him. "
    "The evil that men do lives after them; the good is oft interred with their bones."
)
OTHER = "Now is the winter of our discontent made glorious summer by this sun of York."


@pytest.mark.parametrize(
    ("broken", "meant", "why"),
    [
        ("cafÃ© \u00c3\u00a0 la carte", "café à la carte", {"mojibake": 2}),
        ("itâ€™s", "it’s", {"mojibake": 1}),
        ("\u00d0\u00bc\u00d0\u00b8\u00d1\u20ac", "мир", {"mojibake": 1}),
        ("a\x00b\x07c", "abc", {"control characters": 2}),
        ("naïve café", "naïve café", {}),  # right as it is
        ("“ÄÖÜ”", "“ÄÖÜ”", {}),  # a run of foreign characters that is no UTF-8
        ("e\u0301", "é", {}),
        ("one\r\ntwo\tthree\n", "one\ntwo\tthree\n", {}),
    ],
)
def test_mending(broken: str, meant: str, why: dict[str, int]) -> None:
    text, found = mend(broken)
    assert text == meant
    assert dict(found) == why


def test_every_text_that_was_read_wrongly_comes_back() -> None:
    for text in ("Ärger über Öl", "naïveté", "日本語", "łódź", "“quoted” – dash…"):
        wrong = "".join(
            bytes([b]).decode("cp1252", "ignore") or chr(b) for b in text.encode("utf-8")
        )
        assert wrong != text
        assert mend(wrong)[0] == text


def test_duplicates_go_and_the_first_stays() -> None:
    near = SPEECH.replace("bones", "souls")
    found = clean([OTHER, SPEECH, SPEECH.replace(" ", "  "), near, OTHER + "\n", ""])
    assert found.texts == (OTHER, SPEECH)
    assert found.rows == (0, 1)
    assert found.dropped == {"empty": 1, "exact duplicate": 2, "near duplicate": 1}
    assert "1 dropped: near duplicate" in found.words()


def test_how_near_is_near_can_be_said() -> None:
    half = SPEECH[: len(SPEECH) // 2] + OTHER
    assert len(clean([SPEECH, half]).texts) == 2
    assert len(clean([SPEECH, half], Cleaning(near=0.2)).texts) == 1
    assert len(clean([SPEECH, SPEECH + " Amen."], Cleaning(near=1.0)).texts) == 2


def test_near_duplicates_are_those_an_exhaustive_search_finds() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(400)]
    texts = []
    for _ in range(12):
        base = rng.choice(words, 60).tolist()
        texts.append(" ".join(base))
        for changes in (1, 2, 9):
            other = list(base)
            for place in rng.choice(60, changes, replace=False):
                other[place] = "new"
            texts.append(" ".join(other))

    def shingles(text: str) -> set[str]:
        said = text.split()
        return {" ".join(said[i : i + 5]) for i in range(len(said) - 4)}

    kept: list[str] = []
    for text in texts:
        own = shingles(text)
        if all(len(own & shingles(k)) / len(own | shingles(k)) < 0.8 for k in kept):
            kept.append(text)
    assert 12 < len(kept) < len(texts)
    assert clean(texts).texts == tuple(kept)


def test_what_stands_on_every_page_goes() -> None:
    pages = [f"Contact us\nPage {n} says something of its own\n\nAll rights" for n in range(6)]
    pages.append("Contact us never\nA page that stands apart")
    found = clean(pages)
    assert found.texts[0] == "Page 0 says something of its own\n\n"
    assert found.texts[-1] == pages[-1]
    assert found.lines == {"boilerplate": 12}
    assert clean(pages, Cleaning(boilerplate=1.0)).texts == tuple(pages)


def test_a_document_of_nothing_else_goes_too() -> None:
    pages = ["Menu", *(f"Menu\nWords number {n} {n * n}" for n in range(4))]
    found = clean(pages)
    assert len(found.texts) == 4
    assert found.rows == (1, 2, 3, 4)
    assert found.dropped == {"too short": 1}


def test_what_could_not_be_decoded_goes() -> None:
    bad = "\ufffd\ufffd" * 3 + " half of it is lost"
    little = "A long line that is whole. " * 8 + "\nand one with a \ufffd in it\nthe end"
    found = clean([bad, little])
    assert found.rows == (1,)
    assert "\ufffd" not in found.texts[0]
    assert found.texts[0].endswith("the end")
    assert found.dropped == {"broken encoding": 1}
    assert found.lines == {"broken encoding": 1}


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"near = 1\.5"):
        Cleaning(near=1.5)


def test_nothing_is_left_of_nothing() -> None:
    assert clean([]).texts == ()
    assert clean(["", " \n"]).dropped == {"empty": 2}
