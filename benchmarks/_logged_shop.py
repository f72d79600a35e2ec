"""A simulated shop's log, made by one policy, and what a policy learned from it is worth.

The shop is the demo's: people's own purchases are imported, a policy that shows what was bought in
proportion goes live, and people come and answer it through the service. Learning sees the log and
nothing else; a policy's worth is measured on new people whom it serves itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from heedful import demo
from heedful.config import Constraints, Reinforce
from heedful.contract import Streams
from heedful.domains.recommendation.shop import ShopParameters
from heedful.loop.collect import Collector
from heedful.loop.constraints import constrained
from heedful.loop.form import network_of
from heedful.loop.lessons import split_of, to_reinforce
from heedful.loop.reinforce import reinforce_from_log
from heedful.loop.run import Run
from heedful.objectives import Lagrangian
from heedful.policy import Floor, Loaded, Policy, clone, load
from heedful.record import pseudonym
from heedful.store.snapshot import Snapshot
from heedful.workspace import Workspace

DECISIONS = 8  # slates each person sees
NEW_PEOPLE = 300  # whom every policy is measured on, the same ones
TURNS = 3 * demo.BEHIND
ARRIVALS = 50  # people side by side in the shop
STEPS = 150  # optimiser steps that learning takes at least, however few people came
NEXT_UNIT = 0.1  # weight of the joint term
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t at 97.5 %, by number of worlds


@dataclass(frozen=True)
class LoggedShop:
    """A shop whose log is full.

    Attributes:
        workspace: with purchases, and the answers of everybody who came.
        world: seed of the shop, its people and the training.
        visitors: pseudonyms of the people who came, in order.
        pretrained: the version pre-trained on purchases, as a server would load it.
    """

    workspace: Workspace
    world: int
    visitors: tuple[str, ...]
    pretrained: Loaded

    def scratch(self) -> Policy:
        """Return a network that has learned nothing, with the exploration a server adds."""
        bench = self.workspace.bench()
        torch.manual_seed(self.world)
        network = network_of(bench, self.pretrained.policy.schema)
        return Floor(network, share=bench.config.serve.floor).eval()

    def snapshot(self, people: int) -> Snapshot:
        """Return the log as if only the first ``people`` had come; purchases are always there."""
        whole = self.workspace.log.snapshot()
        left_out = set(self.visitors[people:])
        return whole.of_subjects(np.array([name not in left_out for name in whole.names.subjects]))

    def streams(self, people: int) -> Streams:
        """Return the streams to learn from, with rewards; what is held out weighs nothing."""
        bench, snapshot = self.workspace.bench(), self.snapshot(people)
        streams = bench.encode(snapshot, self.pretrained.vocabulary)
        return to_reinforce(streams, split_of(bench.config.pretrain, streams, snapshot).train)

    def reinforced(
        self,
        start: Policy,
        people: int,
        *,
        steps: int = STEPS,
        next_unit: float = 0.0,
        constraints: Constraints | None = None,
        run: Run | None = None,
    ) -> Policy:
        """Return ``start`` after reinforcement from the answers of the first ``people``.

        Args:
            start: stays as it is.
            people: how many.
            steps: at least so many optimiser steps, however few people there are.
            next_unit: weight of the joint term.
            constraints: what to keep to; nothing by default.
            run: where curves go; nowhere by default.
        """
        config, streams = self.workspace.config, self.streams(people)
        streams, kept = self.constrained(streams, people, constraints or Constraints())
        per_pass = -(-people // config.reinforce.batch)
        epochs = max(config.reinforce.epochs, -(-steps // per_pass))
        section = Reinforce.model_validate(
            {**config.reinforce.model_dump(), "epochs": epochs, "next_unit": next_unit}
        )
        policy = clone(start)
        cast(nn.Module, policy).requires_grad_(requires_grad=True)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder), {}) if run is None else run
            reinforce_from_log(
                policy,
                start,
                streams,
                section,
                run,
                after=0,
                window=config.policy.window,
                seed=self.world,
                constraints=kept,
            )
            run.close()
        return policy

    def constrained(
        self, streams: Streams, people: int, section: Constraints
    ) -> tuple[Streams, Lagrangian]:
        """Return ``streams`` with what ``section`` keeps within bounds, and its prices."""
        bench, snapshot = self.workspace.bench(), self.snapshot(people)
        config = bench.config.model_copy(update={"constraints": section})
        earned = bench.earned(snapshot, None)
        return constrained(replace(bench, config=config), snapshot, streams, earned, {})

    def worth(self, policy: Policy) -> float:
        """Return clicks per item of new people whom ``policy`` serves, from their sixth slate on.

        The expectation over clicks is exact; people and slates are drawn, the people alike for all.
        """
        return self.visited(policy)[0]

    def visited(self, policy: Policy) -> tuple[float, Snapshot]:
        """Return what ``policy`` is worth, and all that happened to the people it was tried on."""
        shop = demo.Watched(NEW_PEOPLE, ShopParameters(world_seed=self.world))
        collector = Collector(
            self.workspace.domain,
            self.pretrained.vocabulary,
            shop,
            window=self.workspace.config.policy.window,
            seed=self._people,
        )
        happened = collector.play(policy, TURNS)
        return shop.late(), happened

    def worth_of_slates(self, choose: Callable[[demo.Watched], np.ndarray]) -> float:
        """Return the same of slates that are chosen without a policy."""
        shop = demo.Watched(NEW_PEOPLE, ShopParameters(world_seed=self.world))
        shop.reset(seed=self._people)
        for _ in range(TURNS):
            shop.step(choose(shop))
        return shop.late()

    @property
    def _people(self) -> int:
        return 7_000_003 + self.world


@contextmanager
def logged_shop(world: int, people: int) -> Iterator[LoggedShop]:
    """Open the shop of seed ``world`` and let ``people`` come."""
    parameters = ShopParameters(world_seed=world)
    scale = demo.Scale()
    with (
        tempfile.TemporaryDirectory() as folder,
        demo.prepared(Path(folder) / "shop", parameters, scale, world) as workspace,
    ):
        clock = demo.Clock(demo.OPENING)
        workspace.clock = clock
        workspace.promote(workspace.popularity(), by="benchmark")
        pretrained = load(workspace.registry.folder(workspace.pretrain().name))
        groups = [
            demo.People(parameters, ARRIVALS, 1000 * world + g, f"person-{g}")
            for g in range(-(-people // ARRIVALS))
        ]
        with workspace.serving() as service:
            for group in groups:
                for _ in range(DECISIONS):
                    group.visit(service)
                    clock.now += demo.SECONDS_PER_DECISION
        names = [name for group in groups for name in group.names][:people]
        visitors = tuple(pseudonym(name, workspace.key) for name in names)
        yield LoggedShop(workspace, world, visitors, pretrained)


def spread(values: Sequence[float]) -> str:
    """Say the mean and the range of some worlds' figures."""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def paired(values: Sequence[float], others: Sequence[float]) -> str:
    """Say the mean difference in the same worlds, with Student's 95 % interval over worlds."""
    differences = np.subtract(values, others)
    if len(differences) not in T:
        return f"{differences.mean():+.3f}"
    half = T[len(differences)] * differences.std(ddof=1) / len(differences) ** 0.5
    mean = differences.mean()
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
