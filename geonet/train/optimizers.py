"""Gradient descent: SGD, Adam and AdamW, as PyTorch defines them."""

from numbers import Real

import numpy as np

from geonet.hypersphere import metric
from geonet.kernels.optimizers import adam, sgd
from geonet.kernels.switch import NATIVE
from geonet.nn.module import Module, matching
from geonet.nn.parameterizations import Angles, Parameterization
from geonet.tensor import Tensor
from geonet.text import check_range, check_type
from geonet.train.parallel import average


def decay_of(model, weight_decay):
    """The weight decay of each parameter, for `SGD`: only lengths of weights decay.

    The lengths ‖w‖ of a layer's rows are in the weight itself, in ℓ under weight normalization, and
    in |r| under GmP and GmP-C. So decay at rate d descends the same penalty ½ d Σ ‖w‖² under every
    parameterization. Decay of an angle θ (or of v, whose length does not matter) would not be decay
    of a weight: it would pull directions towards that of θ = 0. Biases, offsets λ, and the γ and β
    of normalization do not decay either.

    Parameters
    ----------
    model : Module
    weight_decay : float

    Returns
    -------
    list of float
        In the order of `model.parameters()`: weight_decay or 0.
    """
    rows = [m for _, m in model.named_modules() if isinstance(m, Parameterization)]
    sized = {id(parameterization.sized) for parameterization in rows}
    return [weight_decay if id(p) in sized else 0.0 for p in model.parameters()]


def damping_of(model, damping):
    """The metric damping of each parameter, for `SGD`: only angles θ have one.

    Parameters
    ----------
    model : Module
    damping : float
        δ > 0, or 0 if no row is at a pole.

    Returns
    -------
    list of float or None
        In the order of `model.parameters()`: damping or None.

    Raises
    ------
    TypeError
        If `model` is not a Module, or `damping` not a number.
    ValueError
        If `damping` is below 0.
    """
    check_type("model", model, Module, "a Module")
    check_type("damping", damping, Real, "a number")
    check_range("damping", damping, 0)
    return [damping if isinstance(p, Angles) else None for p in model.parameters()]


class Optimizer:
    """What optimizers share: the parameters, the learning rate, and clearing gradients.

    A parameter whose gradient is None does not change. Its `data` may be replaced by another array
    of the same shape and dtype. A step with data or a gradient that do not fit is a ValueError, and
    then no parameter changes.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm or None
        Of the processes that share each batch, see `geonet.train.parallel`. None in a single one.
    """

    comm = None

    def __init__(self, parameters, lr):
        self.parameters = list(parameters)
        if not self.parameters or not all(isinstance(p, Tensor) for p in self.parameters):
            raise ValueError("parameters must be a list of at least one Tensor")
        if len({*map(id, self.parameters)}) < len(self.parameters):
            raise ValueError("parameters must be given once each, but one is given twice")
        self._known = [(i, p.data, p.shape, p.dtype) for i, p in enumerate(self.parameters)]
        for i, p in enumerate(self.parameters):
            if not p.requires_grad or p._record is not None or p.dtype not in NATIVE:
                raise ValueError(
                    f"parameters[{i}] must be float32 or float64 and made with requires_grad=True, "
                    f"not by an operation, but is {p!r:.60}"
                )
            self._check(i, p.data, p.data)
        check_range("lr", lr, 0)
        self.lr = lr
        self._memory = {}  # what steps keep for later steps: lists of arrays by name

    def zero_grad(self):
        """Set all gradients to None."""
        for parameter in self.parameters:
            parameter.grad = None

    def _zeros(self):
        """A flat array of zeros for each parameter."""
        return [np.zeros(p.size, p.dtype) for p in self.parameters]

    def due(self):
        """Number, data and gradient of each parameter with a gradient, after checking them all."""
        due, plain = [], np.ndarray
        for parameter, (i, known, shape, dtype) in zip(self.parameters, self._known, strict=True):
            data, gradient = parameter.data, parameter.grad
            if gradient is None:
                continue
            fits = data is known and type(gradient) is plain and gradient.dtype is dtype
            if not fits or gradient.shape != shape:
                self._check(i, data, gradient)
            due.append((i, data, gradient))
        return due

    def _check(self, i, data, gradient):
        """Refuse data or a gradient that a step cannot use."""
        _, _, shape, dtype = self._known[i]
        for name, array in (("data", data), ("grad", gradient)):
            if type(array) is not np.ndarray or (array.shape, array.dtype) != (shape, dtype):
                words = f"{getattr(array, 'dtype', '')} {type(array).__name__} {np.shape(array)}"
                raise ValueError(f"parameters[{i}].{name} must be a {dtype} array of shape {shape} "
                                 f"as when the optimizer was made, but is a {words}")  # fmt: skip
        if not data.flags.carray:
            raise ValueError(f"parameters[{i}].data must be contiguous and writeable: use a copy")
        self._known[i] = i, data, shape, dtype  # the data as they were last checked

    def all_reduce(self, loss, rows):
        """The mean loss over all processes; their gradients become the mean ones.

        `fit` calls it after every backward pass, with the mean loss of a batch of this many rows.
        In a single process nothing changes.
        """
        if self.comm is None:
            return loss
        self.due()  # refuses gradients of another size
        return average(self.comm, self.parameters, loss, rows)

    def state_dict(self):
        """The learning rate, and copies of what steps keep: lists of arrays by name."""
        memory = {name: [a.copy() for a in arrays] for name, arrays in self._memory.items()}
        return {"lr": self.lr} | memory

    def load_state_dict(self, state):
        """Continue from the state of an optimizer of the same kind for the same model.

        Raises
        ------
        ValueError
            If names, numbers, shapes or kinds of the arrays differ, or the learning rate is out of
            range. Then nothing is changed.
        """
        state = matching(state, self.state_dict())
        check_range("state['lr']", state["lr"], 0)
        self.lr, self._memory = state.pop("lr"), state


class SGD(Optimizer):
    """Stochastic gradient descent.

    With g = G + weight_decay · p and the velocity u ← momentum · u + g, from 0:
    p ← p − lr · u.

    G is ∂L/∂p. For angles θ with a metric damping δ, however, it is (∂L/∂θ_k) / (s_k² + δ), the
    natural gradient on the sphere, whose metric is the diagonal s_k² (Amari 1998). A decay is added
    after that division. For δ = 0 the direction u(θ) moves by −lr (∂L/∂u − (∂L/∂u · u) u) to first
    order: this is the steepest descent on the sphere, independent of the coordinates' poles. δ
    bounds the step where s_k is small. (Adam has no such option, because it divides by the size of
    each entry anyway.)

    Parameters
    ----------
    parameters : list of Tensor
    lr : float
        Learning rate.
    momentum : float
        In [0, 1).
    weight_decay : float or list of float
        Times the parameter, it is added to the gradient. One number for all parameters, or one for
        each, as from `decay_of`.
    metric_damping : list of float or None, optional
        δ of each parameter, as from `damping_of`: None for all that are not angles θ.

    Raises
    ------
    ValueError
        If a number is out of range, there are not as many decays or dampings as parameters, or
        there is a damping for a parameter that does not hold angles.
    """

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, metric_damping=None):
        super().__init__(parameters, lr)
        check_range("momentum", momentum, 0, 1)
        count = len(self.parameters)
        if np.ndim(weight_decay) == 0:
            weight_decay = [weight_decay] * count
        if metric_damping is None:
            metric_damping = [None] * count
        for name, numbers in (("weight_decay", weight_decay), ("metric_damping", metric_damping)):
            if np.shape(numbers) != (count,):
                raise ValueError(
                    f"{name} must be a list with one entry for each of the {count} parameters, but "
                    f"has {np.size(numbers)}"
                )
        for i, (decay, damping) in enumerate(zip(weight_decay, metric_damping)):
            check_range("weight_decay", decay, 0)
            if damping is not None and not isinstance(self.parameters[i], Angles):
                raise ValueError(
                    f"metric_damping must be None for parameter {i}, which does not hold angles, "
                    f"but is {damping}: use geonet.train.damping_of"
                )
            check_range("metric_damping", damping or 0, 0)
        self.momentum = momentum
        self.weight_decay, self.metric_damping = list(weight_decay), list(metric_damping)
        self._memory = {"velocities": self._zeros() if momentum else []}

    def step(self):
        """Move every parameter, in place."""
        for i, data, gradient in self.due():
            decay, damping = self.weight_decay[i], self.metric_damping[i]
            if damping is not None:
                gradient = gradient / (metric(data) + damping)
            if self.momentum:
                rule = self._memory["velocities"][i], self.lr, self.momentum, decay
                sgd(data.ravel(), gradient.ravel(), *rule)
            else:
                data -= self.lr * (gradient + decay * data)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1), with weight decay added to the gradient.

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², p ← p − lr m̂ / (√v̂ + eps), where m̂ and v̂ are
    m / (1 − β₁ᵗ) and v / (1 − β₂ᵗ) at step t.

    Parameters
    ----------
    parameters : list of Tensor
    lr : float
    betas : tuple of float
        (β₁, β₂), each in [0, 1).
    eps : float
    weight_decay : float

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    decoupled = False

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr)
        check_range("betas[0]", betas[0], 0, 1)
        check_range("betas[1]", betas[1], 0, 1)
        check_range("eps", eps, 0)
        check_range("weight_decay", weight_decay, 0)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        # one step count per parameter: a step without a gradient does not count
        steps = np.zeros(len(self.parameters), np.int64)
        self._memory = {"first": self._zeros(), "second": self._zeros(), "steps": [steps]}

    def step(self):
        """Move every parameter, in place."""
        first, second, (ages,) = self._memory.values()
        (beta1, beta2), decay, steps = self.betas, self.weight_decay, 0
        update = getattr(adam, "compiled", adam)  # looked up once, not for every parameter
        for i, data, gradient in self.due():
            if decay and self.decoupled:
                data *= 1 - self.lr * decay
            elif decay:
                gradient = gradient + decay * data
            age = ages[i] = ages.item(i) + 1
            if age != steps:  # usually all parameters have the same age
                steps = age
                step_size, scale = self.lr / (1 - beta1**steps), 1 / (1 - beta2**steps) ** 0.5
                rule = step_size, beta1, beta2, scale, self.eps
            update(data.ravel(), gradient.ravel(), first[i], second[i], *rule)  # data as a view


class AdamW(Adam):
    """Adam with decoupled weight decay, p ← (1 − lr · weight_decay) p before the step.

    See Loshchilov & Hutter (2019), algorithm 2. Parameters as for `Adam`.
    """

    decoupled = True
