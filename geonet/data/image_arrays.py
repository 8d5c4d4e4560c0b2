"""What all sets of small images have in common: minibatches, independent of the files."""

import numpy as np

from geonet.text import check_counts

SCALE = 64.0  # about the standard deviation of the pixels of photographs, from 0 to 255


def check_batch_size(batch_size, images):
    """Refuse a batch size that is not from 1 to the number of training images."""
    check_counts(1, batch_size=batch_size)
    if batch_size > images:
        raise ValueError(f"batch_size is {batch_size}, more than the {images} training images")


class ImageSet:
    """Training and validation images, as minibatches for a convnet.

    The training images are in parts, such as the files of a folder. One part at a time is in
    memory; the validation images stay in memory. A network sees

        x = (pixel − mean of its channel)/scale,

    with the means of the training pixels.

    Parameters
    ----------
    parts : sequence of function
        Each returns images, uint8 (N, H, W, 3), and labels, int64 (N,) from 0. All are called
        once at the start, to count, and then once per epoch.
    validation : tuple of ndarray
        Images and labels in the same form.
    scale : float, default 64
        The default gives x a variance of about 1, as initializers assume. With a smaller variance
        a deep ReLU network of standard weights starts on a long plateau.

    Attributes
    ----------
    scale : float
    train_count, validation_count : int
        Numbers of images.
    num_classes : int
        1 + the largest training label.
    mean : ndarray, shape (3,)
        Mean of the training pixels per channel, from 0 to 255, float64.
    """

    def __init__(self, parts, validation, scale=SCALE):
        self._parts, self._validation, self.scale = parts, validation, scale
        counts, sums, classes, pixels = zip(*(_survey(*part()) for part in parts), strict=True)
        self.train_count, self.validation_count = sum(counts), len(validation[1])
        self.num_classes = max(classes)
        self.mean = np.sum(sums, axis=0) / sum(pixels)

    def train_batches(self, batch_size, rng):
        """One epoch of training: every image at most once, in a new order.

        Parts are taken in random order, and the images of a part in random order; a batch may
        contain images of two or more parts. Each image is mirrored, left to right, with
        probability ½. The last train_count % batch_size images, which fill no batch, are left out.

        Parameters
        ----------
        batch_size : int
            B, at most `train_count`.
        rng : numpy.random.Generator
            Draws the orders and the mirroring.

        Returns
        -------
        iterator
            train_count // batch_size pairs x (B, H, W, 3) float32, labels (B,) int64.

        Raises
        ------
        ValueError
            If the batch size is not from 1 to `train_count`.
        """
        check_batch_size(batch_size, self.train_count)
        return self._epoch(batch_size, rng)

    def _epoch(self, batch_size, rng):
        batch, labels = None, np.empty(0, np.int64)  # left over from the parts so far
        for part in rng.permutation(len(self._parts)):
            images, targets = self._parts[part]()
            order = rng.permutation(len(targets))
            for rows in np.split(order, range(batch_size - len(labels), len(order), batch_size)):
                batch = np.concatenate([batch, images[rows]]) if len(labels) else images[rows]
                labels = np.concatenate([labels, targets[rows]])
                if len(labels) == batch_size:
                    mirrored = rng.random(batch_size) < 0.5
                    batch[mirrored] = batch[mirrored, :, ::-1]
                    yield self._centred(batch), labels
                    labels = labels[:0]
            del images, targets  # before the next part is read

    def validation_batches(self, batch_size):
        """The validation images in their order, not mirrored; the last batch may be smaller.

        Parameters
        ----------
        batch_size : int
            B, at least 1.

        Returns
        -------
        iterator
            Pairs x (B, H, W, 3) float32, labels (B,) int64.

        Raises
        ------
        ValueError
            If the batch size is below 1.
        """
        check_counts(1, batch_size=batch_size)
        images, labels = self._validation
        stretches = (slice(i, i + batch_size) for i in range(0, len(labels), batch_size))
        return ((self._centred(images[rows]), labels[rows].copy()) for rows in stretches)

    def _centred(self, images):
        x = images - self.mean.astype(np.float32)
        return np.multiply(x, np.float32(1 / self.scale), order="C")  # x has the layout of images


def _survey(images, labels):
    """Number of images, sum per channel, number of classes, and number of pixels."""
    sums = images.sum(axis=(0, 1, 2), dtype=np.uint64)
    return len(labels), sums, int(labels.max()) + 1, images[..., 0].size
