from pathlib import Path

from tests.cli.calls import TRAIN, result, run


def test_what_needs_no_fitting_says_so(shop: Path) -> None:
    done = run("reward", shop, *TRAIN)
    assert done.exit_code == 1
    assert "nothing to fit" in done.stderr


def test_scales_of_subjects_are_fitted_and_told(shop: Path) -> None:
    words = ["--set", "reward.kind=ratings", "--set", "reward.normalise=subject", *TRAIN]
    found = result(run("reward", shop, *words, "--json"))
    assert found["reward"] == "0001"
    assert found["metrics"]["rating/subjects"] == 40
    told = run("reward", shop, *words)
    assert "Reward 0002 is fitted" in told.stdout
    assert "rating/variance_within" in told.stdout
    assert (shop / "rewards" / "0002" / "card.json").is_file()


def test_too_few_pairs_are_told_with_how_many_it_takes(shop: Path) -> None:
    words = ["--set", "reward.kind=ratings", "--set", "reward.comments=true"]
    done = run("reward", shop, *words, *TRAIN)
    assert done.exit_code == 1
    assert "at least 30" in done.stderr.replace("\n", " ")
    assert not (shop / "rewards" / "0001").exists()
