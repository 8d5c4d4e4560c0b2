"""Figures: plain arrays in, a Matplotlib Figure out, and `save`.

Every method has its own colour (from Okabe and Ito's palette, safe for colour-blind readers), line
style and marker, so that figures are also readable in black and white. Legends stand above the
panels, and a caption below them: the argument `caption` says what is shown, over how many seeds.
What a panel cannot show (out of view, not finite) is noted in its title.
"""

from geonet.plots import backend  # first, as it imports Matplotlib
from geonet.plots.base import METHOD_STYLES, Plot, save, styles
from geonet.plots.boundaries import boundary_evolution, decision_regions, step_changes, trajectories
from geonet.plots.curves import (
    errors_by_step,
    exceedance,
    function_fits,
    learning_curves,
    shares_reached,
)
from geonet.plots.graphs import computation
