import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from heedful import __version__
from heedful.cli.app import command
from heedful.store.registry import Registry
from heedful.workspace import SECRET
from tests.cli.calls import TRAIN, process, result, run
from tests.small_shop import LENGTH, SUBJECTS, TINY, flags

HEAVY = {"torch", "numpy", "sqlalchemy", "matplotlib", "fastapi", "gymnasium", "jinja2"}
VERBS = [info.name or "" for info in command().registered_commands]


def test_help_of_every_verb_loads_nothing_that_is_slow() -> None:
    program = (
        "import sys; from typer.testing import CliRunner; from heedful.cli.app import command\n"
        "for verb in ([], *([name] for name in sys.argv[1].split())):\n"
        "    done = CliRunner().invoke(command(), [*verb, '--help'])\n"
        "    assert done.exit_code == 0 and 'Usage: ' in done.output, (verb, done.output)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    words = [sys.executable, "-c", program, " ".join(VERBS)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert sorted(HEAVY & set(done.stdout.split())) == []


def test_help_answers_in_under_half_a_second() -> None:
    def seconds() -> float:
        began = os.times()
        assert process("--help").returncode == 0
        ended = os.times()
        return (
            ended.children_user
            + ended.children_system
            - (began.children_user + began.children_system)
        )

    assert min(seconds() for _ in range(3)) < 0.5


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout == f"heedful {__version__}\n"


def test_no_verb_and_an_unknown_verb_are_usage_errors() -> None:
    assert run().exit_code == 2
    assert run("fly").exit_code == 2
    assert run("import").exit_code == 2


def test_a_stranger_with_a_file_gets_a_trained_policy_and_honest_figures(
    walked: dict[str, Any],
) -> None:
    rows = SUBJECTS * LENGTH
    assert walked["init"]["domain"] == "recommendation"
    assert walked["init"]["key"].startswith("heedful_")
    assert walked["import"] == {"read": rows, "added": rows, "duplicates": 0, "refused": 0}
    assert walked["pretrain"]["policy"] == "0001"
    assert 0 <= walked["pretrain"]["metrics"]["ndcg@10"] <= 1
    found = walked["evaluate"]
    known = {"policy", "ranking", "likelihood", "value", "gate", "weights", "foretold"}
    assert set(found) == known | {"forgetting", "likeness", "wins"}
    assert {"hr@10", "ndcg@10", "mrr", "coverage@10", "gain_over_prior"} <= set(found["ranking"])
    assert set(found["ranking"]["beside"]) == {"popularity", "transition prior"}
    assert walked["doctor"]["ok"] is True
    assert {"name", "ok", "warning", "detail"} == set(walked["doctor"]["checks"][0])


def test_people_read_tables_and_sentences_of_at_most_80_columns(shop: Path) -> None:
    for words in (["evaluate", shop, *TRAIN], ["doctor", shop], ["run", shop, *TRAIN]):
        done = run(*words)
        assert done.exit_code == 0, done.stderr
        assert max(map(len, done.stdout.splitlines())) <= 80
    shown = run("evaluate", shop, *TRAIN).stdout
    assert "leave-one-out" in shown
    for word in ("HR@10", "NDCG@10", "MRR", "coverage", "popularity", "transition prior"):
        assert word in shown
    assert "a gain is shown" in shown or "no gain is shown" in shown


def test_messages_go_to_stderr(shop: Path) -> None:
    done = run("pretrain", shop, *TRAIN, "--json")
    assert result(done)["policy"] == "0002"
    assert "tensorboard --logdir" in done.stderr


def test_a_flag_counts_before_the_environment_before_the_file(shop: Path) -> None:
    file = shop / "heedful.toml"
    file.write_text(file.read_text().replace("epochs = 30 ", "epochs = 2 "))
    tiny = flags({name: value for name, value in TINY.items() if name != "pretrain.epochs"})

    def epochs(*more: str, env: Mapping[str, str] | None = None) -> int:
        version = result(run("pretrain", shop, *tiny, *more, "--json", env=env))["policy"]
        with Registry.open(shop) as registry:
            return int(registry.card(version).configuration["pretrain"]["epochs"])  # type: ignore[call-overload, index, arg-type]

    environment = {"HEEDFUL_PRETRAIN_EPOCHS": "3"}
    assert epochs() == 2
    assert epochs(env=environment) == 3
    assert epochs("--set", "pretrain.epochs=4", env=environment) == 4
    assert epochs("--set", "pretrain.epochs=4", "--epochs", "1", env=environment) == 1


def test_an_unknown_key_names_file_line_and_remedy(shop: Path) -> None:
    file = shop / "heedful.toml"
    file.write_text(file.read_text().replace("learning_rate", "learning_rte", 1))
    line = next(i for i, t in enumerate(file.read_text().splitlines(), 1) if "learning_rte" in t)
    done = run("pretrain", shop)
    assert done.exit_code == 2
    assert f"{file}, line {line}: pretrain.learning_rte" in done.stderr
    assert "did you mean learning_rate?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "pretrain.epochs=many"], "pretrain.epochs"),
        (["--set", "pretrain.epoks=3"], "did you mean epochs?"),
        (["--set", "nonsense"], "section.key=value"),
        (["--epochs", "0"], "1 <= value"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(shop: Path, words: list[str], message: str) -> None:
    done = run("pretrain", shop, *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    done = run("evaluate", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "heedful init" in done.stderr


def test_making_a_workspace_twice_leaves_the_first(empty: Path) -> None:
    before = (empty / SECRET).read_bytes()
    done = run("init", empty)
    assert done.exit_code == 1
    assert "there is a workspace already" in done.stderr
    assert (empty / SECRET).read_bytes() == before
