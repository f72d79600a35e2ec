import math
from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.reward import Comparisons, Rated, RewardError, TextReward, scored
from heedful.reward.encoder import END, PAD, REPLY, Encoder, Form, NetworkReward, _Lessons, _padded
from tests.reward.test_replies import compared, rated

SMALL = Form(words=256, width=16, heads=2, prompt=6, reply=6, dropout=0.0)


@pytest.fixture(scope="module")
def model() -> NetworkReward:
    return NetworkReward.fit(compared(400), members=2, form=SMALL, batch=16, learning_rate=1e-2)


def test_pairs_teach_it_which_reply_is_better(model: NetworkReward) -> None:
    fresh = compared(100, seed=1)
    first, tied, second = model.prefer(fresh.prompts, fresh.first, fresh.second)
    assert ((first > second) == (fresh.outcomes == 1)).mean() > 0.9
    assert not tied.any()
    assert isinstance(model, TextReward)
    said = scored(model, ["q", "q", "q"], ["thank you", "go away", ""])
    assert said[0] > said[1]
    assert (model.read(["q"], ["zymurgy"]).spread > 0).all()


@pytest.mark.parametrize("thumbs", [True, False])
def test_thumbs_become_probabilities_and_ratings_ratings(thumbs: bool) -> None:
    made = NetworkReward.fit(rated(400, thumbs=thumbs), form=SMALL, batch=16, learning_rate=1e-2)
    fresh = rated(100, seed=1, thumbs=thumbs)
    told = made.read(fresh.prompts, fresh.completions).mean
    assert np.corrcoef(told, fresh.numbers)[0, 1] > 0.8
    low, high = (0.0, 1.0) if thumbs else (1.0, 5.0)
    assert low <= told.min() < told.max() <= high
    assert told.mean() == pytest.approx(fresh.numbers.mean(), abs=0.25 * (high - low))


def test_the_head_begins_as_it_should() -> None:
    torch.manual_seed(0)
    wide = Encoder(Form(words=8, width=1024, heads=1, prompt=1, reply=1))
    assert float(wide.head.weight.detach().std()) == pytest.approx(1 / math.sqrt(1025), rel=0.1)
    assert not wide.head.bias.any()


def test_a_score_stands_at_the_last_real_token_whatever_is_beside_it() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SMALL).eval()
    short, long = SMALL.tokens("why", "because"), SMALL.tokens("a b c", "one two three four")
    alone = encoder(*_padded([short]))
    beside = encoder(*_padded([short, long]))
    torch.testing.assert_close(alone[0], beside[0])
    tokens, lengths = _padded([short])
    more = torch.cat([tokens, torch.full((1, 3), PAD)], dim=1)
    torch.testing.assert_close(encoder(more, lengths), alone)
    assert short[-1] == long[-1] == END


def test_what_is_too_long_keeps_the_prompts_end_the_replys_beginning_and_the_ending() -> None:
    whole = SMALL.tokens(" ".join("abcdefghij"), " ".join("klmnopqrst"))
    assert len(whole) == 6 + 1 + 6 + 1
    assert whole[6] == REPLY
    assert whole[:6] == SMALL.tokens(" ".join("efghij"), "")[:6]
    assert whole[7:13] == SMALL.tokens("", " ".join("klmnop"))[1:7]
    assert whole[-1] == END
    assert SMALL.tokens("", "") == [REPLY, END]


@pytest.mark.parametrize("judged", [compared(8), rated(8, thumbs=True), rated(8, thumbs=False)])
def test_the_gradient_is_the_same_in_1_2_and_4_micro_batches(judged: Comparisons | Rated) -> None:
    torch.manual_seed(0)
    encoder = Encoder(SMALL)
    lessons = _Lessons.of(judged, SMALL, centre=0.01)
    weights = torch.rand(8)
    found = []
    for parts in (1, 2, 4):
        encoder.zero_grad()
        count = 0.0
        for rows in np.array_split(np.arange(8), parts):
            loss = lessons.loss(encoder, rows.tolist(), weights)
            loss.value.backward()
            count += float(loss.count)
        found.append(torch.cat([p.grad.flatten() for p in encoder.parameters()]) / count)
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found[2], found[0], atol=1e-6, rtol=1e-4)


def test_a_pairs_loss_is_that_of_bradley_and_terry_with_margin_and_centre() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SMALL).eval()
    pair = Comparisons.of(["q"], ["one"], ["two"], [0.0], margins=[0.7], weights=[2.0])
    lessons = _Lessons.of(pair, SMALL, centre=0.1)
    loss = lessons.loss(encoder, [0], torch.tensor([2.0]))
    with torch.no_grad():
        one, two = (float(encoder(*_padded([SMALL.tokens("q", t)]))) for t in ("one", "two"))
    wanted = -math.log(1 / (1 + math.exp(-(two - one - 0.7)))) + 0.1 * (one + two) ** 2
    assert float(loss.value.detach()) == pytest.approx(2 * wanted, rel=1e-5)
    assert float(loss.count) == 2.0


def test_the_same_network_comes_back_from_a_folder(model: NetworkReward, tmp_path: Path) -> None:
    doubting = model.doubting(0.5)
    doubting.save(tmp_path)
    again = NetworkReward.load(tmp_path)
    prompts, replies = ["q", "why?"], ["thank you", "go away"]
    assert again(prompts, replies) == doubting(prompts, replies)
    assert (again.scale, again.length, again.judgements) == (model.scale, model.length, 400)
    numbers = tmp_path / "model.safetensors"
    numbers.write_bytes(numbers.read_bytes()[:-40])
    with pytest.raises(RewardError, match="holds no network that can be read"):
        NetworkReward.load(tmp_path)
    with pytest.raises(RewardError, match="holds no network that can be read"):
        NetworkReward.load(tmp_path / "nowhere")


def test_fitting_twice_is_the_same_to_the_bit_and_leaves_the_worlds_chance_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one, two = (NetworkReward.fit(compared(40), form=SMALL, seed=3) for _ in range(2))
    assert torch.equal(torch.rand(1), wanted)
    prompts = ["q"] * 3
    assert one(prompts, ["a", "thank you", ""]) == two(prompts, ["a", "thank you", ""])
