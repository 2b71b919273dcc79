"""Settings of all tests."""

from hypothesis import settings

# A slow machine is no failure, and the same commit has the same examples everywhere.
settings.register_profile("nasflow", deadline=None, derandomize=True)
settings.load_profile("nasflow")
