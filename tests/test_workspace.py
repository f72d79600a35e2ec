import random
import shutil
import stat
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import heedful
from heedful.config import FILE_NAME, ConfigError
from heedful.store import StoreError
from heedful.workspace import GROUP, SECRET, Workspace
from tests.small_shop import COLUMNS, TINY, Shop, new_shop


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with ratings and one pre-trained candidate."""
    folder = tmp_path_factory.mktemp("trained") / "shop"
    shop = new_shop(folder)
    shop.workspace.pretrain()
    shop.close()
    return folder


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(Path(shutil.copytree(trained, tmp_path / "shop")))
    yield shop
    shop.close()


def test_a_new_workspace_opens_with_every_default_and_an_empty_log(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop").close()
    with heedful.open(tmp_path / "shop") as workspace:
        assert workspace.log.watermark() == 0
        assert workspace.registry.versions() == []
        assert workspace.domain.name == "recommendation"
        assert len(workspace.key) == 32


def test_the_secret_is_its_own_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        Workspace.create(tmp_path / name).close()
    one, two = ((tmp_path / name / SECRET).read_text() for name in ("one", "two"))
    assert one != two
    assert stat.S_IMODE((tmp_path / "one" / SECRET).stat().st_mode) == 0o600


def test_making_a_workspace_again_leaves_it_as_it_is(tmp_path: Path) -> None:
    Workspace.create(tmp_path).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(FileExistsError, match="toml"):
        Workspace.create(tmp_path)
    assert (tmp_path / SECRET).read_bytes() == before[SECRET]
    assert (tmp_path / "heedful.toml").read_bytes() == before["heedful.toml"]


def test_a_domain_that_is_not_installed_names_those_that_are(tmp_path: Path) -> None:
    Workspace.create(tmp_path).close()
    with pytest.raises(ConfigError, match=r"workspace\.domain = cheese.*recommendation"):
        Workspace.open(tmp_path, {"workspace.domain": "cheese"})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("slat", 3, "domain.slat = 3: is unknown (did you mean slate?)"),
        ("colour", "red", 'domain.colour = "red": is unknown (keys of [domain]: slate, '),
        ("slate", 0, "domain.slate = 0: should be greater than or equal to 1 (allowed: 1 <= "),
        ("slate", "many", 'domain.slate = "many": should be a valid integer'),
    ],
)
def test_an_option_the_domain_cannot_use_is_refused(
    tmp_path: Path, key: str, value: object, said: str
) -> None:
    Workspace.create(tmp_path).close()
    with pytest.raises(ConfigError) as refused:
        Workspace.open(tmp_path, {f"domain.{key}": value})
    assert f"flag domain.{key}: {said}" in str(refused.value)
    assert "pydantic" not in str(refused.value)


def test_an_option_in_the_file_is_refused_there(tmp_path: Path) -> None:
    Workspace.create(tmp_path, settings="[domain]\nslate = 3\n").close()
    (tmp_path / FILE_NAME).write_text("[domain]\nslat = 3\n")
    with pytest.raises(ConfigError, match=r"heedful\.toml: domain\.slat = 3: is unknown"):
        Workspace.open(tmp_path)


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    Workspace.create(tmp_path).close()
    with pytest.raises(ConfigError, match="is a file; a workspace is a folder"):
        Workspace.open(tmp_path / FILE_NAME)


def test_nothing_is_made_for_a_domain_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such domain is installed"):
        Workspace.create(tmp_path / "shop", domain="cheese")
    assert not (tmp_path / "shop").exists()


def test_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="heedful init"):
        Workspace.open(tmp_path / "nowhere")


def test_a_log_has_one_writer_at_a_time(shop: Shop) -> None:
    with Workspace.open(shop.workspace.folder) as other, shop.workspace.writing():
        with pytest.raises(StoreError, match="one writer"), other.writing():
            pass
        assert other.log.watermark() > 0  # reading goes on
    with shop.workspace.writing():
        pass


def test_evaluating_says_how_it_ranks_beside_what_costs_nothing(shop: Shop) -> None:
    found = shop.workspace.evaluate()
    assert found.policy == "0001"
    assert found.ranking is not None
    assert list(found.ranking.policies) == ["0001", "popularity", "transition prior"]
    plain = found.to_dict()
    assert plain["value"] == {"why_not": found.why_no_value}
    assert "no version is live" in found.why_no_value
    for ranks in found.ranking.policies.values():
        assert 0 <= ranks.ndcg.low <= ranks.ndcg.mean <= ranks.ndcg.high <= 1


def test_evaluate_takes_the_newest_that_waits_else_the_live_one(shop: Shop) -> None:
    shop.workspace.promote("0001", by="ada")
    assert shop.workspace.evaluate().policy == "0001"
    second = shop.workspace.popularity()
    assert shop.workspace.evaluate().policy == second.name
    shop.workspace.registry.refuse(second.name, by="ada", why="a test")
    assert shop.workspace.evaluate().policy == "0001"


def test_nothing_to_evaluate_is_said(tmp_path: Path) -> None:
    Workspace.create(tmp_path).close()
    with Workspace.open(tmp_path) as workspace, pytest.raises(LookupError, match="train one"):
        workspace.evaluate()


def test_a_candidate_is_valued_on_what_the_live_version_decided_since(shop: Shop) -> None:
    shop.workspace.promote("0001", by="ada")
    candidate = shop.workspace.popularity()
    shop.visit(60, lambda version: 0.4)
    found = shop.workspace.evaluate(candidate)
    assert found.value is not None
    assert list(found.value) == ["dr", "snips", "ips", "clipped_ips", "live"]
    assert found.value["live"].n == found.value["ips"].n == 120
    assert found.value["live"].value == pytest.approx(0.4, abs=0.1)
    assert found.value["live"].ess == pytest.approx(120)
    assert found.value["ips"].ess < 120
    for estimate in found.value.values():  # both clicked alike, so nothing is better
        interval = estimate.interval()
        assert interval.low <= 0.4 + 0.1
        assert interval.high >= 0.4 - 0.1
    assert found.verdict is not None
    assert found.source == "logged probabilities, a pre-screen: only a trial promotes"
    plain = found.to_dict()
    assert plain["value"]["live"]["value"] == found.value["live"].value  # type: ignore[index]
    assert found.gain is not None
    assert found.gain.mean == found.value["dr"].value - found.value["live"].value
    assert plain["value"]["gain_over_live"]["low"] == found.gain.low  # type: ignore[index]


def test_rows_a_candidate_was_trained_on_are_not_fresh(shop: Shop) -> None:
    shop.workspace.promote("0001", by="ada")
    shop.visit(20, lambda version: 0.4)
    found = shop.workspace.evaluate(shop.workspace.popularity())
    assert found.value is None
    assert "serve it for a while" in found.why_no_value


def test_the_same_inputs_make_the_same_bits(shop: Shop) -> None:
    digests = set()
    for _ in range(2):
        version = shop.workspace.pretrain()
        digests.add(
            (shop.workspace.registry.folder(version.name) / "model.safetensors").read_bytes()
        )
    first = shop.workspace.registry.folder("0001") / "model.safetensors"
    assert digests == {first.read_bytes()}
    recipes = {
        shop.workspace.registry.card(v.name).recipe() for v in shop.workspace.registry.versions()
    }
    assert len(recipes) == 1


def test_another_seed_makes_other_bits(shop: Shop) -> None:
    with Workspace.open(shop.workspace.folder, TINY | COLUMNS | {"workspace.seed": 1}) as workspace:
        other = workspace.registry.folder(workspace.pretrain().name) / "model.safetensors"
        first = workspace.registry.folder("0001") / "model.safetensors"
        assert other.read_bytes() != first.read_bytes()


def test_rolling_back_returns_to_the_version_before(shop: Shop) -> None:
    shop.workspace.promote("0001", by="ada")
    shop.workspace.promote(shop.workspace.popularity(), by="ada", why="a test")
    assert shop.workspace.rollback(by="ada", why="it was a test").name == "0001"
    live = shop.workspace.registry.live()
    assert live is not None
    assert live.name == "0001"


def test_a_split_by_time_is_trained_and_judged_by_and_the_card_remembers_it(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop").close()
    file, times = tmp_path / "ratings.csv", random.Random(0)
    rows = [f"user-{n % 12},item-{n % 7},{n % 5 + 1},{times.random() * 1e9}" for n in range(120)]
    file.write_text("\n".join(["user,item,rating,when", *rows]))
    columns = COLUMNS | {"import.order": "", "import.time": "when"}
    settings = TINY | columns | {"pretrain.split": "time", "pretrain.split_share": 0.2}
    with Workspace.open(tmp_path / "shop", settings) as shop:
        shop.import_file(file)
        version = shop.pretrain()
    with Workspace.open(tmp_path / "shop", TINY | columns) as shop:
        ranking = shop.evaluate(version).ranking
    assert ranking is not None
    assert ranking.protocol.startswith("split by time, the latest 20% of the units held out (24 ")
    assert ranking.n == len({n % 12 for n in latest(rows, 24)})


def latest(rows: list[str], n: int) -> list[int]:
    """Return the numbers of the ``n`` rows with the latest times."""
    return sorted(range(len(rows)), key=lambda row: float(rows[row].split(",")[-1]))[-n:]


def test_a_split_by_time_needs_times(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop").close()
    file = tmp_path / "ratings.csv"
    rows = [f"user-{n // 9},item-{n % 7},{n % 9}" for n in range(90)]
    file.write_text("\n".join(["user,item,position", *rows]))
    settings = TINY | COLUMNS | {"import.rating": "", "pretrain.split": "time"}
    with Workspace.open(tmp_path / "shop", settings) as shop:
        shop.import_file(file)
        with pytest.raises(ValueError, match=r"no times that are comparable between subjects"):
            shop.pretrain()


@pytest.mark.parametrize("name", sorted(entry.name for entry in entry_points(group=GROUP)))
def test_a_new_workspace_says_what_suits_its_domain_and_what_it_reads(
    name: str, tmp_path: Path
) -> None:
    with Workspace.create(tmp_path / name, domain=name) as workspace:
        written = (workspace.folder / "heedful.toml").read_text()
        kind = type(workspace.domain)
        for key, value in getattr(kind, "suits", {}).items():
            section, _, option = key.partition(".")
            assert getattr(getattr(workspace.config, section), option) == value, key
        for option in kind.keys.model_fields:
            assert f"\n{option} = " in written
