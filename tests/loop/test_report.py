import base64
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from heedful.loop.report import keep_evaluation, training_curves
from heedful.loop.served import mean_and_error, reward_by_version
from heedful.workspace import Workspace
from tests.small_shop import Shop, new_shop

VOID = {"meta", "img", "source", "br"}


class Page(HTMLParser):
    """Collects tags, text and pictures, and checks that every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[dict[str, str]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [given[name] for name in ("src", "href", "srcset") if name in given]
        if tag == "img":
            self.pictures.append(given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def page(workspace: Workspace) -> Page:
    return Page(workspace.report().read_text("utf-8"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that has promoted one candidate on evidence and tries the next."""
    folder = tmp_path_factory.mktemp("report") / "shop"
    shop = new_shop(folder)
    shop.workspace.turn(by="<b>ada</b>")
    shop.visit(150, lambda version: 0.3)
    shop.workspace.turn()
    shop.visit(150, lambda version: 0.9 if version == "0002" else 0.1)
    assert shop.workspace.turn().action == "promoted"
    assert shop.workspace.turn().action == "trial begun"
    shop.visit(60, lambda version: 0.5)
    found = shop.workspace.evaluate("0001").to_dict()
    keep_evaluation(folder / "runs", "0001", found, at=shop.now)
    yield shop
    shop.close()


def test_the_report_needs_nothing_from_elsewhere(shop: Shop) -> None:
    found = page(shop.workspace)
    assert found.open == []
    assert found.links
    assert all(link.startswith("data:image/svg+xml;base64,") for link in found.links)
    for link in found.links:
        assert ET.fromstring(base64.b64decode(link.partition(",")[2])).tag.endswith("svg")


def test_every_picture_says_in_words_what_it_shows(shop: Shop) -> None:
    alts = [picture["alt"] for picture in page(shop.workspace).pictures]
    assert len(alts) == 8  # rewards, two trials, weights, clicks foretold, three runs
    assert "click rate" in alts[0]
    assert re.search(r"evidence for 0003 over subjects, log scale: it rose to [\d.]+", alts[1])
    assert "promotes" in alts[2]
    assert "NDCG@10" in alts[-1]


def test_it_tells_versions_verdicts_rankings_and_who_decided(shop: Shop) -> None:
    text = page(shop.workspace).text
    assert "Trial 1: 0002 against 0001" in text
    assert "Promote: the candidate is better than the live policy." in text
    assert "Trial 2: 0003 against 0002" in text
    assert "leave-one-out" in text
    assert "a gain is shown" in text or "no gain is shown" in text
    assert "the first version: there is nothing to compare with" in text
    assert "live version0002" in text.replace("\n", "").replace(" version ", " version")


def test_what_people_wrote_is_text_and_not_html(shop: Shop) -> None:
    html = shop.workspace.report().read_text("utf-8")
    assert "&lt;b&gt;ada&lt;/b&gt;" in html
    assert "<b>ada" not in html


def test_an_empty_workspace_has_a_report_that_says_what_to_do(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "shop").close()
    with Workspace.open(tmp_path / "shop") as workspace:
        found = Page(workspace.report(tmp_path / "out" / "r.html").read_text("utf-8"))
    assert found.pictures == []
    assert "Nobody has been served yet" in found.text
    assert "Nothing has been trained yet" in found.text


def test_a_curve_leaves_out_a_line_that_was_cut(tmp_path: Path) -> None:
    lines = [
        {"part": "train", "step": 4, "nll": 4.5},
        {"part": "validation", "step": 4, "ndcg@10": 0.1},
        {"part": "train", "step": 8, "nll": 4.0},
    ]
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"part": "train", "st')
    curves = training_curves(file, "pretrain")
    (loss,), (ndcg,) = curves["loss (nats per unit)"], curves["NDCG@10 on held-out units"]
    assert (loss.name, loss.x, loss.y) == ("train", [4, 8], [4.5, 4.0])
    assert (ndcg.name, ndcg.x, ndcg.y) == ("validation", [4], [0.1])
    assert training_curves(tmp_path / "none.jsonl", "pretrain") == {}


def test_rewards_of_versions_that_served_at_the_same_time(shop: Shop) -> None:
    lines = {line.name: line for line in reward_by_version(shop.workspace.bench())}
    assert set(lines) == {"0001", "0002", "0003"}
    better, worse = np.asarray(lines["0002"].y), np.asarray(lines["0001"].y)
    assert np.nanmax(better) > 0.8
    assert np.nanmin(worse) < 0.2
    for line in lines.values():
        low, y, high = (np.asarray(values) for values in (line.low, line.y, line.high))
        known = ~np.isnan(y)
        assert (low[known] <= y[known]).all()
        assert (y[known] <= high[known]).all()


def test_answers_of_one_subject_count_as_one_when_they_always_agree() -> None:
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 2, 50).astype(float)
    subjects = np.repeat(np.arange(50), 20)
    mean, error = mean_and_error(np.repeat(taste, 20), subjects)
    assert mean == pytest.approx(taste.mean())
    assert error == pytest.approx(taste.std() / np.sqrt(50))
    assert all(np.isnan(mean_and_error(taste[:10], subjects[:10])))
