"""The state of a module in one .npz file, which is read whole or refused, without pickles."""

from pathlib import Path

from geonet.train.checkpoints import put_checkpoint, read_checkpoint


def save_state(path, module):
    """Write parameters and buffers of a module, in the format of `geonet.train.checkpoints`.

    The file is written under a temporary name in the same folder and then renamed, so that `path`
    is never incomplete. `numpy.load` reads it too. The file also has the eps of normalizations,
    which belongs to the function but not to the `state_dict`.

    Parameters
    ----------
    path : path
        For example "model.npz". Its folder is created, and a file of that name is replaced.
    module : geonet.nn.Module

    Raises
    ------
    CheckpointNotWritten
        If the file cannot be written; an earlier file then stays.
    """
    path = Path(path)
    eps = {name: float(part.eps) for name, part in _with_eps(module)}
    put_checkpoint(path, path.with_name(f"{path.name}.part"), {"eps": eps}, module.state_dict())


def load_state(path, module):
    """Read a file of `save_state` into a module of the same structure, in place.

    Parameters
    ----------
    path : path
    module : geonet.nn.Module
        Its dtype stays.

    Raises
    ------
    ValueError
        If the file is damaged, not from `save_state`, or from a module with other names or shapes.
        Then nothing is changed.
    """
    try:
        about, state = read_checkpoint(Path(path))
        eps = {name: float(value) for name, value in about["eps"].items()}
    except Exception as error:  # a file from elsewhere may cause any error
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be used as a saved state: {reason}") from error
    parts = dict(_with_eps(module))
    if difference := sorted(parts.keys() ^ eps.keys()):
        raise ValueError(
            f"{path} must have exactly this module's normalizations, but differs in {difference}"
        )
    module.load_state_dict(state)
    for name, part in parts.items():
        part.eps = eps[name]


def _with_eps(module):
    return ((name, part) for name, part in module.named_modules() if hasattr(part, "eps"))
