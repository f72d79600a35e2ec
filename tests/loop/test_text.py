"""Pre-training on text: documents in the log, whole ones held out, likelihood as the judge."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.cli.output import print_evaluation
from heedful.config import Config, ConfigError, Pretrain
from heedful.domains.dialogue.documents import STRETCH, documents
from heedful.evaluate.held_out import held_out_nll
from heedful.loop import lessons
from heedful.loop.pretrain import Training
from heedful.loop.report import keep_evaluation
from heedful.objectives import Plateau, Schedule
from heedful.policy import EventKind, Vocabulary, load
from heedful.policy.language import export_language
from heedful.record import UNKNOWN
from heedful.store import Snapshot
from heedful.workspace import RUNS, Workspace

SENTENCE = "the king will come to night and the queen will go with the lord of york"
WORDS = SENTENCE.split()
SMALL = {
    "domain.text": ["text.txt"],
    "domain.vocabulary": 290,
    "policy.kind": "transformer",
    "policy.width": 16,
    "policy.heads": 2,
    "policy.layers": 1,
    "policy.window": 64,
    "policy.plain": True,
    "policy.prior": False,
    "policy.dropout": 0.0,
    "pretrain.split": "episode",
    "pretrain.split_share": 0.2,
    "pretrain.epochs": 3,
    "pretrain.learning_rate": 0.01,
    "pretrain.batch": 8,
    "pretrain.ema": 0.0,
}


def texts(n: int = 24) -> list[str]:
    """Return the same words over and over, from another one on and for longer each time."""
    return [" ".join((WORDS * 5)[number % 16 :][: 30 + number]) for number in range(n)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Workspace.create(tmp_path / "talk", domain="dialogue").close()
    (tmp_path / "talk" / "text.txt").write_text("\n".join(texts()))
    with opened(tmp_path / "talk") as workspace, workspace.writing() as log:
        choices = [workspace.domain.choices({})]
        receipts = log.append(documents(workspace.domain, texts(), at=1.0), choice_sets=choices)
        assert {receipt.status for receipt in receipts} == {"added"}
        again = log.append(documents(workspace.domain, texts(), at=1.0), choice_sets=choices)
        assert {receipt.status for receipt in again} == {"duplicate"}
    return tmp_path / "talk"


def opened(folder: Path, changes: Mapping[str, object] | None = None) -> Workspace:
    return Workspace.open(folder, {**SMALL, **(changes or {})})


def test_a_document_is_an_episode_in_stretches(folder: Path) -> None:
    with opened(folder) as workspace:
        domain, text = workspace.domain, " ".join(WORDS * 30)
        made = list(documents(domain, [text, ""], at=2.0, source="york"))
        assert len({decision.episode for decision in made}) == 1
        assert [decision.step for decision in made] == list(range(len(made)))
        assert {len(decision.units) for decision in made[:-1]} == {STRETCH}
        assert all(decision.logps is UNKNOWN and not decision.context for decision in made)
        assert made[0].policy == "import:york"
        said = [unit for decision in made for unit in decision.units]
        assert domain.text(said) == text
        assert said[-1] == domain.template.end


def test_text_is_learned_and_judged_by_its_likelihood(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(folder, {"pretrain.epochs": 25}) as workspace:
        version = workspace.pretrain()
        metrics = workspace.registry.card(version.name).metrics
        assert "ndcg@10" not in metrics
        found = workspace.evaluate(version)
        assert found.ranking is None
        held = found.likelihood
        assert held is not None
        assert held.per_unit.low <= held.per_unit.mean <= held.per_unit.high
        assert held.per_unit.mean < 0.7 * held.beside["popularity"]
        assert held.per_character is not None
        assert found.to_dict()["likelihood"]["nll"] == held.per_unit.mean
        print_evaluation(found)
        assert f"{held.per_character.mean:.4f}" in capsys.readouterr().out
        keep_evaluation(workspace.runs, version.name, found.to_dict(), at=1.0)
        assert f"{held.per_unit.mean:.4f}" in workspace.report().read_text("utf-8")
        assert metrics["nll"] == pytest.approx(held.per_unit.mean, rel=0.2)
        bench = workspace.bench()
        streams = bench.encode(
            bench.log.snapshot(), load(bench.registry.folder(version.name)).vocabulary
        )
        split = lessons.split_of(bench.config.pretrain, streams, bench.log.snapshot())
        episodes = streams.slots.stream[split.test]
        units = streams.slots.unit[split.test]
        names = load(bench.registry.folder(version.name)).vocabulary.units
        said = [
            workspace.domain.text([names[u] for u in units[episodes == one]])
            for one in np.unique(episodes)
        ]
        assert set(said) <= set(texts())  # whole documents, and nothing else
        characters = sum(map(len, said))
        ratio = held.per_character.mean / held.per_unit.mean
        assert ratio == pytest.approx(held.n / characters)


def test_episodes_with_one_opening_are_on_one_side(folder: Path) -> None:
    with opened(folder) as workspace:
        domain = workspace.domain
        records, sets = [], [domain.choices({})]
        for number in range(60):
            context = domain.heard([{"role": "user", "content": f"ask {number % 20}"}], turn=0)
            (made,) = documents(domain, [f"the king {number}"], at=3.0)
            records.append(_with(made, context=context))
        snapshot = Snapshot.of(records, choice_sets=sets)
        place = lessons.places_of(snapshot)
        assert len(set(place.tolist())) == 20
        assert all(place[n] == place[n % 20] for n in range(60))
        longer = Snapshot.of(records[::-1], choice_sets=sets)
        assert lessons.places_of(longer).tolist() == place[::-1].tolist()  # whatever else is there
        streams = domain.encode(snapshot, domain.vocabulary(snapshot))
        split = lessons.split_of(Pretrain(split="episode", split_share=0.25), streams, snapshot)
        sides = [set(streams.slots.decision[part] % 20) for part in (split.validation, split.test)]
        learned = set(streams.slots.decision[split.train] % 20)
        assert sides[0]
        assert sides[1]
        assert not sides[0] & sides[1]
        assert not learned & (sides[0] | sides[1])


def _with(decision, **changes):
    from dataclasses import replace

    return replace(decision, **changes)


class Stops:
    """A reporter that stops the work after an epoch, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def update(self, done: int, total: int, text: str = "") -> None:
        if done == self.after:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"pretrain.schedule": "plateau", "pretrain.epochs": 4},
        {"pretrain.precision": "bfloat16"},
        {"pretrain.objective": "both"},
        {"policy.kind": "recurrent", "pretrain.schedule": "linear"},
    ],
)
def test_stopped_and_taken_up_again_the_bits_are_the_same(
    folder: Path, changes: Mapping[str, object]
) -> None:
    with opened(folder, changes) as workspace:
        workspace.reporter = lambda _title: Stops(after=2)
        with pytest.raises(KeyboardInterrupt):
            workspace.pretrain()
    with opened(folder, changes) as workspace:
        names = [workspace.pretrain().name for _ in range(2)]
    first, second = (folder / "policies" / name / "model.safetensors" for name in names)
    assert first.read_bytes() == second.read_bytes()


def test_on_a_plateau_the_rate_halves_until_it_has_converged(folder: Path) -> None:
    changes = {"pretrain.schedule": "plateau", "pretrain.epochs": 60, "pretrain.patience": 60}
    rate = {"pretrain.learning_rate": 0.03, "pretrain.warmup": 0.0}
    with opened(folder, changes | rate) as workspace:
        workspace.pretrain()
    (curve,) = (folder / RUNS).glob("*/metrics.jsonl")
    lines = [json.loads(line) for line in curve.read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if line["part"] == "train"]
    nll = [line["nll"] for line in lines if line["part"] == "validation"]
    assert len(rates) < 60  # it ended by itself
    assert min(rates) >= 0.03 * 2**-6
    for number in range(1, len(rates)):
        better = nll[number - 1] < min(nll[: number - 1], default=np.inf)
        assert rates[number] == pytest.approx(rates[number - 1] * (1.0 if better else 0.5))


def test_a_plateau_needs_something_held_out(folder: Path) -> None:
    with pytest.raises(ConfigError, match="validation = true"):
        opened(folder, {"pretrain.schedule": "plateau", "pretrain.validation": False})
    changes = {"pretrain.schedule": "plateau", "pretrain.split_share": 1e-6}
    with (
        opened(folder, changes) as workspace,
        pytest.raises(ValueError, match="nothing is held out"),
    ):
        workspace.pretrain()


def training(
    folder: Path, changes: Mapping[str, object], pretrained: bool = False, validated: bool = True
) -> Training:
    from heedful.loop.steps import _ready

    with opened(folder, changes) as workspace:
        bench = workspace.bench()
        made = _ready(bench, None)
        made.network.pretrained = pretrained
        section = bench.config.pretrain
        return Training(
            made.network, made.streams, section, made.weights, 64, seed=0, validated=validated
        )


def test_a_model_from_elsewhere_starts_at_a_low_rate_and_falls_on_a_plateau(folder: Path) -> None:
    own = {"pretrain.learning_rate": 0.0}
    schedule = training(folder, own, pretrained=True).optimiser.schedule
    assert isinstance(schedule, Plateau)
    assert schedule.peak == 1e-5
    unwatched = training(folder, own, pretrained=True, validated=False).optimiser.schedule
    assert isinstance(unwatched, Schedule)
    assert (unwatched.peak, unwatched.decay) == (1e-5, "cosine")
    fresh = training(folder, own).optimiser.schedule
    assert isinstance(fresh, Schedule)
    assert (fresh.peak, fresh.decay) == (2e-3, "cosine")
    asked = {"pretrain.learning_rate": 1e-3, "pretrain.schedule": "linear"}
    schedule = training(folder, asked, pretrained=True).optimiser.schedule
    assert isinstance(schedule, Schedule)
    assert (schedule.peak, schedule.decay) == (1e-3, "linear")


def test_tokens_can_be_hidden_and_asked_for_with_both_sides_in_view(folder: Path) -> None:
    job = training(folder, {"pretrain.objective": "masked", "pretrain.masked_share": 0.3})
    (batch, *_) = job.batches(0, np.random.default_rng(0))
    assert batch.gaps is not None
    share = float(batch.gaps.sum() / (batch.events.kind == EventKind.UNIT).sum())
    assert 0.15 < share < 0.35
    before = job.loss(batch).value.item()
    for epoch in range(3):
        job.descend(epoch, lambda _step, _metrics: None)
    assert job.loss(batch).value.item() < 0.8 * before


def test_marks_are_not_learned_from_as_words(folder: Path) -> None:
    """What cannot be said has no part in the softmax, and the fast path knows it."""
    job = training(folder, {})
    (batch, *_) = job.batches(0, np.random.default_rng(0))
    out = batch.choices.always_out(batch.mask)
    assert out is not None
    with opened(folder) as workspace:
        domain = workspace.domain
        forbidden = Vocabulary(domain.tokenizer.units).indexes(domain.choices({}).forbidden)
    assert sorted(out.tolist()) == sorted(forbidden.tolist())
    module = job.module.eval()
    with torch.no_grad():
        fast = module.forward(batch, frozenset({"logps"})).logps
        slow = module.forward(batch, frozenset({"logps", "logits"})).logps
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def test_a_network_goes_on_from_a_parent_on_another_corpus(folder: Path) -> None:
    with opened(folder) as workspace:
        parent = workspace.pretrain()
        new = [" ".join(np.random.default_rng(n).permutation(WORDS)) for n in range(30, 60)]
        with workspace.writing() as log:
            log.append(documents(workspace.domain, new, at=5.0))
        child = workspace.pretrain(parent=parent.name)
        card = workspace.registry.card(child.name)
        assert card.parent == parent.name
        assert card.metrics["nll"] < workspace.registry.card(parent.name).metrics["nll"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_criterion_follows_the_split() -> None:
    assert not Config().pretrain.by_likelihood
    assert Pretrain(split="episode").by_likelihood
    assert Pretrain(criterion="likelihood").by_likelihood
    assert not Pretrain(split="episode", criterion="ranking").by_likelihood


def test_a_version_and_its_tokenizer_are_read_by_other_tools(folder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    with opened(folder) as workspace:
        version, domain = workspace.pretrain(), workspace.domain
        loaded, tokens = load(workspace.registry.folder(version.name)), domain.tokenizer
        export_language(
            loaded.policy.inner,
            tmp_path / "model",
            window=64,
            start=tokens.start,
            end=tokens.end,
            tokenizer=folder / "tokenizer",
        )
        text = "the queen will go to york"
        streams = domain.encode(
            Snapshot.of(list(documents(domain, [text], at=0.0)), choice_sets=[domain.choices({})]),
            loaded.vocabulary,
        )
        slots = np.arange(len(streams.slots.unit) - 1)  # but for its end
        ours = held_out_nll(loaded.policy.inner, streams, slots, window=64)
        # what cannot be said has no share of the probability in a workspace
        forbidden = loaded.vocabulary.indexes(domain.choices({}).forbidden)
    read = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    ids = torch.tensor([[read.bos_token_id, *read(text, add_special_tokens=False)["input_ids"]]])
    with torch.no_grad():
        logits = model(ids).logits[0, :-1]
    logits[:, torch.from_numpy(forbidden).long()] = -torch.inf
    theirs = -torch.log_softmax(logits, -1).gather(1, ids[0, 1:, None])[:, 0]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
