"""What is written whole: after an error, an interrupt or a rival, the old one stands or the new one, nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course_utils.base.files import replace_file, whole, whole_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_only_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "values.npy"
    with whole(path) as unfinished:
        unfinished.write_bytes(b"first half, ")
        assert not path.exists() and unfinished.parent == path.parent and unfinished.suffix == ".npy"
        with unfinished.open("ab") as file:
            file.write(b"second half")
    assert path.read_bytes() == b"first half, second half" and names(path.parent) == ["values.npy"]


def test_a_file_is_replaced_and_never_written_in_its_place(tmp_path):
    path = tmp_path / "state"
    replace_file(path, "old" * 1000)
    with path.open() as reader, whole(path) as unfinished:
        unfinished.write_text("new" * 1000)
        written = unfinished.stat().st_ino
    assert path.stat().st_ino == written and path.read_text() == "new" * 1000  # the very file, moved
    if sys.platform != "win32":
        with path.open() as reader:
            replace_file(path, "third")
            assert reader.read() == "new" * 1000  # who had begun to read sees the old one whole


def test_what_a_killed_process_left_is_removed_when_it_is_a_day_old(tmp_path):
    for name in (".part-old", ".part-old.pt", ".part-new", "kept", ".parting"):
        (tmp_path / name).mkdir() if name == ".part-old" else (tmp_path / name).write_text("half")
        (tmp_path / name / "inside").mkdir() if name == ".part-old" else None
        if name != ".part-new":
            os.utime(tmp_path / name, (1, time.time() - 90_000))
    replace_file(tmp_path / "file", "whole")
    assert names(tmp_path) == [".part-new", ".parting", "file", "kept"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError("wrong"), SystemExit, OSError(28, "No space")])
def test_an_interrupted_file_leaves_the_old_one_and_nothing_else(tmp_path, interruption):
    path = tmp_path / "file.txt"
    replace_file(path, "old")
    with pytest.raises((KeyboardInterrupt, ValueError, SystemExit, OSError)) as raised, whole(path) as unfinished:
        unfinished.write_text("half a n")
        raise interruption
    assert raised.value is interruption or raised.type is interruption
    assert path.read_text() == "old" and names(tmp_path) == ["file.txt"]


def test_a_file_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    replace_file(path, "old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["file.txt"]


def test_text_is_written_in_utf_8_and_bytes_as_they_are(tmp_path):
    replace_file(tmp_path / "text", "é → ü\n")
    replace_file(tmp_path / "bytes", b"\x00\r\n")
    assert (tmp_path / "text").read_bytes() == "é → ü\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\r\n"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_others_may_read_a_file_and_a_folder_as_the_user_has_it_set(tmp_path):
    before = os.umask(0o022)
    try:
        replace_file(tmp_path / "file", "x")
        with whole_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def test_a_file_with_the_longest_name_a_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".txt")
    replace_file(path, "long")
    assert path.read_text() == "long"


def write_folder(path, text, **options):
    with whole_folder(path, **options) as unfinished:
        for i in range(3):
            (unfinished / f"{i}.txt").write_text(text)


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "deep" / "set"
    write_folder(path, "old")
    (path / "left over").touch()
    write_folder(path, "new")
    assert [file.read_text() for file in sorted(path.iterdir())] == ["new"] * 3 and names(path.parent) == ["set"]
    write_folder(path, "newer", replace=False)
    assert [file.read_text() for file in sorted(path.iterdir())] == ["new"] * 3 and names(path.parent) == ["set"]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(28, "No space")])
def test_an_interrupted_folder_leaves_the_old_one_and_nothing_else(tmp_path, interruption, old):
    path = tmp_path / "set"
    if old:
        write_folder(path, "old")
    with pytest.raises((KeyboardInterrupt, OSError)), whole_folder(path) as unfinished:
        (unfinished / "0.txt").write_text("half")
        raise interruption
    assert names(tmp_path) == (["set"] if old else [])
    assert not old or [file.read_text() for file in path.iterdir()] == ["old"] * 3


def test_an_interrupt_between_the_two_moves_puts_the_old_folder_back(tmp_path, monkeypatch):
    path, moves, move = tmp_path / "set", [], Path.replace
    write_folder(path, "old")

    def interrupted(self, target):
        moves.append(self.name)
        if moves == ["new", "set", "new"]:
            raise KeyboardInterrupt
        return move(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(path, "new")
    assert moves[:3] == ["new", "set", "new"]  # refused, the old one moved away, interrupted
    assert [file.read_text() for file in path.iterdir()] == ["old"] * 3 and names(tmp_path) == ["set"]


def test_a_folder_is_never_put_in_the_place_of_a_file(tmp_path):
    (tmp_path / "set").write_text("a file")
    with pytest.raises(OSError):
        write_folder(tmp_path / "set", "new")
    assert (tmp_path / "set").read_text() == "a file" and names(tmp_path) == ["set"]


WRITER = """
import sys
from pathlib import Path
from course_utils.base.files import replace_file, whole_folder
kind, letter, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
sys.stdin.readline()
for _ in range(60):
    if kind == "file":
        replace_file(path, letter * 300_000)
    else:
        with whole_folder(path) as unfinished:
            for i in range(5):
                (unfinished / str(i)).write_text(letter)
"""


def writers(kind, path):
    return [
        subprocess.Popen([sys.executable, "-c", WRITER, kind, letter, path], stdin=subprocess.PIPE, text=True)
        for letter in "ab"
    ]


def test_of_two_processes_that_write_a_file_at_once_readers_see_one_or_the_other(tmp_path):
    path = tmp_path / "file.txt"
    replace_file(path, "a" * 300_000)
    rivals = writers("file", path)
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    seen = set()
    while any(rival.poll() is None for rival in rivals):
        text = path.read_text()
        assert len(text) == 300_000 and len(set(text)) == 1
        seen.add(text[0])
    assert [rival.wait() for rival in rivals] == [0, 0] and seen <= {"a", "b"}
    assert names(tmp_path) == ["file.txt"]


def test_of_two_processes_that_write_a_folder_at_once_the_last_one_stands_whole(tmp_path):
    rivals = writers("folder", tmp_path / "set")
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    assert [rival.wait(600) for rival in rivals] == [0, 0]
    texts = {file.read_text() for file in (tmp_path / "set").iterdir()}
    assert names(tmp_path / "set") == list("01234") and len(texts) == 1 and names(tmp_path) == ["set"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_in_the_middle_of_a_write_leaves_nothing_beside_the_old_file(tmp_path):
    replace_file(tmp_path / "file.txt", "old")
    script = """
import sys, time
from pathlib import Path
from course_utils.base.files import whole
with whole(Path(sys.argv[1])) as unfinished, unfinished.open("w") as file:
    file.write("half")
    file.flush()
    print("half", flush=True)
    time.sleep(600)
"""
    running = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "file.txt"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run that was itself started in the background hands down "ignore interrupts".
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout.readline() == "half\n" and len(names(tmp_path)) == 2
    time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=600)
    assert "KeyboardInterrupt" in said
    assert (tmp_path / "file.txt").read_text() == "old" and names(tmp_path) == ["file.txt"]
