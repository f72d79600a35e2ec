"""The verdict on a trial of a real workspace: guardrails, constraints, health of the data."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heedful.evaluate import HealthCheck, Verdict
from heedful.loop.cohort import cohort
from heedful.loop.deploy import Look, ruling
from heedful.loop.fitness import made_and_kept
from heedful.loop.trial import patience
from heedful.record import ALL_UNITS, Kind, mint_id
from heedful.serve import DecisionRequest, FeedbackRequest
from heedful.workspace import Workspace
from tests.small_shop import Shop, new_shop

CHECKS = {
    "join rate",
    "duplicates",
    "drops",
    "late feedback",
    "one version",
    "missing feedback",
    "features of the arms",
    "features since training",
    "effective sample size",
    "share of the candidate",
}
Answer = Callable[[str, np.random.Generator], list[tuple[Kind, object]]]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a live version and a candidate."""
    folder = tmp_path_factory.mktemp("opened") / "shop"
    shop = new_shop(folder)
    shop.workspace.promote(shop.workspace.pretrain(), by="test")
    shop.workspace.popularity()
    shop.close()
    return folder


class Served:
    """A trial in which people answer as they are told to."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.shop = Shop(folder, settings)
        self.workspace = self.shop.workspace
        self.shop.now += 100
        self.trial = self.workspace.begin_trial("0002")
        self.rng = np.random.default_rng(0)

    def visit(
        self,
        people: int,
        answer: Answer,
        *,
        context: bool = False,
        delay: float = 0,
        told: list[FeedbackRequest] | None = None,
    ) -> None:
        """Let people decide once each; their answers come after ``delay`` seconds."""
        names = [f"visitor-{self.shop.now}-{number}" for number in range(people)]
        asked = [
            DecisionRequest(user=name, context={"hour": number % 24} if context else {})
            for number, name in enumerate(names)
        ]
        with self.workspace.serving(seed=1) as service:
            answers = service.decide(asked)
            self.shop.now += delay
            said = [
                FeedbackRequest(
                    decision=one.id,
                    kind=kind,
                    value=value,
                    unit=0 if kind == Kind.CLICK else ALL_UNITS,
                )
                for one in answers
                for kind, value in answer(one.policy, self.rng)
            ]
            service.feedback(said)
        if told is not None:
            told += said
        self.shop.now += 30

    def verdict(self) -> Verdict:
        found = self.workspace.judge()
        assert found is not None
        return found

    def check(self, name: str) -> HealthCheck:
        [found] = [one for one in self.verdict().health if one.name == name]
        return found


@pytest.fixture
def served(opened: Path, tmp_path: Path) -> Callable[..., Served]:
    def make(**settings: object) -> Served:
        folder = Path(shutil.copytree(opened, tmp_path / f"shop-{len(made)}"))
        made.append(Served(folder, {k.replace("__", "."): v for k, v in settings.items()}))
        return made[-1]

    made: list[Served] = []
    yield make
    for one in made:
        one.shop.close()


def clicks(candidate: float, live: float, flags: float = 0.0) -> Answer:
    """Answer with a click, or with a flag, by chances that depend on the version."""

    def answer(policy: str, rng: np.random.Generator) -> list[tuple[Kind, object]]:
        said: list[tuple[Kind, object]] = []
        if rng.random() < (candidate if policy == "0002" else live):
            said.append((Kind.CLICK, True))
        if policy == "0002" and rng.random() < flags:
            said.append((Kind.FLAG, "not for children"))
        return said

    return answer


def test_all_checks_stand_in_the_verdict_and_pass_on_healthy_data(served):
    trial = served()
    trial.visit(300, clicks(0.9, 0.1), context=True)
    verdict = trial.verdict()
    assert {check.name for check in verdict.health} == CHECKS
    assert [check.sentence for check in verdict.health if not check.passed] == []
    assert verdict.promote
    assert (
        ruling(Look(trial.trial, verdict, verdict.rows), trial.workspace.config.gate) == "promote"
    )


def test_a_better_candidate_that_breaks_a_declared_limit_is_refused_by_name(served):
    trial = served(constraints__at_most="{ flagged = 0.02 }", gate__not_more="{ flagged = 0.01 }")
    trial.visit(400, clicks(0.9, 0.1, flags=0.3))
    verdict = trial.verdict()
    assert verdict.crossed_at is not None
    assert not verdict.promote
    assert verdict.rollback
    words = verdict.words()
    assert "refused: not_more flagged = 0.01 is broken: the candidate has 0.2" in words
    assert "Refused: at_most flagged = 0.02 is broken: the candidate's mean is 0.2" in words
    assert ruling(Look(trial.trial, verdict, verdict.rows), trial.workspace.config.gate) == "refuse"


def test_a_guardrail_needs_evidence_before_a_promotion(served):
    trial = served(gate__not_more="{ flagged = 0.05 }")
    trial.visit(120, clicks(0.9, 0.1))
    verdict = trial.verdict()
    [guard] = verdict.guardrails
    assert (verdict.crossed_at is not None, guard.passed, verdict.promote) == (True, False, False)
    trial.visit(400, clicks(0.9, 0.1))
    assert trial.verdict().promote


def test_equal_service_between_groups_is_read_from_what_is_known_of_people(served):
    trial = served(constraints__equal="{ country = 0.05 }", constraints__margin=0.05)
    now, people = trial.shop.now, 300
    facts = {f"visitor-{now}-{n}": {"country": ["de"] if n % 2 else ["fr"]} for n in range(people)}
    trial.workspace.describe(subjects=facts)
    trial.visit(people, clicks(0.5, 0.5))
    [guard] = trial.verdict().guardrails
    assert guard.name == "equal country = 0.05"
    assert guard.value == pytest.approx(0, abs=0.2)
    assert "de" in guard.words
    assert "fr" in guard.words
    for name, fact in facts.items():  # told anew, after all was said: nobody changes the group
        fact["country"] = ["fr"] if name.endswith(("1", "2")) else ["de"]
    trial.workspace.describe(subjects=facts)
    assert trial.verdict().guardrails == (guard,)


def test_the_long_tail_is_that_of_training_and_stays(served, tmp_path):
    trial = served(gate__not_less="{ long_tail = 0.1 }")
    trial.visit(100, clicks(0.5, 0.5))
    before = trial.verdict()
    rows = "".join(f"newcomer,new-{n},5,{n}\n" for n in range(40))
    (tmp_path / "new.csv").write_text("user,item,rating,position\n" + rows)
    trial.workspace.import_file(tmp_path / "new.csv")
    assert trial.verdict().guardrails == before.guardrails


def test_an_unknown_measure_is_named(served):
    with pytest.raises(ValueError, match=r"gate\.not_less: there is no measure 'joy'"):
        served(gate__not_less="{ joy = 0.1 }")


def test_settings_that_change_later_change_no_verdict(served):
    trial = served(gate__not_more="{ flagged = 0.2 }")
    trial.visit(100, clicks(0.5, 0.4))
    before = trial.verdict()
    for section, changes in {
        "gate": {"alpha": 0.4, "betting": "agrapa", "margin": -0.3, "not_more": {}, "window": 1.0},
        "constraints": {"at_most": {"clicked": 0.0}},
        "reward": {"kind": "ratings"},
    }.items():
        config = trial.workspace.config
        changed = getattr(config, section).model_copy(update=changes)
        trial.workspace.config = config.model_copy(update={section: changed})
        assert trial.verdict() == before
    assert trial.trial.terms["gate"]["betting"] == "mixture"


def test_a_second_candidate_spends_what_is_left_in_all_it_is_judged_by(served):
    trial = served(gate__not_more="{ flagged = 0.2 }")
    registry = trial.workspace.registry
    registry.end_trial("refused", by="test", why="the first")
    trial.workspace.begin_trial(trial.workspace.popularity())
    trial.visit(60, clicks(0.5, 0.5))
    again, verdict = registry.trial(), trial.verdict()
    assert again is not None
    assert again.k == 2
    assert verdict.needed == pytest.approx(1 / again.alpha)
    [guard] = verdict.guardrails
    assert f"of the {1 / again.alpha:,.1f} that is needed" in guard.words


def test_a_history_that_is_imported_takes_nobody_out(served, tmp_path):
    """Who bought may be told because of what they were shown: it must not change the arms."""
    trial = served()
    trial.visit(200, clicks(0.5, 0.5))
    before = trial.verdict()
    names = [f"visitor-{trial.shop.now - 30}-{n}" for n in range(0, 200, 3)]
    rows = "".join(f"{name},item-1,5,{n}\n" for n, name in enumerate(names))
    (tmp_path / "bought.csv").write_text("user,item,rating,position\n" + rows)
    trial.workspace.import_file(tmp_path / "bought.csv")
    assert trial.verdict() == before


def test_who_was_judged_stays_though_another_version_decides_for_them_later(served):
    trial = served()
    trial.visit(120, clicks(0.5, 0.5))
    before, first = trial.verdict(), trial.shop.now - 30
    registry = trial.workspace.registry
    with trial.workspace.serving(seed=1) as service:  # a server that does not know of the trial
        monkey, service._policies.of = service._policies.of, lambda *_: service._policies.live
        service.decide([DecisionRequest(user=f"visitor-{first}-{n}") for n in range(120)])
        service._policies.of = monkey
    trial.shop.now += 30
    assert registry.trial() == trial.trial
    assert trial.verdict().history == before.history


def test_late_feedback_changes_no_judged_subject_and_is_counted(served):
    trial = served(gate__maturity=5.0)
    trial.visit(200, clicks(0.5, 0.5), delay=4)
    before = trial.verdict()
    assert trial.check("late feedback").value == 0
    trial.visit(100, clicks(1.0, 1.0), delay=16)
    after = trial.verdict()
    assert dict(after.history)[128] == dict(before.history)[128]
    late = trial.check("late feedback")
    assert not late.passed
    assert late.value == pytest.approx(0.5, abs=0.1)
    judged = cohort(trial.trial, trial.workspace.log.snapshot(), patience(trial.workspace.bench()))
    assert judged.late == 100
    assert judged.snapshot.feedback.n == trial.workspace.log.snapshot().feedback.n - 100
    assert not after.promote


def test_a_retraction_that_comes_too_late_takes_nothing_back(served):
    trial = served()
    told: list[FeedbackRequest] = []
    trial.visit(60, clicks(1.0, 1.0), told=told)
    before = trial.verdict()
    with trial.workspace.serving(seed=4) as service:
        service.feedback(
            [
                FeedbackRequest(decision=one.decision, kind=one.kind, unit=0, retracts=one.id)
                for one in told
            ]
        )
    assert trial.workspace.log.snapshot().feedback.retracted.sum() == 60
    after = trial.verdict()
    assert after.candidate == before.candidate
    assert after.live == before.live


def test_feedback_that_never_finds_its_decision_lowers_the_join_rate(served):
    trial = served()
    trial.visit(100, clicks(1.0, 1.0))
    assert trial.check("join rate").value == 1
    with trial.workspace.serving(seed=2) as service:
        lost = [
            FeedbackRequest(
                decision=mint_id(),
                kind=Kind.CLICK,
                value=True,
                unit=0,
                user="somebody",
                given_at=trial.shop.now,
            )
            for _ in range(25)
        ]
        service.feedback(lost)
    found = trial.check("join rate")
    assert found.value == pytest.approx(100 / 125)
    assert not found.passed


def test_an_arm_without_feedback_holds_a_promotion_back(served):
    trial = served()
    trial.visit(200, clicks(0.9, 0.0))
    verdict = trial.verdict()
    assert verdict.crossed_at is not None
    assert not verdict.promote
    assert "nothing was heard at all" in verdict.words()


def test_decisions_of_another_version_are_left_out_and_counted(served):
    trial = served()
    trial.visit(200, clicks(0.5, 0.5))
    assert trial.check("one version").value == 0
    swapped = replace(trial.trial, candidate="0001", baseline="0002")
    snapshot = trial.workspace.log.snapshot()
    judged = cohort(swapped, snapshot, patience(trial.workspace.bench()))
    assert len(judged.found.strange) == 200
    assert len(judged.subjects) == 0


def test_a_missing_step_is_a_dropped_decision(served):
    trial = served()
    with trial.workspace.serving(seed=3) as service:
        for _ in range(4):
            service.decide([DecisionRequest(user=f"regular-{n}") for n in range(5)])
    snapshot = trial.workspace.log.snapshot()
    rows = np.flatnonzero(snapshot.decisions.seq > trial.trial.watermark)
    assert made_and_kept(snapshot, rows) == (20, 20)
    assert made_and_kept(snapshot, rows[snapshot.decisions.step[rows] != 2]) == (20, 15)


def test_both_rules_judge_a_trial(served):
    found = []
    for rule in ("agrapa", "mixture"):
        trial = served(gate__betting=rule)
        trial.visit(200, clicks(0.9, 0.1))
        found.append(trial.verdict())
    adaptive, mixture = found
    assert adaptive.promote
    assert mixture.promote
    assert mixture.log_evidence != adaptive.log_evidence


def test_a_plan_draws_from_those_who_were_served_and_counts_days(served):
    trial = served()
    with (
        Workspace.create(trial.workspace.folder.parent / "nobody") as nobody,
        pytest.raises(ValueError, match="assume a click rate with --base"),
    ):
        nobody.plan(0.1)
    trial.visit(50, clicks(0.4, 0.4))
    assert trial.workspace.plan(0.1, rows=[100]).per_day is None
    trial.shop.now += 2 * 86_400
    trial.visit(50, clicks(0.4, 0.4))
    plan = trial.workspace.plan(0.2, rows=[100, 2000])
    assert plan.source == "100 subjects served here"
    assert plan.per_day == pytest.approx(50, rel=0.01)
    assert plan.k == 2
    assert plan.days(100) == pytest.approx(2, rel=0.01)
    assert plan.to_dict()["power"][1]["days"] == pytest.approx(40, rel=0.01)
    assert plan.days(None) is None


def test_every_look_sees_the_same_path_however_late_people_answer(served):
    trial = served(gate__maturity=5.0)
    looks = []
    for delay in (1, 16, 4, 30, 14, 16, 2):
        trial.visit(15, clicks(0.7, 0.7), delay=delay)
        trial.shop.now -= 25  # the next ones come before these have all matured
        bench = trial.workspace.bench()
        judged = cohort(trial.trial, bench.log.snapshot(), patience(bench))
        rewards = judged.means(bench.earned(judged.snapshot).decisions)
        looks.append((judged.subjects.tolist(), rewards.tolist()))
    last_subjects, last_rewards = looks[-1]
    assert len({len(subjects) for subjects, _ in looks}) > 3
    for subjects, rewards in looks:
        assert last_subjects[: len(subjects)] == subjects
        assert last_rewards[: len(rewards)] == rewards
    assert judged.late > 0
    assert 0 in last_rewards
    assert any(last_rewards)


def test_who_waits_for_late_answers_is_not_judged_yet(served):
    trial = served(reward__maturity=500.0)
    trial.visit(80, clicks(0.5, 0.5))
    assert trial.verdict().rows == 0
    trial.shop.now += 500
    assert trial.verdict().rows == 80
