"""The paper's claims as data, what they are measured by, the verdicts, and the report."""

from geonet.experiments.claims.command import EXPERIMENT

__all__ = ["EXPERIMENT"]
