"""Damaged files of each format: an error, or arrays that lie within the file."""

import pytest
from file_cases import FORMATS, fuzz

FILES = 10_000


@pytest.mark.parametrize("fmt", FORMATS)
def test_damaged_files(fmt, tmp_path, memory):
    good = fuzz(fmt, 0, FILES, tmp_path / "damaged")
    assert 0 < good < FILES  # some changes are of the data; most are of what is said about it
