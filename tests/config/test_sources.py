from pathlib import Path

import pytest

from heedful.config import ConfigError, load


def write(folder: Path, text: str) -> Path:
    file = folder / "heedful.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(
    path: Path,
    overrides: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, environment or {})
    return caught.value


def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    file = write(tmp_path, "[pretrain]\nepochs = 2\nbatch = 2\nclip = 2.0\n")
    variables = {"HEEDFUL_PRETRAIN_EPOCHS": "3", "HEEDFUL_PRETRAIN_BATCH": "3"}
    pretrain = load(file, {"pretrain.epochs": 4, "pretrain.clip": None}, variables).pretrain
    assert (pretrain.epochs, pretrain.batch, pretrain.clip, pretrain.ema) == (4, 3, 2.0, 0.99)


def test_the_environment_of_the_process_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEEDFUL_GATE_ALPHA", "0.01")
    assert load(write(tmp_path, "")).gate.alpha == 0.01


def test_text_from_a_shell_is_read_by_the_type_of_its_key(tmp_path: Path) -> None:
    config = load(
        write(tmp_path, ""),
        {"import.subject": "0", "import.unit": "1", "import.rating_min": "1", "gate.margin": "-.5"}
        | {"gate.margin": "-0.5", "policy.prior": "false", "workspace.domain": "shops"},
        {
            "HEEDFUL_DOMAIN_GENRES": '["a", "b"]',
            "HEEDFUL_DOMAIN_TITLE": "A shop",
            "HEEDFUL_REWARD_KIND": "mixture",
            "HEEDFUL_REWARD_WEIGHTS": "{ click = 1.0, rating = 0.5 }",
        },
    )
    assert config.import_.subject == "0"
    assert config.import_.rating_min == 1.0
    assert config.gate.margin == -0.5
    assert config.policy.prior is False
    assert config.workspace.domain == "shops"
    assert config.domain == {"genres": ["a", "b"], "title": "A shop"}
    assert config.reward.weights == {"click": 1.0, "rating": 0.5}


def test_variables_of_others_are_ignored_and_misspelt_keys_are_not(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    load(file, environment={"HEEDFUL_DATA": "/data", "HEEDFUL_": "", "PATH": "/bin"})
    error = refused(file, environment={"HEEDFUL_GATE_ALHPA": "0.1"})
    assert str(error) == (
        "environment variable HEEDFUL_GATE_ALHPA: gate.alhpa = 0.1: is unknown "
        "(did you mean alpha?)"
    )


def test_an_unknown_key_names_file_line_and_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path, "# mine\n[pretrain]\nepochs = 3\nlearningrate = 0.1\n")
    (problem,) = refused(file).problems
    assert (problem.source, problem.line) == (str(file), 4)
    assert (problem.key, problem.found) == ("pretrain.learningrate", "0.1")
    assert problem.allowed == "did you mean learning_rate?"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[reinforce]\nalpha = 0.1", "that key belongs in [gate]"),
        ("[gate]\nzzzz = 1", "keys of [gate]: alpha, share"),
        ("[gates]\nalpha = 1", "[gates]: is unknown (did you mean [gate]?)"),
        ("zzzz = 1", "tables: workspace, import, domain"),
        ("gate = 1", "[gate]: must be a table"),
        ("[gate]\nalpha = 2", "line 2: gate.alpha = 2: should be less than 0.5"),
        ("[gate]\nalpha = 2", "(allowed: 0 < value < 0.5)"),
        ("[gate]\nalpha = nan", "gate.alpha = nan: should be a finite number"),
        ("[pretrain]\nepochs = '3'", 'pretrain.epochs = "3": should be a valid integer'),
        ("[pretrain]\nepochs = 3.5", "pretrain.epochs = 3.5: should be a valid integer"),
        ("[policy]\nprior = 1", "policy.prior = 1: should be a valid boolean"),
        ("[reward]\nkind = 'likes'", 'reward.kind = "likes"'),
        ("[reward]\nkind = 'likes'", '(allowed: "clicks", "ratings", "mixture", "function")'),
        ("[workspace]\ndomain = '../x'", 'workspace.domain = "../x": '),
        ("[policy]\nheads = 3", "line 1: [policy]: width 64 cannot be divided among 3 heads"),
        ("[domain]\nwhen = 2026-11-22", "domain.when = 2026-11-22"),
        ("[gate\nalpha = 1", "is not TOML: Expected ']'"),
        ("[gate\nalpha = 1", "line 1"),
        ("[gate]\nalpha = 1\nalpha = 2", "is not TOML: Cannot overwrite a value (at line 3"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    file = write(tmp_path, text)
    message = str(refused(file))
    assert says in message
    assert message.startswith(str(file))


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "[gate]\nalpha = 2\n[serve]\nport = -1\n"), {"serve.slate": 0})
    assert [problem.key for problem in error.problems] == [
        "gate.alpha",
        "serve.port",
        "serve.slate",
    ]
    assert [problem.line for problem in error.problems] == [2, 4, None]
    assert "flag serve.slate" in str(error)


def test_a_long_value_is_shown_short(tmp_path: Path) -> None:
    (problem,) = refused(write(tmp_path, f"[gate]\nalpha = '{'x' * 1000}'")).problems
    assert len(problem.found) < 100


def test_a_flag_must_name_a_table(tmp_path: Path) -> None:
    assert "section.key" in str(refused(write(tmp_path, ""), {"alpha": 1}))
    assert "did you mean [gate]" in str(refused(write(tmp_path, ""), {"gat.alpha": "1"}))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert str(tmp_path / "heedful.toml") in str(error)
    assert "heedful init" in str(error)


def test_other_encodings_are_refused_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    file = tmp_path / "heedful.toml"
    file.write_bytes("[serve]\nhost = 'caf\xe9'".encode("latin-1"))
    assert "not UTF-8" in str(refused(file))
    file.write_bytes(b"\xef\xbb\xbf[serve]\nport = 1\n")
    assert load(file, environment={}).serve.port == 1
