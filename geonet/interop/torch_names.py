"""Weights under PyTorch's names and in its layout, as dictionaries of NumPy arrays.

=====================  =======================================  ==================================
                       here                                     in PyTorch
=====================  =======================================  ==================================
filters                (O, kh·kw·C), rows                       (O, C, kh, kw), "OIHW"
batch norm             gamma, beta, running_mean, running_var   weight, bias, and the same two
momentum               of the old running value, 0.99           of the batch's value, 0.1
running variance       of the biased one                        of the unbiased one
eps, where not given   1e-3                                     1e-5
a ResNet               steps.0, steps.2.units.0, …              conv1, bn1, layer1.0.conv1, …, fc
another Sequential     steps.0, steps.1, …                      0, 1, …, counted as below
=====================  =======================================  ==================================

In a torch.nn.Sequential the affine map, the batch norm and the activation of a unit count as one
step each, and so does MaxPool2d. `ops.global_average_pool` counts as two, AdaptiveAvgPool2d(1) and
Flatten().

PyTorch's state has no eps. So `import_torch` sets the eps of the model's batch norms, and
`export_torch` changes the variances so that var + eps is the same as here.
"""

import copy

import numpy as np

from geonet import ops
from geonet.interop.convert import convert
from geonet.nn.layers import ACTIVATIONS, Layer, MaxPool2d, ResidualBlock, Unit, identity
from geonet.nn.module import Sequential, matching
from geonet.nn.normalization import BatchNorm
from geonet.nn.parameterizations import Standard
from geonet.text import check_range, check_type

COUNTED = "num_batches_tracked"  # PyTorch has it; geonet does not need it


def export_torch(model, eps=1e-5):
    """State dictionary of a model for the same network in PyTorch, with the same evaluation.

    What PyTorch's layers do not have (weight normalization, GmP, mean-only norms, centring) is
    first converted to standard layers by `convert`; batch norms stay. torchvision's convolutions
    have no bias, so a unit of a ResNet without a batch norm gets one that adds the bias.

    Parameters
    ----------
    model : geonet.nn.Sequential
        Of units, layers, poolings, activations, and residual blocks.
    eps : float
        Of the batch norms in PyTorch. Running variances become var + (eps here) − eps.

    Returns
    -------
    dict
        Name -> numpy.ndarray, copied, in PyTorch's order and in the model's dtype. For
        ``load_state_dict`` make tensors of them: ``{k: torch.tensor(v) for k, v in ...}``.

    Raises
    ------
    ValueError
        If `convert` cannot be exact (then convert the model first, with approximate=True), if a
        variance would be negative, or if a layer norm or another step has no name in PyTorch.
    """
    check_range("eps", eps, 0)
    check_type("model", model, Sequential, "a geonet.nn.Sequential")
    if not all(_is_plain(module) for _, module in model.named_modules()):
        model = convert(model, "standard")
    model, state = _with_batch_norms(model), {}
    for name, norm in _batch_norms(model):
        norm.running_var[...] = norm.running_var + (np.float64(norm.eps) - eps)
        if np.any(norm.running_var < 0):
            raise ValueError(f"eps must be at most the variance + {norm.eps} of every unit, but is "
                             f"{eps}, too large for {name}")  # fmt: skip
    for theirs, (array, filters) in _table(model).items():
        state[theirs] = _as_theirs(array, filters).copy()
        if theirs.endswith("running_var"):
            state[theirs.replace("running_var", COUNTED)] = np.array(0)
    return state


def import_torch(model, state, eps=1e-5):
    """Load a PyTorch state dictionary into a model, in place; evaluation is then the same.

    Parameters
    ----------
    model : geonet.nn.Sequential
        The same network in geonet, with standard layers, and with batch norms where PyTorch has
        them: method SP or BN. Use `convert` afterwards for another parameterization.
    state : dict
        Name -> array or tensor, as in ``{k: v.numpy() for k, v in theirs.state_dict().items()}``.
    eps : float
        Of the batch norms in PyTorch, which the state does not contain. All batch norms of the
        model get it; their momentum stays.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    ValueError
        If a name is missing or unknown, a shape differs, something is not a number, or the model
        has other layers than those above. Then nothing is changed.
    """
    check_range("eps", eps, 0)
    check_type("model", model, Sequential, "a geonet.nn.Sequential")
    for name, module in model.named_modules():
        if not _is_plain(module):
            raise ValueError(
                f"model must have standard layers, with batch norms or none, but {name} is another "
                f"kind of {type(module).__name__}: import first, then convert"
            )
    table = _table(model)
    given = {name: state[name] for name in state if not name.endswith(COUNTED)}
    given = matching(given, {name: _as_theirs(*ours) for name, ours in table.items()})
    for theirs, (array, filters) in table.items():
        found = given[theirs]
        array[...] = found if filters is None else found.transpose(0, 2, 3, 1).reshape(array.shape)
    for _, norm in _batch_norms(model):
        norm.eps = eps
    return model


def _as_theirs(array, filters):
    """An array in PyTorch's layout: filters (O, kh·kw·C) as (O, C, kh, kw), others as they are."""
    return array if filters is None else array.reshape(-1, *filters).transpose(0, 3, 1, 2)


def _batch_norms(model):
    return [(name, m) for name, m in model.named_modules() if isinstance(m, BatchNorm)]


def _is_plain(module):
    """Whether PyTorch has this kind of module, apart from the modules inside it."""
    if getattr(module, "centring", None) is not None:
        return False
    if isinstance(module, Unit):
        return isinstance(module.normalization, BatchNorm | None)
    return isinstance(getattr(module, "parameterization", None), Standard | None)


def _with_batch_norms(model):
    """A copy of the model; in a ResNet, the bias of every unit is moved into a batch norm."""
    model = copy.deepcopy(model)
    for _, unit, _, norm in _resnet(model) if _is_resnet(model) else ():
        rows = unit.layer.parameterization
        if norm is None or (rows.bias is None and unit.normalization is not None):
            continue
        bias = 0 if rows.bias is None else rows.bias.data
        if unit.normalization is None:
            unit.normalization = BatchNorm(len(rows.weight.data), eps=0, dtype=rows.weight.dtype)
            unit.normalization.beta.data += bias
        elif isinstance(unit.normalization, BatchNorm):
            unit.normalization.running_mean -= bias
        rows.bias = None
    return model


def _table(model):
    """PyTorch's name -> (our array, filter shape or None), for all arrays of the model."""
    table = {}
    for name, unit, affine, norm in _resnet(model) if _is_resnet(model) else _sequential(model):
        rows, normalization = unit.layer.parameterization, unit.normalization
        if f"{affine}.weight" in table:
            raise ValueError("model must have one stem, residual blocks and one output layer, as "
                             "torchvision's ResNets have them, but has more")  # fmt: skip
        table[f"{affine}.weight"] = rows.weight.data, unit.layer.filter_shape
        if rows.bias is not None:
            table[f"{affine}.bias"] = rows.bias.data, None
        if isinstance(normalization, BatchNorm):
            table[f"{norm}.weight"] = normalization.gamma.data, None
            table[f"{norm}.bias"] = normalization.beta.data, None
            table[f"{norm}.running_mean"] = normalization.running_mean, None
            table[f"{norm}.running_var"] = normalization.running_var, None
        elif normalization is not None:
            raise ValueError(f"model: PyTorch has no name for the {type(normalization).__name__} "
                             f"of {name}")  # fmt: skip
    return table


def _is_resnet(model):
    return any(isinstance(step, ResidualBlock) for step in model.steps)


def _resnet(model):
    """As in torchvision's ResNets, where a block with a stride begins a stage.

    Yield the name of a unit or layer, itself, and the names of its affine map and norm in PyTorch.
    """
    stage = number = 0
    for i, step in enumerate(model.steps):
        name = f"steps.{i}"
        if isinstance(step, Unit):
            yield name, step, "conv1", "bn1"
        elif isinstance(step, Layer):
            yield name, step, "fc", None
        elif isinstance(step, ResidualBlock):
            strides = any(unit.layer.stride != (1, 1) for unit in step.units)
            stage, number = (stage + 1, 0) if strides or not stage else (stage, number + 1)
            prefix = f"layer{stage}.{number}"
            for k, unit in enumerate(step.units):
                yield f"{name}.units.{k}", unit, f"{prefix}.conv{k + 1}", f"{prefix}.bn{k + 1}"
            if step.shortcut is not None:
                theirs = f"{prefix}.downsample"
                yield f"{name}.shortcut", step.shortcut, f"{theirs}.0", f"{theirs}.1"


def _sequential(model, ours="", theirs=""):
    """As `_resnet`, in a torch.nn.Sequential of the same steps."""
    index = 0
    for i, step in enumerate(model.steps):
        name = f"{ours}steps.{i}"
        if isinstance(step, Layer | Unit):
            layer, normalized = step.layer, step.normalization is not None
            yield name, step, f"{theirs}{index}", f"{theirs}{index + 1}"
            index += 1 + normalized + (layer.activation is not identity)
        elif isinstance(step, Sequential):
            yield from _sequential(step, f"{name}.", f"{theirs}{index}.")
            index += 1
        elif step is ops.global_average_pool:
            index += 2
        elif isinstance(step, MaxPool2d) or step in ACTIVATIONS.values():
            index += 1
        else:
            raise ValueError(f"model: PyTorch has no name for {name}, {step!r}")
