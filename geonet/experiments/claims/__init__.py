"""The paper's claims as data, the measures that test them, the verdicts, and the report."""

from geonet.experiments.claims.command import EXPERIMENT

__all__ = ["EXPERIMENT"]
