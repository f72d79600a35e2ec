import pytest
import torch
from torch import nn

from heedful.checks import EXAMPLE_SCHEMA
from heedful.objectives import Optimiser, Schedule, hidden_matrices
from heedful.objectives.muon import MOMENTUM, RMS, orthogonal
from heedful.policy import Recurrent, Transformer


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 20)])
def test_a_step_turns_all_directions_by_as_much(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    skewed = u * (s * torch.logspace(0, -1, len(s))) @ v
    found = orthogonal(skewed).float()
    assert found.shape == matrix.shape
    directions = torch.einsum("ij,ik,jk->k", found, u, v.T)  # u_k^T found v_k
    assert directions.min() > 0.5
    assert directions.max() < 1.3
    torch.testing.assert_close(orthogonal(-skewed).float(), -found)


def test_a_matrix_moves_as_it_is_written() -> None:
    weight = nn.Parameter(torch.randn(6, 24, generator=torch.Generator().manual_seed(1)))
    other = nn.Parameter(torch.ones(3))
    schedule = Schedule(peak=0.1, steps=2)
    steered = Optimiser(
        [weight, other], schedule, rule="muon", weight_decay=0.5, clip=1e9, matrices=[weight]
    )
    at, momentum = weight.detach().clone(), torch.zeros(6, 24)
    for step in range(2):
        gradient = torch.randn(6, 24, generator=torch.Generator().manual_seed(2 + step))
        weight.grad, other.grad = gradient.clone(), torch.ones(3)
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        u, _, v = torch.linalg.svd((1 - MOMENTUM) * gradient + MOMENTUM * momentum)
        at = at - 0.1 * (RMS * 24**0.5 * u @ v[:6] + 0.5 * at)
        steered.step(1.0)
        # the iteration leaves singular values between .7 and 1.2
        assert (weight.detach() - at).norm() < 0.35 * 0.1 * RMS * 24**0.5 * 6**0.5
        at = weight.detach().clone()
    assert other.detach().tolist() == pytest.approx([0.8] * 3, rel=1e-4)  # Adam's, without decay


def test_hidden_matrices_are_neither_tables_nor_heads() -> None:
    transformer = Transformer(EXAMPLE_SCHEMA, width=16, layers=2, heads=2)
    found = {id(p) for p in hidden_matrices(transformer, EXAMPLE_SCHEMA.size)}
    assert found >= {id(b.qkv.weight) for b in transformer.blocks}
    for table in (transformer.embed.unit, transformer.embed.kind, transformer.memory.key):
        assert id(table.weight) not in found
    assert id(transformer.value_head.weight) not in found
    recurrent = Recurrent(EXAMPLE_SCHEMA, width=8)
    assert id(recurrent.gru.weight_hh_l0) in {id(p) for p in hidden_matrices(recurrent, 7)}
    tied = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9), nn.Linear(4, 4))
    assert [id(p) for p in hidden_matrices(tied, 9)] == [id(tied[2].weight)]
    tied[2].requires_grad_(requires_grad=False)
    assert hidden_matrices(tied, 9) == []


@pytest.mark.parametrize("stop", [1, 3])
def test_written_down_and_taken_up_again_the_bits_are_the_same(stop: int) -> None:
    def run(kept: dict[str, torch.Tensor] | None, weights: list[torch.Tensor], steps: range):
        parameters = [nn.Parameter(w.clone()) for w in weights]
        schedule = Schedule(peak=0.1, steps=5, decay="cosine")
        steered = Optimiser(parameters, schedule, rule="muon", matrices=parameters[:1])
        if kept is not None:
            steered.restore(kept)
        for step in steps:
            for parameter in parameters:
                noise = torch.Generator().manual_seed(step)
                parameter.grad = torch.randn(parameter.shape, generator=noise)
            steered.step(1.0)
        return steered.tensors(), [p.detach() for p in parameters]

    begin = [torch.ones(4, 6), torch.ones(5, 2), torch.ones(3)]
    _, whole = run(None, begin, range(5))
    kept, half = run(None, begin, range(stop))
    _, again = run({k: v.clone() for k, v in kept.items()}, half, range(stop, 5))
    for one, other in zip(whole, again, strict=True):
        assert torch.equal(one, other)
