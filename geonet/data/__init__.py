"""Data for models: arrays of images, tables, image files, and folders of photographs."""

from geonet.data.image_arrays import ImageSet
from geonet.data.image_files import read_imagenet32
from geonet.data.tables import Split, standardize_features, standardize_target
from geonet.data.uci import read_uci, split_uci
from geonet.lazy import lazily, moved

__all__ = [
    "ImageFolders",
    "ImageSet",
    "Split",
    "read_imagenet32",
    "read_uci",
    "split_uci",
    "standardize_features",
    "standardize_target",
]

# With it comes Pillow, and the processes that decode run a module of this package by themselves.
__getattr__ = lazily(__name__, {"ImageFolders": "geonet.data.image_folders:ImageFolders"})

# The paper's own sets have moved to the reproduction of its experiments.
moved("geonet.data.banana", "geonet.experiments.sets.banana")
moved("geonet.data.levy", "geonet.experiments.sets.levy")
moved("geonet.data.imagenet", "geonet.data.image_folders")
moved("geonet.data.imagenet_pictures", "geonet.experiments.sets.drawn_pictures")
