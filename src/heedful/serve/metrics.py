"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters of one service, in a registry of their own: two services do not mix.

    Names are a stable vocabulary; labels take few values (versions, kinds, statuses), never people.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self._registry = CollectorRegistry(auto_describe=True)
        self.decisions = Counter(
            "heedful_decisions", "Decisions made", ["policy"], registry=self._registry
        )
        self.refusals = Counter(
            "heedful_decision_errors",
            "Decisions asked for and not made",
            ["reason"],
            registry=self._registry,
        )
        self.held = Counter(
            "heedful_held_decisions", "Decisions that wait for a person", registry=self._registry
        )
        self.feedback = Counter(
            "heedful_feedback", "Feedback rows", ["kind", "status"], registry=self._registry
        )
        self.ends = Counter("heedful_ends", "Ends of sessions", ["status"], registry=self._registry)
        self.requests = Counter(
            "heedful_http_requests", "HTTP requests", ["route", "status"], registry=self._registry
        )
        self.queue = self._gauge("heedful_queue_items", "Items that wait for the engine")
        self.subjects = self._gauge("heedful_subjects_in_memory", "Subjects in the cache")
        self.parked = self._gauge("heedful_parked", "Feedback that waits for its decision")
        self.live = self._gauge("heedful_live_version", "Number of the live policy, 0: none")
        self.trial = self._gauge("heedful_trial_version", "Number of the policy on trial, 0: none")
        self.turn_items = Histogram(
            "heedful_turn_items",
            "Items answered together in one transaction",
            buckets=ITEMS,
            registry=self._registry,
        )
        self.seconds = Histogram(
            "heedful_answer_seconds",
            "From queue to durable answer",
            buckets=SECONDS,
            registry=self._registry,
        )

    def watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Read ``gauge`` from ``value`` whenever somebody looks."""
        gauge.set_function(value)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, registry=self._registry)
