"""Module: a tree of parameters, buffers and other modules."""

import copy
from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np

from geonet.tensor import Tensor


def dotted(path, name):
    """The name of something in a module with a dotted path; the outermost one has none."""
    return f"{path}.{name}" if path else name


def matching(given, own, name="state"):
    """A copy of a given state in the form of one's own: the same names, shapes and dtypes.

    Every `load_state_dict` takes its state from here, and so changes nothing unless all of it fits.

    Parameters
    ----------
    given : dict, list, array_like or number
    own : dict, list, numpy.ndarray or number
        What `given` must be like. The type `list` stands for a list of any numbers, and None for
        anything.
    name : str
        Of the state, for errors.

    Raises
    ------
    ValueError
        At the first name, shape or kind of number that differs. A single number cannot be NaN.
    """
    if own is None:
        return given
    if isinstance(own, dict):
        names = given.keys() if isinstance(given, Mapping) else ()
        if difference := sorted(own.keys() ^ names, key=str):
            raise ValueError(
                f"{name} must have exactly this object's names, but differs in {difference}"
            )
        return {key: matching(given[key], own[key], f"{name}[{key!r}]") for key in own}
    if isinstance(own, list):
        return list(matching(dict(enumerate(given)), dict(enumerate(own)), name).values())
    array, single = np.asarray(given), not isinstance(own, np.ndarray)
    shape = (array.size,) if own is list else np.shape(own)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, but needs {shape}")
    if not single and not own.flags.writeable:
        raise ValueError(f"{name} cannot be loaded, because this object's array is read-only")
    dtype = np.dtype(float) if single else own.dtype
    if not np.can_cast(array.dtype, dtype, "same_kind") or (single and np.any(array != array)):
        raise ValueError(f"{name} must be numbers that fit {dtype}, but is {given!r:.40}")
    return array.tolist() if single else array.astype(dtype)


@contextmanager
def undisturbed(model):
    """Restore modes and statistics of a model at the end, whatever was computed with it inside."""
    kept = {}  # by module, because a model may have one in several places
    for _, module in model.named_modules():
        names = "training", *module.buffers, *module.transient
        kept[module] = {name: getattr(module, name) for name in names}
    for module, before in kept.items():  # what changes an array in place will change a copy
        vars(module).update(copy.deepcopy(before))
    try:
        yield
    finally:
        for module, before in kept.items():
            vars(module).update(before)


class Parameter(Tensor):
    """A Tensor that training changes. It has a copy of the given data and requires a gradient."""

    __slots__ = ()

    def __init__(self, data, name=None):
        super().__init__(np.array(data, order="C"), requires_grad=True, name=name)


class Module:
    """Base class of layers and models.

    Attributes that are Parameters, Modules or lists of Modules are found automatically. `buffers`
    names other attributes: arrays that belong to the state but are not trained. `transient` names
    what a training pass leaves behind that does not even belong to the state.
    """

    training = True
    buffers = transient = ()

    def children(self):
        """Yield (name, module) for the modules directly below."""
        for name, value in vars(self).items():
            entries = enumerate(value) if isinstance(value, list) else ()
            places = {name: value} | {f"{name}.{i}": entry for i, entry in entries}
            yield from ((place, v) for place, v in places.items() if isinstance(v, Module))

    def named_modules(self, prefix=""):
        """Yield (dotted name, module) for this module and all below, in order of construction."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(dotted(prefix, name))

    def named_parameters(self):
        """Yield (dotted name, Parameter) for all parameters."""
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield dotted(path, name), value

    def parameters(self):
        """List of all parameters, each once, even if modules share one."""
        return list({id(parameter): parameter for _, parameter in self.named_parameters()}.values())

    def _state(self):
        """The arrays of all parameters and buffers by dotted name."""
        state = {name: parameter.data for name, parameter in self.named_parameters()}
        for path, module in self.named_modules():
            state |= {dotted(path, name): getattr(module, name) for name in module.buffers}
        return state

    def state_dict(self):
        """Copies of all parameters and buffers by dotted name."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state):
        """Copy values into the parameters and buffers, in place.

        Raises
        ------
        ValueError
            If a name is missing or unknown, a shape differs, or something is not a number. Then
            nothing is changed.
        """
        targets = self._state()
        for name, value in matching(state, targets).items():
            targets[name][...] = value

    def train(self, training=True):
        """Use batch statistics (and update the running ones) from now on."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self):
        """Use running statistics from now on."""
        return self.train(False)


class Sequential(Module):
    """Modules, or functions of a Tensor, one after the other."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        return x

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, index):
        return self.steps[index]
