"""The state of a module in a file of its own: an .npz that is whole or refused, without pickles."""

from pathlib import Path

from geonet.train.checkpoints import put_checkpoint, read_checkpoint


def save_state(path, module):
    """Write parameters and buffers of a module, in the format of `geonet.train.checkpoints`.

    The file is written under a temporary name beside it and then renamed, so that `path` is never
    half a file. `numpy.load` reads it too. The eps of normalizations, which belongs to the function
    though not to the `state_dict`, is written with it.

    Parameters
    ----------
    path : path
        Such as "model.npz". Its folder is made, and a file of that name replaced.
    module : geonet.nn.Module

    Raises
    ------
    CheckpointNotWritten
        If the disk does not take it; what was there before stays.
    """
    path = Path(path)
    eps = {name: float(part.eps) for name, part in _with_eps(module)}
    put_checkpoint(path, path.with_name(f"{path.name}.part"), {"eps": eps}, module.state_dict())


def load_state(path, module):
    """Read what `save_state` wrote into a module of the same structure, in place.

    Parameters
    ----------
    path : path
    module : geonet.nn.Module
        Its dtype stays.

    Raises
    ------
    ValueError
        If the file is damaged, none of `save_state`, or that of a module with other names or
        shapes; nothing is changed then.
    """
    try:
        about, state = read_checkpoint(Path(path))
        eps = {name: float(value) for name, value in about["eps"].items()}
    except Exception as error:  # anything at all may be wrong with a file from elsewhere
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is no use as a saved state: {reason}") from error
    parts = dict(_with_eps(module))
    if difference := sorted(parts.keys() ^ eps.keys()):
        raise ValueError(
            f"{path} must have exactly this module's normalizations; differs in {difference}"
        )
    module.load_state_dict(state)
    for name, part in parts.items():
        part.eps = eps[name]


def _with_eps(module):
    return ((name, part) for name, part in module.named_modules() if hasattr(part, "eps"))
