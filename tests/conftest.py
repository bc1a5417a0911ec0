"""Settings that all tests share."""

from hypothesis import settings

# A shared machine may pause any example for longer than Hypothesis's 200 ms.
settings.register_profile("sentune", deadline=None)
settings.load_profile("sentune")
