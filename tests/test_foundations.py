"""Units, checks and storage: the ground every room stands on."""

import datetime
import json
import os
import stat

import numpy as np
import pandas as pd
import pytest

from rtmkc.checks import check_choice, check_columns, check_count, check_positive, check_share, check_unique
from rtmkc.errors import InputError, OutputError, RtmkcError
from rtmkc.storage import created_at, file_sha256, new_folder, write_atomically, write_json, write_text
from rtmkc.units import format_length, parse_days, parse_length, parse_period


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("250 ft", 76.2),
        ("0.5mi", 804.672),
        ("1.2 km", 1200),
        ("3 blocks", 300),
        (75, 75.0),
        ("75", None),
        ("1 yd", 0.9144),
    ],
)
def test_lengths_follow_the_international_foot(text, metres):
    """Lengths are metres by the international foot of 0.3048 m; a text without a unit is refused."""
    if metres is None:
        with pytest.raises(InputError, match="'75'. Write a number and a unit"):
            parse_length(text)
    else:
        assert parse_length(text, block_length=100) == pytest.approx(metres, rel=1e-15)


@pytest.mark.parametrize("value", [0, -3, "-450 ft", "0 m", float("nan"), "ft", "3 parsecs", True, None])
def test_a_length_must_be_a_positive_number_with_a_known_unit(value):
    """Zero, negative, missing and unknown lengths are refused by name."""
    with pytest.raises(InputError, match="Invalid block_length"):
        parse_length(value, name="block_length")


def test_blocks_need_a_block_length():
    """ "3 blocks" on a grid without blocks is an error that says what to do."""
    with pytest.raises(InputError, match="'3 blocks'. A length in blocks needs a block length"):
        parse_length("3 blocks")


def test_lengths_are_shown_in_metres_and_feet():
    """A length for people has both units."""
    assert format_length(76.2) == "76 m (250 ft)"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2021/2023", "2021-01-01", "2023-12-31"),
        ("2023", "2023-01-01", "2023-12-31"),
        ("2024-02/2024-02", "2024-02-01", "2024-02-29"),
        ("2021-03-04/2021-12-31", "2021-03-04", "2021-12-31"),
    ],
)
def test_periods_include_both_ends(text, start, end):
    """A period runs from the first day of its first part to the last day of its last."""
    period = parse_period(text)
    assert (period.start, period.end) == (
        datetime.date.fromisoformat(start),
        datetime.date.fromisoformat(end),
    )
    late = pd.Timestamp(end) + pd.Timedelta(hours=23, minutes=59)
    dates = pd.Series([pd.Timestamp(start), late, pd.Timestamp(end) + pd.Timedelta(days=1), pd.NaT])
    assert period.contains(dates).tolist() == [True, True, False, False]
    assert period.days == (period.end - period.start).days + 1


@pytest.mark.parametrize("text", ["last year", "2023/2021", "2021-13", "2021-02-30", "", "21/22"])
def test_a_period_that_is_none_is_refused(text):
    """Words, reversed periods and days that do not exist are refused."""
    with pytest.raises(InputError, match="Invalid period"):
        parse_period(text)


def test_durations_are_whole_days():
    """Ninety days and twelve weeks are durations; half a day and a month are not."""
    assert (parse_days(90), parse_days("90 days"), parse_days("12 weeks")) == (90, 90, 84)
    for bad in ("a month", "0 days", 1.5, "0.5 days"):
        with pytest.raises(InputError, match="Invalid horizon"):
            parse_days(bad, name="horizon")


def test_checks_name_value_rule_and_fix():
    """Every check says what it got and what it wants."""
    with pytest.raises(InputError, match="Invalid k 0. It must be a whole number of at least 1"):
        check_count("k", 0)
    with pytest.raises(InputError, match="Invalid share 1.5. It must be a share"):
        check_share("share", 1.5)
    with pytest.raises(InputError, match="Invalid kind 'near'. It must be one of: 'a', 'b'"):
        check_choice("kind", "near", ("a", "b"))
    with pytest.raises(
        InputError, match="Invalid column 'offense'. The file has no such column; it has: a, b"
    ):
        check_columns(["a", "offense"], ["a", "b"], "The file")
    with pytest.raises(InputError, match="Invalid factor name 'bars'. Each name"):
        check_unique("factor name", ["bars", "bars", "lights"])
    with pytest.raises(InputError, match="Invalid size inf. It must be a finite number"):
        check_positive("size", float("inf"))
    assert check_positive("size", np.float32(2)) == 2.0
    assert check_count("k", 3.0) == 3


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """When writing fails half-way, neither the target nor a temporary file remains."""
    target = tmp_path / "a.txt"

    def stop():
        with write_atomically(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        stop()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_kept_unless_told(tmp_path):
    """No overwriting without asking; the old file survives a failed overwrite."""
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(OutputError, match=r"a.txt'. It exists already; .*--overwrite"):
        write_text(target, "new")
    with pytest.raises(RuntimeError, match="no"), write_atomically(target, overwrite=True):
        raise RuntimeError("no")
    assert target.read_text() == "old"
    write_text(target, "new", overwrite=True)
    assert target.read_text() == "new"


def test_a_full_disk_is_an_error_of_one_line_and_leaves_nothing(tmp_path):
    """When the device is full the message says so and the folder is as before."""

    def fill():
        with new_folder(tmp_path / "results") as folder:
            (folder / "report.html").write_text("begun")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device. Nothing was left behind"):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_folder_without_permission_is_an_error_of_one_line(tmp_path):
    """A folder that may not be written is named, with the reason."""
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OutputError, match="Permission denied"), new_folder(tmp_path / "results"):
            pass
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_folder_below_a_file_is_an_error_of_one_line(tmp_path):
    """A results folder cannot lie below a file, and the message says so."""
    (tmp_path / "file").write_text("x")
    message = "It cannot be written: (Not a directory|File exists)"
    with pytest.raises(OutputError, match=message), new_folder(tmp_path / "file" / "results"):
        pass


def test_a_folder_is_replaced_only_when_the_new_one_is_whole(tmp_path):
    """The old results stay until the new are complete, and are gone afterwards."""
    target = tmp_path / "results"
    with new_folder(target) as folder:
        (folder / "old").write_text("1")
    with pytest.raises(RuntimeError, match="stop"), new_folder(target, overwrite=True) as folder:
        raise RuntimeError("stop")
    assert [path.name for path in target.iterdir()] == ["old"]
    with new_folder(target, overwrite=True) as folder:
        (folder / "new").write_text("2")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_failed_folder_leaves_no_parents_behind(tmp_path):
    """Parents made for a folder that failed are removed; those of one that succeeded stay."""

    def stop():
        with new_folder(tmp_path / "a" / "b" / "results"):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "a" / "b" / "results") as folder:
        (folder / "x").write_text("1")
    assert (tmp_path / "a" / "b" / "results" / "x").exists()


def test_json_refuses_what_it_cannot_hold(tmp_path):
    """NaN is not JSON; a valid document is sorted and readable."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    write_json(tmp_path / "b.json", {"b": 1, "a": "é"})
    assert json.loads((tmp_path / "b.json").read_text(encoding="utf-8")) == {"a": "é", "b": 1}


def test_time_stamps_follow_source_date_epoch(monkeypatch):
    """SOURCE_DATE_EPOCH fixes the time written into files."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert created_at() == "1970-01-01T00:00:00Z"


def test_file_hashes_are_sha256(tmp_path):
    """The hash of an empty file is the published one."""
    (tmp_path / "empty").write_bytes(b"")
    assert file_sha256(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")


def test_every_error_is_an_rtmkc_error():
    """One except clause catches everything that rtmkc raises on purpose."""
    from rtmkc import errors

    raised = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    for one in raised:
        assert issubclass(one, RtmkcError) or issubclass(one, Warning)
