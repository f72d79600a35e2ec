import math

import torch

from heedful.checks import EXAMPLE_SCHEMA, random_batch
from heedful.policy import Recurrent, Transformer
from heedful.policy.timing import BUCKETS, TimeGaps, last_known, since_last
from heedful.policy.transformer import Turn

NAN = math.nan


def times(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_the_last_known_time_is_carried_on() -> None:
    time = times([NAN, 5.0, NAN, 8.0])
    assert torch.equal(last_known(time)[0, 1:], torch.tensor([5.0, 5.0, 8.0]).double())
    assert math.isnan(last_known(time)[0, 0])
    assert last_known(time, torch.tensor([2.0]).double())[0, 0] == 2.0


def test_gaps_are_those_between_known_times() -> None:
    time = times([NAN, 5.0, NAN, 8.0])
    gaps = since_last(time, last_known(time))[0]
    assert torch.isnan(gaps).tolist() == [True, True, True, False]
    assert gaps[3] == 3.0
    before = torch.tensor([1.0]).double()
    assert since_last(time, last_known(time, before), before)[0, 1] == 4.0


def test_gaps_go_by_half_octaves_and_unknown_ones_have_their_own() -> None:
    table = TimeGaps(1)
    table.table.weight.data = torch.arange(BUCKETS + 1.0)[:, None]
    gaps = torch.tensor([0.0, 1.0, 3.0, -5.0, 1e30, NAN], dtype=torch.float64)
    assert table(gaps)[:, 0].tolist() == [0.0, 2.0, 4.0, 0.0, BUCKETS - 1, BUCKETS]


def test_attention_sees_differences_of_place_and_time_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 4, 16, dtype=torch.float64)
    at = times([1.7e9, 1.7e9 + 61.0, 1.7e9 + 4000.0, NAN])

    def products(places: int, seconds: float) -> torch.Tensor:
        turn = Turn(torch.arange(4)[None] + places, at + seconds, 16, torch.float64)
        return turn(query) @ turn(key).mT

    torch.testing.assert_close(products(0, 0.0), products(7, 3e6), rtol=0, atol=1e-6)
    later = Turn(torch.arange(4)[None], 2.0 * at - 1.7e9, 16, torch.float64)
    assert not torch.allclose(later(query) @ later(key).mT, products(0, 0.0), atol=1e-3)


def test_a_network_reads_when_things_happened_and_when_it_is_asked() -> None:
    torch.manual_seed(0)
    for network in (Transformer(EXAMPLE_SCHEMA, width=16), Recurrent(EXAMPLE_SCHEMA, width=8)):
        for table in (network.embed.gap.table, network.asked.table):
            torch.nn.init.normal_(table.weight)
        batch = random_batch(EXAMPLE_SCHEMA)
        need = frozenset({"logps"})
        before = network.eval().forward(batch, need).logps
        batch.choices.now.add_(1e5)
        asked_later = network.forward(batch, need).logps
        assert not torch.allclose(before, asked_later)
        batch.events.time[:, 2:] += 9e4
        assert not torch.allclose(asked_later, network.forward(batch, need).logps)
