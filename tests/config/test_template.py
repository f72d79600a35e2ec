import tomllib
from pathlib import Path

import pytest

from heedful.config import Config, load, template
from heedful.config.explain import keys_of, tables


@pytest.mark.parametrize("domain", ["recommendation", "dialogue", "games"])
def test_the_template_parses_to_the_defaults(tmp_path: Path, domain: str) -> None:
    (tmp_path / "heedful.toml").write_text(template(domain))
    config = load(tmp_path, environment={})
    assert config.workspace.domain == domain
    workspace = config.workspace.model_copy(update={"domain": Config().workspace.domain})
    assert config.model_copy(update={"workspace": workspace}) == Config()


def test_every_key_stands_in_it_with_its_meaning() -> None:
    lines = template("games").splitlines()
    for table in tables():
        assert f"[{table}]" in lines
        for name, field in keys_of(table).items():
            assert any(
                line.removeprefix("# ").startswith(f"{name} =") and str(field.description) in line
                for line in lines
            ), name


def test_keys_without_a_default_are_named_but_not_set() -> None:
    assert "rating_min" not in tomllib.loads(template("games"))["import"]


def test_units_and_bounds_are_written_beside_the_value() -> None:
    assert "(seconds; 0 < value <= 31_536_000)" in template("games")
    assert '("clicks", "ratings", "mixture", "function")' in template("games")
