"""What the experiments on images share: accuracies, learning curves, and their figure."""

import numpy as np

from geonet import ops, plots
from geonet.experiments.harness.experiment import Experiment
from geonet.experiments.harness.tables import list_values
from geonet.text import BadInput
from geonet.train import predict

MOMENTUM = 0.9
PANELS = {
    "training top-1": "train_top1",
    "validation top-1": "test_top1",
    "validation top-5": "test_top5",
}
COLUMNS = "train_loss", "train_top1", "test_loss", "test_top1", "test_top5"


def top_hits(logits, labels, count):
    """How many labels are among the `count` largest logits of their row; the first of equals is."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = (logits == own) & (np.arange(logits.shape[1]) < labels[:, None])
    above = ~(logits <= own) | before  # NaN is never a hit
    return int(np.count_nonzero(above.sum(axis=1) < min(count, logits.shape[1])))


def evaluate(model, batches, total=np.asarray):
    """Mean cross-entropy, top-1 and top-5 accuracy (fractions) on validation images.

    Parameters
    ----------
    model : Module
    batches : iterable
        Pairs x (B, H, W, 3), labels (B,).
    total : function, optional
        Sums an array over the processes that share the images, each with its own batches.

    Returns
    -------
    numpy.ndarray, shape (3,)

    Raises
    ------
    BadInput
        If the batches contain no image, because all are damaged.
    """
    sums = np.zeros(4)
    with np.errstate(over="ignore", invalid="ignore"):  # the network may have diverged
        for x, labels in batches:
            logits = predict(model, x)
            loss = ops.cross_entropy(logits, labels).item() * len(labels)
            sums += loss, top_hits(logits, labels, 1), top_hits(logits, labels, 5), len(labels)
    sums = total(sums)
    if not sums[3]:
        raise BadInput("no validation picture is left, because all are damaged")
    return sums[:3] / sums[3]


class Curves:
    """The learning curves of a run: what is recorded of each epoch.

    Parameters
    ----------
    validation_batches : function
        Returns the batches for `evaluate`.
    smoothing : float
        Label smoothing of the training loss.
    total : function, optional
        As for `evaluate`.

    Attributes
    ----------
    epochs : list of array, shape (5,)
        Train loss, train top-1, test loss, test top-1, test top-5.
    """

    def __init__(self, validation_batches, smoothing=0.0, total=np.asarray):
        self.validation_batches, self.smoothing, self.total = validation_batches, smoothing, total
        self.epochs = []
        self._batches = []  # loss and top-1 accuracy of each batch of this epoch

    def loss(self, logits, labels):
        """Cross-entropy of a training batch. It and the accuracy are recorded."""
        value = ops.cross_entropy(logits, labels, self.smoothing)
        self._batches.append((value.item(), top_hits(logits.data, labels, 1) / len(labels)))
        return value

    def end_epoch(self, model):
        """Evaluate the model on the validation images and record the epoch.

        Returns
        -------
        float
            The training loss. It is NaN if the validation loss is not finite, which tells `fit`
            that training diverged.
        """
        *sums, count = self.total(np.array([*np.sum(self._batches, axis=0), len(self._batches)]))
        self._batches.clear()
        tested = evaluate(model, self.validation_batches(), self.total)
        self.epochs.append(np.array([*np.divide(sums, count), *tested]))
        train_loss, _, test_loss, _, _ = self.epochs[-1].tolist()
        return train_loss if np.isfinite(test_loss) else np.nan

    def arrays(self):
        """The recorded columns by name, each of shape (epochs,)."""
        return dict(zip(COLUMNS, np.reshape(self.epochs, (-1, len(COLUMNS))).T, strict=True))

    def average_over_processes(self, processes):
        """Replace what each process recorded in this epoch by the mean over all of them."""
        self._batches = list(self.total(np.reshape(self._batches, (-1, 2))) / processes)

    def state_dict(self):
        """The state for `load_state_dict`, from which a run can be resumed later."""
        return {
            "epochs": np.reshape(self.epochs, (-1, len(COLUMNS))),
            "batches": np.reshape(self._batches, (-1, 2)),
        }

    def load_state_dict(self, state):
        """Continue from the state of other curves."""
        self.epochs = list(state["epochs"])
        self._batches = list(state["batches"])


class Classification(Experiment):
    """An experiment on images. Its runs store `Curves.arrays`."""

    metric = "top1"
    metric_title = "test top-1"
    further_metrics = (("test_top5", "test top-5"),)
    larger_is_better = True
    seeds, quick_seeds = "3", "1"
    default_threads = None
    workers = 1  # its threads already use all cores

    def has_validation(self, arguments):
        return False

    def figures(self, results):
        for case in self.cases(results.config):
            finished = {m: _finished(results, m, **case) for m in results.config["methods"]}
            if any(finished.values()):
                yield self._curves(results, finished, case)

    def _curves(self, results, finished, case):
        """Training and validation accuracy of all methods by epoch (the paper's figure 4)."""
        panels = {
            title: {
                m: np.array([run[name] for run in runs]) for m, runs in finished.items() if runs
            }
            for title, name in PANELS.items()
        }
        rates = ", ".join(f"{m} {results.lr(m, **case):g}" for m in finished)
        lost = {m: len(results.config["seeds"]) - len(runs) for m, runs in finished.items()}
        batches = case.get("batch_size")
        of_batches = "" if batches is None else f", batches of {batches}"
        caption = (
            f"{self.describe(results.config)}{of_batches}; rates: {rates}. Lines: median over "
            "seeds; bands: from the lowest to the highest."
        )
        if any(lost.values()):
            caption += " Diverged: " + ", ".join(f"{n} of {m}" for m, n in lost.items() if n) + "."
        figure = plots.learning_curves(panels, "fraction of images", caption)
        last = {m: results.metrics(m, "test_top1", **case) for m in finished}
        means = {m: np.nanmean(values) for m, values in last.items() if finished[m]}
        description = (
            "Top-1 and top-5 accuracy of each method over the epochs of training. Mean validation "
            "top-1 of the final weights: " + list_values(means, ".3f")
        )
        name = "curves" if batches is None else f"curves_{batches}"
        title = f"Training and validation accuracy{of_batches}"
        return plots.Plot(figure, name, title, description)


def _finished(results, method, **case):
    """The curves of each run of a method that did not diverge, (epochs,) with NaN at the end."""
    epochs, finished = results.config["epochs"], []
    for run in results.find(method=method, **case):
        if not run["metrics"].get("diverged", True):  # a run that failed has no such entry
            curves = results.arrays(method, run["seed"], **case)
            finished.append({n: np.r_[c, [np.nan] * (epochs - len(c))] for n, c in curves.items()})
    return finished
