"""Module: a tree of parameters, buffers and other modules."""

import numpy as np

from geonet.tensor import Tensor


def dotted(path, name):
    """The name of something in a module with a dotted path; the outermost one has none."""
    return f"{path}.{name}" if path else name


class Parameter(Tensor):
    """A Tensor that training changes. It has a copy of the given data and requires a gradient."""

    __slots__ = ()

    def __init__(self, data, name=None):
        super().__init__(np.array(data, order="C"), requires_grad=True, name=name)


class Module:
    """Base class of layers and models.

    Attributes that are Parameters, Modules or lists of Modules are found automatically. `buffers`
    names other attributes: arrays that belong to the state but are not trained.
    """

    training = True
    buffers = ()

    def children(self):
        """Yield (name, module) for the modules directly below."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from (
                    (f"{name}.{i}", v) for i, v in enumerate(value) if isinstance(v, Module)
                )

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
            If a name is missing or unknown, or a shape differs. Then nothing is changed.
        """
        targets = self._state()
        if difference := sorted(targets.keys() ^ state.keys()):
            raise ValueError(
                f"state must have exactly this module's names, but differs in {difference}"
            )
        for name, target in targets.items():
            if np.shape(state[name]) != target.shape:
                raise ValueError(
                    f"state[{name!r}] has shape {np.shape(state[name])}, but needs {target.shape}"
                )
        for name, target in targets.items():
            target[...] = state[name]

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
