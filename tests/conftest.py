"""One hypothesis profile for every run: the same examples each time, so that failures repeat."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "geonet",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("geonet")
