"""The public names of core."""

import pytest

import core


def test_every_public_name_is_there() -> None:
    assert all(getattr(core, name).__name__ == name for name in core.__all__)
    assert sorted(core.__all__) == sorted(dir(core))


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'core' has no attribute 'nothing'"):
        core.nothing  # noqa: B018 - the access is the test
