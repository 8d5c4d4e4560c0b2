"""The arithmetic of operations on plain arrays; their gradient rules stand in `geonet.ops`.

`reference` says what is computed, in plain NumPy; the other files compute the same faster.
"""
