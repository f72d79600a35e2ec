"""Other words: synonyms, and there and back."""

from pathlib import Path

import numpy as np
import pytest

from heedful.domains.dialogue.augment import (
    Lexicon,
    augmented,
    back_translated,
    by_lexicon,
    by_model,
    with_synonyms,
)


@pytest.fixture
def lexicon(tmp_path: Path) -> Lexicon:
    file = tmp_path / "words.tsv"
    file.write_text("# English\nbig\tlarge\thuge\nfast\tquick\nBig\tgreat\n\n", "utf-8")
    return Lexicon.read(file)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_lexicon_is_read(lexicon: Lexicon) -> None:
    assert lexicon.words == {"big": ("large", "huge", "great"), "fast": ("quick",)}
    assert lexicon.turned().words["quick"] == ("fast",)


@pytest.mark.parametrize("line", ["alone", "word\t", "\tother"])
def test_a_line_without_a_pair_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "words.tsv").write_text(f"big\tlarge\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        Lexicon.read(tmp_path / "words.tsv")


def test_a_lexicon_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no lexicon .*words\.tsv"):
        Lexicon.read(tmp_path / "words.tsv")


def test_only_known_words_change_and_keep_their_form(lexicon: Lexicon) -> None:
    text = "A FAST dog; Fast, fast. Fastness and un-fast?\n"
    assert with_synonyms(text, lexicon, 1.0, rng()) == (
        "A QUICK dog; Quick, quick. Fastness and un-fast?\n"
    )
    assert with_synonyms(text, lexicon, 0.0, rng()) == text


def test_the_share_is_of_words_that_have_synonyms(lexicon: Lexicon) -> None:
    text = "big and small " * 2000
    found = with_synonyms(text, lexicon, 0.3, rng()).split()
    changed = sum(word in ("large", "huge", "great") for word in found)
    assert 0.27 * 2000 < changed < 0.33 * 2000
    assert {"large", "huge", "great"} <= set(found)


def test_there_and_back_through_a_lexicon(tmp_path: Path) -> None:
    (tmp_path / "to.tsv").write_text("house\thaus\nhome\thaus\n", "utf-8")
    there = Lexicon.read(tmp_path / "to.tsv")
    back = by_lexicon(there.turned(), rng(1))
    found = back_translated(["My house", "at Home"] * 20, by_lexicon(there, rng()), back)
    assert set(found) == {"My house", "My home", "at House", "at Home"}


def test_a_translator_that_loses_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="of 2 texts 1 came there and 1 back"):
        back_translated(["a", "b"], lambda texts: list(texts)[:1], list)


def test_copies_follow_their_text_and_are_others(lexicon: Lexicon) -> None:
    source = rng()
    found = list(augmented(["so big", "plain"], lambda t: with_synonyms(t, lexicon, 1, source), 2))
    assert found[0] == "so big"
    assert found[-1] == "plain"
    assert 3 <= len(found) <= 4
    assert len(set(found)) == len(found)


def test_a_local_model_translates(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from heedful.domains.dialogue.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(["the quick brown fox jumps over the lazy dog " * 20], 300)
    tokenizer.save(tmp_path)
    ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 0}
    size = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": len(tokenizer)}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "forced_eos_token_id": 2}
    config = transformers.BartConfig(
        **ids, **size, **heads, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=64
    )
    transformers.set_seed(0)
    transformers.BartForConditionalGeneration(config).save_pretrained(tmp_path)
    translate = by_model(tmp_path, length=12, batch=2)
    texts = ["the fox", "the lazy dog jumps", "a"]
    found = translate(texts)
    assert len(found) == 3
    assert found == translate(texts)
    assert back_translated(texts, translate, translate) == translate(found)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match="holds no encoder-decoder"):
        by_model(tmp_path)
