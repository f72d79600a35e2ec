import json
import stat

import pytest

from heedful.record import RecordError
from heedful.serve import Keys, KeysError


def test_a_token_is_shown_once_and_kept_as_a_hash(tmp_path):
    path = tmp_path / "keys.json"
    token = Keys(path).new("shop", "client")
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = Keys(path).find(token)
    assert found is not None
    assert (found.name, found.role) == ("shop", "client")


def test_wrong_tokens_are_nobodys(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    assert keys.find("") is None
    token = keys.new("shop")
    for wrong in ("", token[:-1], token + "x", token.upper(), "é", "\ud800"):
        assert keys.find(wrong) is None


def test_changes_count_at_once_for_others_who_look(tmp_path):
    path = tmp_path / "keys.json"
    running = Keys(path)
    token = Keys(path).new("shop")
    assert running.find(token) is not None
    Keys(path).revoke("shop")
    assert running.find(token) is None


def test_a_name_is_used_once(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    first, other = keys.new("shop"), keys.new("till", "admin")
    with pytest.raises(KeysError, match="revoke it"):
        keys.new("shop")
    keys.revoke("shop")
    assert keys.find(first) is None
    assert keys.find(other) is not None
    with pytest.raises(KeysError, match="till"):
        keys.revoke("shop")


def test_bad_names_and_roles_are_refused(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    with pytest.raises(RecordError):
        keys.new("")
    with pytest.raises(KeysError, match="client, reviewer, admin"):
        keys.new("shop", "emperor")
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": [{"name": "x"}]}', '{"keys": 1}'])
def test_a_damaged_file_is_refused_with_a_remedy(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeysError, match="restore it"):
        Keys(path)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    keys = Keys(tmp_path / "keys.json")
    keys.new("shop")
    before = (tmp_path / "keys.json").read_text()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("heedful.serve.keys.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            keys.new("till")
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
    assert json.loads(before) == json.loads((tmp_path / "keys.json").read_text())
