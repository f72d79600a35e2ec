"""One training run: its folder, its curves, and the point from which it can go on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor

from heedful.loop.progress import Reporter, Silent

FACTS, TENSORS, CHECKPOINT, METRICS, SAMPLES = (
    "facts.json",
    "tensors.safetensors",
    "checkpoint",
    "metrics.jsonl",
    "samples.jsonl",
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stands: tensors with names, and facts as JSON."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    @classmethod
    def of(cls, facts: dict[str, Any], **groups: Mapping[str, Tensor]) -> Self:
        """Return a checkpoint of tensors in groups; :meth:`group` gives them back."""
        named = {
            f"{group}.{name}": tensor
            for group, tensors in groups.items()
            for name, tensor in tensors.items()
        }
        return cls(named, facts)

    def group(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of a group under their own names."""
        head = f"{name}."
        return {k.removeprefix(head): v for k, v in self.tensors.items() if k.startswith(head)}


def fingerprint(*arrays: np.ndarray) -> str:
    """Return 32 hexadecimal digits of what a run learns from beside its snapshot."""
    hasher = hashlib.sha256()
    for array in arrays:
        hasher.update(f"{array.dtype.str}:{array.shape}:".encode())
        hasher.update(np.ascontiguousarray(array).data)
    return hasher.hexdigest()[:32]


class Run:
    """A folder ``runs/...`` with metrics.jsonl, TensorBoard events and at most one checkpoint.

    A run is known by its inputs: asking for the same again goes on where the last one was stopped.
    """

    def __init__(
        self, folder: Path, inputs: Mapping[str, Any], progress: Reporter | None = None
    ) -> None:
        """Use ``folder``; see :meth:`open`."""
        self.folder, self.inputs = folder, dict(inputs)
        self.progress = progress or Silent()
        self._metrics = (folder / METRICS).open("a", encoding="utf-8")
        self._board: Any = None

    @classmethod
    def open(cls, runs: Path, inputs: Mapping[str, Any], progress: Reporter | None = None) -> Run:
        """Return the unfinished run with these inputs, or a new one.

        Args:
            runs: the folder that holds all runs.
            inputs: what determines the result, as JSON; also written into the folder.
            progress: told how far it has come.
        """
        text = json.dumps(inputs, sort_keys=True)
        for path in sorted(runs.glob("*/inputs.json")):
            unfinished = not (path.parent / "finished").exists()
            if unfinished and path.read_text("utf-8") == text:
                return cls(path.parent, inputs, progress)
        folder = _new_folder(runs)
        (folder / "inputs.json").write_text(text, "utf-8")
        return cls(folder, inputs, progress)

    @staticmethod
    def unfinished(runs: Path, like: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the inputs of the newest run that has a checkpoint to go on from, if there is one.

        Args:
            runs: the folder that holds all runs.
            like: inputs that it must have had; others may be anything.
        """
        wanted: dict[str, Any] = json.loads(json.dumps(like))
        for path in sorted(runs.glob("*/inputs.json"), reverse=True):
            over = (path.parent / "finished").exists()
            if over or not (path.parent / CHECKPOINT).exists():
                continue
            inputs: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if inputs | wanted == inputs:
                return inputs
        return None

    def log(self, step: int, metrics: Mapping[str, float], *, part: str) -> None:
        """Append one point to the curves of ``part``, e.g. "train" or "validation"."""
        line = {
            "part": part,
            "step": step,
            **{name: float(value) for name, value in metrics.items()},
        }
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder))
        for name, value in metrics.items():
            self._board.add_scalar(f"{part}/{name}", value, step)

    def show(self, step: int, samples: Sequence[Mapping[str, object]]) -> None:
        """Append samples of what a policy does, to be read by people, to samples.jsonl."""
        if samples:
            with (self.folder / SAMPLES).open("a", encoding="utf-8") as out:
                out.writelines(
                    json.dumps({"step": step, **sample}, ensure_ascii=False) + "\n"
                    for sample in samples
                )

    def save(self, checkpoint: Checkpoint) -> None:
        """Put ``checkpoint`` in the place of the last one, all at once."""
        new, place = self.folder / f".{CHECKPOINT}.new", self.folder / CHECKPOINT
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        save_file({k: v.contiguous() for k, v in checkpoint.tensors.items()}, new / TENSORS)
        (new / FACTS).write_text(json.dumps(checkpoint.facts), "utf-8")
        _sync(new / TENSORS, new / FACTS, new)
        old = self.folder / f".{CHECKPOINT}.old"
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        new.rename(place)
        _sync(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def resume(self) -> Checkpoint | None:
        """Return the last whole checkpoint, and forget what was logged after it."""
        place, old = self.folder / CHECKPOINT, self.folder / f".{CHECKPOINT}.old"
        if not place.exists() and old.exists():
            old.rename(place)  # killed between the two renames of save()
        if not place.exists():
            self._metrics.truncate(0)
            self._forget_samples(-1)
            return None
        facts = json.loads((place / FACTS).read_text("utf-8"))
        lines = (self.folder / METRICS).read_text("utf-8").splitlines(keepends=True)
        kept = [
            line for line in lines if _whole(line) and json.loads(line)["step"] <= facts["step"]
        ]
        self._metrics.truncate(0)
        self._metrics.writelines(kept)
        self._metrics.flush()
        self._forget_samples(facts["step"])
        return Checkpoint(load_file(place / TENSORS), facts)

    def _forget_samples(self, step: int) -> None:
        """Forget what was shown after ``step``."""
        place = self.folder / SAMPLES
        if place.exists():
            lines = place.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _whole(line) and json.loads(line)["step"] <= step]
            place.write_text("".join(kept), "utf-8")

    def finish(self) -> None:
        """Close the run: the checkpoint has served, and the same inputs start a new one."""
        self.close()
        (self.folder / "finished").touch()
        shutil.rmtree(self.folder / CHECKPOINT, ignore_errors=True)

    def close(self) -> None:
        """Let go of the files; an unfinished run can be opened again."""
        self.progress.close()
        self._metrics.close()
        if self._board is not None:
            self._board.close()
            self._board = None


def _new_folder(runs: Path) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
    for number in range(1, 1000):
        folder = runs / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{runs} holds a thousand runs of this second")


def _whole(line: str) -> bool:
    return line.endswith("}\n")


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
