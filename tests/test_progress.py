import pytest

from course_utils.base import progress


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.WORK, str(tmp_path / "work"))
    return tmp_path / "work"


def test_what_was_solved_is_kept_and_stays_solved(work):
    assert progress.read() == {}
    progress.note("01", "from_hex", False)
    progress.note("01", "quiz 1", True)
    progress.note("B", "scenes", True)
    assert progress.read() == {"01": {"from_hex": False, "quiz 1": True}, "B": {"scenes": True}}
    progress.note("01", "from_hex", True)
    progress.note("01", "from_hex", False)
    assert progress.read()["01"]["from_hex"] is True
    assert [path.name for path in work.iterdir()] == ["progress.json"]


def test_nothing_is_written_where_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in (None, "", " "):
        monkeypatch.delenv(progress.WORK, raising=False)
        if value is not None:
            monkeypatch.setenv(progress.WORK, value)
        progress.note("01", "from_hex", True)
        assert progress.read() == {} and not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[]", "7", "{", '{"01": 3}', '{"01": {"from_hex": 1}}', "[" * 100_000, "\x00"])
def test_a_damaged_file_is_begun_anew(work, content):
    work.mkdir()
    (work / "progress.json").write_text(content, encoding="utf-8")
    assert all(tried == {} for tried in progress.read().values())
    progress.note("01", "frame", True)
    assert progress.read()["01"] == {"frame": True}


def test_a_folder_that_cannot_be_written_stops_no_check(tmp_path, monkeypatch):
    (tmp_path / "work").write_text("a file", encoding="utf-8")
    monkeypatch.setenv(progress.WORK, str(tmp_path / "work"))
    progress.note("01", "from_hex", True)
    assert progress.read() == {}
