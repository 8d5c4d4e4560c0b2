"""Data for models: arrays of images, tables, image files, and folders of photographs."""

from geonet.data.image_arrays import ImageSet
from geonet.data.image_files import read_imagenet32
from geonet.data.tables import Split, standardize_features, standardize_target
from geonet.data.uci import read_uci, split_uci
from geonet.lazy import lazily, public_names

__all__ = public_names(globals(), "ImageFolders")

# With it comes Pillow, and the processes that decode run a module of this package by themselves.
# The paper's own sets have moved to the reproduction of its experiments.
__getattr__, __dir__ = lazily(
    __name__,
    {
        "ImageFolders": "geonet.data.image_folders:ImageFolders",
        "banana": "geonet.experiments.sets.banana",
        "levy": "geonet.experiments.sets.levy",
        "imagenet": "geonet.data.image_folders",
        "imagenet32": "geonet.data.image_files",
        "imagenet_pictures": "geonet.experiments.sets.drawn_pictures",
    },
)
