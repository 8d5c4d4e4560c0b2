"""What the experiments on images share: accuracies, learning curves, and their figure."""

import numpy as np

from geonet import ops, plots
from geonet.experiments.harness.experiment import Experiment
from geonet.experiments.harness.tables import list_values
from geonet.text import BadInput
from geonet.train import predict
from geonet.train.parallel import sum_over_ranks

MOMENTUM, PATIENCE = 0.9, 5
PANELS = {
    "training top-1": "train_top1",
    "validation top-1": "test_top1",
    "validation top-5": "test_top5",
}
COLUMNS = "train_loss", "train_top1", "test_loss", "test_top1", "test_top5"


def top_hits(logits, labels, count):
    """Whether each label is among the `count` largest logits of its row; the first of equals is.

    Parameters
    ----------
    logits : numpy.ndarray, shape (N, classes)
    labels : numpy.ndarray, shape (N,)
    count : int

    Returns
    -------
    numpy.ndarray, shape (N,), bool
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = (logits == own) & (np.arange(logits.shape[1]) < labels[:, None])
    above = ~(logits <= own) | before  # NaN is never a hit
    return above.sum(axis=1) < min(count, logits.shape[1])


def evaluate(model, batches, comm=None):
    """Mean cross-entropy, top-1 and top-5 accuracy (fractions) on validation images.

    Parameters
    ----------
    model : Module
    batches : iterable
        Pairs x (B, H, W, 3), labels (B,).
    comm : communicator, optional
        Of the processes that share the images, each with its own batches.

    Returns
    -------
    means : numpy.ndarray, shape (3,)
    hits : numpy.ndarray, bool
        Whether top-1 is right, one entry per image, in their order: first those of the first
        process, then those of the second, and so on.

    Raises
    ------
    BadInput
        If the batches contain no image, because all are damaged.
    """
    sums, hits = np.zeros(4), [np.empty(0, bool)]
    with np.errstate(over="ignore", invalid="ignore"):  # the network may have diverged
        for x, labels in batches:
            logits = predict(model, x)
            loss = ops.cross_entropy(logits, labels).item() * len(labels)
            hits.append(top_hits(logits, labels, 1))
            sums += loss, hits[-1].sum(), top_hits(logits, labels, 5).sum(), len(labels)
    sums = sum_over_ranks(comm, sums)
    if not sums[3]:
        raise BadInput("no validation picture is left, because all are damaged")
    if comm is not None:
        hits = [part for parts in comm.allgather(hits) for part in parts]
    return sums[:3] / sums[3], np.concatenate(hits)


class Curves:
    """The learning curves of a run: what is recorded of each epoch.

    Parameters
    ----------
    validation_batches : function
        Returns the batches for `evaluate`.
    smoothing : float
        Label smoothing of the training loss.
    comm : communicator, optional
        As for `evaluate`.
    by_top5 : bool
        Whether the top-5 accuracy controls the training, and not the training loss.

    Attributes
    ----------
    epochs : list of array, shape (5,)
        Train loss, train top-1, test loss, test top-1, test top-5.
    hits : numpy.ndarray, bool
        As `evaluate` returned them for the last epoch.
    """

    def __init__(self, validation_batches, smoothing=0.0, comm=None, by_top5=False):
        self.validation_batches, self.smoothing = validation_batches, smoothing
        self.comm, self.by_top5 = comm, by_top5
        self.epochs, self.hits = [], np.empty(0, bool)
        self._batches = []  # loss and top-1 accuracy of each batch of this epoch

    def loss(self, logits, labels):
        """Cross-entropy of a training batch. It and the accuracy are recorded."""
        value = ops.cross_entropy(logits, labels, self.smoothing)
        self._batches.append((value.item(), top_hits(logits.data, labels, 1).mean()))
        return value

    def end_epoch(self, model):
        """Evaluate the model on the validation images and record the epoch.

        Returns
        -------
        float
            The training loss, or minus the top-5 accuracy. It is NaN if the validation loss is not
            finite, which tells `fit` that training diverged.
        """
        batches = [*np.sum(self._batches, axis=0), len(self._batches)]
        *sums, count = sum_over_ranks(self.comm, np.array(batches))
        self._batches.clear()
        tested, self.hits = evaluate(model, self.validation_batches(), self.comm)
        self.epochs.append(np.array([*np.divide(sums, count), *tested]))
        train_loss, _, test_loss, _, top5 = self.epochs[-1].tolist()
        return (-top5 if self.by_top5 else train_loss) if np.isfinite(test_loss) else np.nan

    def metrics(self):
        """What a run reports of the last epoch."""
        train_loss, _, _, top1, top5 = self.epochs[-1].tolist()
        return {"test_top1": top1, "test_top5": top5, "train_loss": train_loss}

    def arrays(self):
        """The recorded columns by name, each of shape (epochs,), and `hits`."""
        columns = np.reshape(self.epochs, (-1, len(COLUMNS))).T
        return dict(zip(COLUMNS, columns, strict=True)) | {"hits": self.hits}

    def average_over_processes(self, processes):
        """Replace what each process recorded in this epoch by the mean over all of them."""
        total = sum_over_ranks(self.comm, np.reshape(self._batches, (-1, 2)))
        self._batches = list(total / processes)

    def state_dict(self):
        """The state for `load_state_dict`, from which a run can be resumed later."""
        return {
            "epochs": np.reshape(self.epochs, (-1, len(COLUMNS))),
            "batches": np.reshape(self._batches, (-1, 2)),
            "hits": self.hits,
        }

    def load_state_dict(self, state):
        """Continue from the state of other curves."""
        self.epochs = list(state["epochs"])
        self._batches, self.hits = list(state["batches"]), state["hits"]


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

    def table_values(self, results, case):
        """Whether each picture is right, (seeds, pictures), so that intervals include their sample.

        If the runs do not have the same number of pictures, it is the accuracy, (seeds,).
        """
        values, seeds = super().table_values(results, case), results.config["seeds"]
        hits = {
            (m, seed): results.arrays(m, seed, **case)["hits"]
            for m, accuracies in values.items()
            for seed in np.array(seeds)[np.isfinite(accuracies)].tolist()
        }
        counts = {len(own) for own in hits.values()}
        if len(counts) != 1 or min(counts) < 2:  # pictures may have become unreadable
            return values
        lost = np.full(counts.pop(), np.nan)
        return {m: np.array([hits.get((m, s), lost) for s in seeds], float) for m in values}

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
            arrays = results.arrays(method, run["seed"], **case)
            curves = {name: arrays[name] for name in COLUMNS}
            finished.append({n: np.r_[c, [np.nan] * (epochs - len(c))] for n, c in curves.items()})
    return finished
