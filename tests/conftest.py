"""Fixtures that every floor of tests may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real sequences, beside the checkout; tests that need it skip when it is absent."""
    root = Path(__file__).parents[2] / "shared" / "data"
    if not root.is_dir():
        pytest.skip("real sequences are not at hand (folder shared/data beside the project)")
    return root
