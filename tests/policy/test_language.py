"""The exported folder, read by transformers, finds text as likely as the network does."""

from pathlib import Path

import pytest
import torch

from heedful.policy import Batch, Choices, EventKind, Events, Schema, Transformer
from heedful.policy.language import export_language

SIZE, START, END = 23, 1, 2


def network(**options: object) -> Transformer:
    torch.manual_seed(0)
    schema = Schema(SIZE)
    made = Transformer(schema, **{"width": 32, "layers": 3, "heads": 4, "plain": True, **options})
    for parameter in made.parameters():  # nothing is zero or one by chance
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def text(rows: int = 3, length: int = 17) -> torch.Tensor:
    return torch.randint(3, SIZE, (rows, length), generator=torch.Generator().manual_seed(1))


def own_logps(policy: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each token, [B, L], as a stream of units."""
    policy_state = policy.start(len(tokens))
    found = []
    everything = Choices.everything(SIZE, len(tokens))
    for place in range(tokens.shape[1]):
        new = Events.none(len(tokens)) if place == 0 else Events.of_units(tokens[:, place - 1])
        policy_state, logits = policy.step(policy_state, new, everything)
        logps = torch.log_softmax(logits, -1)
        found.append(logps.gather(1, tokens[:, place : place + 1])[:, 0])
    return torch.stack(found, 1)


@pytest.mark.parametrize("start", [START, None])
def test_transformers_finds_text_as_likely(tmp_path: Path, start: int | None) -> None:
    transformers = pytest.importorskip("transformers")
    policy, tokens = network(), text()
    export_language(policy, tmp_path / "model", window=64, start=start, end=END)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    head = torch.full((len(tokens), 1), START)
    with torch.no_grad():
        read = model(torch.cat([head, tokens], 1)).logits[:, :-1]
    theirs = torch.log_softmax(read, -1).gather(2, tokens[..., None])[..., 0]
    ours = own_logps(policy, tokens)
    if start is None:
        assert (theirs - ours).abs().max() > 1e-3  # another token stands at the beginning
    else:
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


def test_a_full_pass_says_what_the_export_does(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    policy, tokens = network(), text(rows=1)
    export_language(policy, tmp_path, window=64, start=START)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    events = Events(
        torch.cat(
            [torch.full((1, 1), EventKind.START), torch.full_like(tokens, EventKind.UNIT)], 1
        ),
        torch.cat([torch.full((1, 1), -1), tokens], 1),
        torch.zeros(1, tokens.shape[1] + 1, dtype=torch.int64),
        torch.zeros(1, tokens.shape[1] + 1),
        torch.zeros(1, tokens.shape[1] + 1, 0),
        torch.full((1, tokens.shape[1] + 1), torch.nan, dtype=torch.float64),
        torch.tensor([tokens.shape[1] + 1]),
    )
    n = tokens.shape[1]
    zeros = torch.zeros(1, n)
    batch = Batch(
        events=events,
        positions=torch.arange(n)[None],
        units=tokens,
        decisions=torch.zeros(1, n, dtype=torch.int64),
        mask=torch.ones(1, n, dtype=torch.bool),
        bootstrap=torch.zeros(1, n, dtype=torch.bool),
        choices=Choices.everything(SIZE, 1, n),
        behaviour_logps=zeros.double(),
        rewards=zeros,
        discounts=zeros,
        weights=zeros,
        feedback=torch.zeros(1, n, 0),
    )
    with torch.no_grad():
        ours = policy.forward(batch, frozenset({"logps"})).logps
        theirs = model(torch.cat([torch.tensor([[START]]), tokens], 1)).logits[:, :-1]
    theirs = torch.log_softmax(theirs, -1).gather(2, tokens[..., None])[..., 0]
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=0)


def test_the_tokenizer_goes_along(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    export_language(network(), tmp_path / "model", window=8, tokenizer=tmp_path / "tokenizer")
    assert (tmp_path / "model" / "tokenizer.json").read_text() == "{}"
    assert (tmp_path / "model" / "config.json").exists()


def test_what_reads_more_than_a_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"policy\.plain = true"):
        export_language(network(plain=False), tmp_path / "model", window=8)
    assert not (tmp_path / "model").exists()
