"""``heedful import --as`` and ``heedful pretrain --from``, as they are typed."""

from pathlib import Path

import pytest

from heedful.policy import load
from heedful.record import Described, pseudonym
from heedful.workspace import Workspace
from tests.cli.calls import TRAIN, result, run, watermark

ROWS = "id,price,tags,title\nitem-1,4.5,tea|green,Green tea\nnew,,coffee,Black coffee\n"


@pytest.fixture
def items(tmp_path: Path) -> Path:
    file = tmp_path / "items.csv"
    file.write_text(ROWS)
    return file


def test_items_are_described_and_a_new_one_is_for_sale(shop: Path, items: Path) -> None:
    words = ("import", shop, items, "--as", "units", "--unit", "id", "--json")
    assert result(run(*words)) == {"read": 2, "added": 2, "duplicates": 0, "refused": 0}
    assert result(run(*words))["duplicates"] == 2
    metrics = result(run("pretrain", shop, "--from", "0001", *TRAIN, "--json"))["metrics"]
    assert metrics["units_never_chosen"] == 1
    with Workspace.open(shop) as workspace:
        first, second = (load(workspace.registry.folder(v)).vocabulary for v in ("0001", "0002"))
        assert second.units == (*first.units, "new")
        assert workspace.registry.card("0002").parent == "0001"


def test_people_are_described_under_their_pseudonyms(shop: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("who,age\nuser-1,30\n")
    done = run("import", shop, people, "--as", "subjects", "--subject", "who", "--numbers", "age")
    assert "1 rows read, 1 added" in done.stdout
    with Workspace.open(shop) as workspace:
        known = workspace.log.snapshot().descriptions.latest(Described.SUBJECT)
        assert known == {pseudonym("user-1", workspace.key): {"age": 30}}


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--as", "units"], 4, "it has id, price, tags, title"),
        (["--as", "units", "--numbers", "price"], 2, "--unit which column is the id"),
        (["--numbers", "price"], 2, "belong to --as"),
        (["--as", "units", "--unit", "id", "--numbers", "title"], 4, "is no number"),
        (["--as", "people"], 2, "units"),
    ],
)
def test_what_cannot_be_read_adds_nothing(
    shop: Path, items: Path, flags: list[str], code: int, message: str
) -> None:
    before = watermark(shop)
    done = run("import", shop, items, *flags)
    assert (done.exit_code, watermark(shop)) == (code, before)
    assert message in done.stderr


def test_there_is_nothing_to_go_on_from_in_popularity(shop: Path) -> None:
    run("pretrain", shop, "--popularity")
    done = run("pretrain", shop, "--from", "0002", *TRAIN)
    assert done.exit_code == 1
    assert "version 0002: there is no network in it to go on from" in done.stderr
    assert run("pretrain", shop, "--from", "0001", "--popularity").exit_code == 2
