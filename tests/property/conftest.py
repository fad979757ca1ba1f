"""Property tests take the time they take: a slow machine is no failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("headwater", deadline=None)
settings.load_profile("headwater")
