"""Single pictures: what is cut out, colours of every kind of file, and files that are refused."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_helpers import smooth
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from geonet.data.decoding import RECIPES, DamagedPicture, decode, random_box, square_box

sides = st.integers(1, 700)


def rng(seed=0):
    return np.random.default_rng(seed)


def difference(a, b):
    return abs(np.asarray(a).astype(int) - np.asarray(b)).max()


def resized_and_cropped(image, size, shorter):
    """The middle of a picture as a recipe says it, in two steps."""
    width, height = image.size
    shorter = round(size * shorter / 224)
    w, h = shorter * width // min(width, height), shorter * height // min(width, height)
    left, top = round((w - size) / 2), round((h - size) / 2)
    resized = image.resize((w, h), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize(
    ("width", "height"), [(500, 375), (60, 91), (400, 400), (1501, 1100), (9, 700)]
)
@pytest.mark.parametrize("size", [32, 33, 224])
@pytest.mark.parametrize(("recipe", "shorter"), [("inception", 256), ("resnet", 368)])
def test_the_middle_is_what_resizing_and_cropping_gives(
    tmp_path, width, height, size, recipe, shorter
):
    for name in ("a.jpeg", "a.png"):
        smooth(width, height).save(tmp_path / name, quality=95)
        with Image.open(tmp_path / name) as image:
            expected = resized_and_cropped(image, size, shorter)
        found = decode(tmp_path / name, size, recipe=recipe)
        assert (found.shape, found.dtype) == ((size, size, 3), np.uint8)
        assert difference(found, expected) <= 4  # of 255


@given(sides, sides, st.integers(1, 300), st.floats(1, 3), st.none() | st.integers(0, 99))
def test_a_square_lies_within_the_picture(width, height, size, larger, seed):
    generator = None if seed is None else rng(seed)
    left, top, right, bottom = square_box(width, height, size, int(larger * size), generator)
    assert 0 <= left < right <= width + 1e-9
    assert 0 <= top < bottom <= height + 1e-9


@pytest.mark.parametrize("size", [224, 56])
def test_random_squares_are_of_pictures_whose_shorter_side_is_from_256_to_480(size):
    boxes = np.array([RECIPES["resnet"].box(400, 300, size, rng(seed)) for seed in range(2000)])
    places = (boxes[:, :2] + boxes[:, 2:]) / 2
    shorter = 300 * 224 / (boxes[:, 3] - boxes[:, 1])
    assert abs(shorter.min() - 256) < 1
    assert abs(shorter.max() - 480) < 1
    assert abs(shorter.mean() - 368) < 6  # a standard error of 1.5
    assert abs(np.var(shorter) - (480 - 256) ** 2 / 12) < 300
    np.testing.assert_allclose(places.mean(axis=0), (200, 150), atol=4)


@given(sides, sides, st.integers(0, 2**32))
def test_a_random_part_lies_within_the_picture_and_has_an_admitted_ratio(width, height, seed):
    left, top, right, bottom = random_box(width, height, rng(seed))
    w, h = right - left, bottom - top
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert 3 / 4 * (h - 1) - 1 <= w <= 4 / 3 * (h + 1) + 1  # whole pixels


def test_random_parts_have_all_sizes_ratios_and_places():
    boxes = np.array([random_box(400, 400, rng(seed)) for seed in range(2000)])
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    shares = w * h / 400**2
    # a share near 1 fits with a ratio near 1 alone, and is drawn again more often
    assert 0.079 < shares.min() < 0.09 < 0.95 < shares.max()
    assert abs(shares.mean() - 0.5) < 0.03
    assert 0.74 < (w / h).min() < 0.77 < 1.31 < (w / h).max() < 1.35
    assert abs(np.log(w / h).mean()) < 0.02
    np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]).mean(axis=0) / 2, 200, atol=5)


def test_a_random_part_of_a_very_wide_or_high_picture_is_in_its_middle():
    assert random_box(1000, 30, rng()) == (480, 0, 520, 30)
    assert random_box(30, 1000, rng()) == (0, 480, 30, 520)


def test_half_of_the_random_parts_are_mirrored(tmp_path):
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    Image.fromarray(np.tile(ramp, (64, 1))).save(tmp_path / "a.png")
    squares = [decode(tmp_path / "a.png", 8, rng(seed)).astype(int) for seed in range(200)]
    assert 75 < sum((square[:, -1] < square[:, 0]).all() for square in squares) < 125
    assert all(abs(square[:, -1] - square[:, 0]).min() > 20 for square in squares)


def cut_out(image, size, generator, recipe):
    """The middle or a random part of a picture, resampled from all of its pixels at once."""
    box = RECIPES[recipe].box(*image.size, size, generator)
    square = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box))
    return square if generator is None or generator.random() >= 0.5 else square[:, ::-1]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_large_picture_is_decoded_coarser_which_hardly_shows(tmp_path, monkeypatch, seed, recipe):
    image = smooth(1603, 1201)
    pixels = np.asarray(image) + rng().integers(-20, 20, (1201, 1603, 1))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(tmp_path / "a.jpeg")
    with Image.open(tmp_path / "a.jpeg") as whole:
        expected = cut_out(whole, 32, seed and rng(seed), recipe)
    drafts, draft = [], JpegImageFile.draft
    monkeypatch.setattr(JpegImageFile, "draft", lambda *a: drafts.append(draft(*a)) or drafts[-1])
    found = decode(tmp_path / "a.jpeg", 32, seed and rng(seed), recipe)
    assert drafts  # asked for,
    assert drafts[0] is not None  # and got
    assert difference(found, expected) <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "side"), [("a.jpeg", 90), ("a.jpeg", 900), ("a.png", 90)])
def test_a_turned_picture_comes_out_upright(tmp_path, orientation, name, side):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = smooth(side, side * 4 // 3)
    image.save(tmp_path / name, exif=exif, quality=95)
    image.save(tmp_path / f"stored {name}", quality=95)
    with Image.open(tmp_path / name) as image:
        ImageOps.exif_transpose(image).save(tmp_path / "upright.png")
    # a side of 28 is cut from 32, evenly
    assert difference(decode(tmp_path / name, 28), decode(tmp_path / "upright.png", 28)) <= 4
    found = decode(tmp_path / name, 28, rng(1))
    stored = decode(tmp_path / f"stored {name}", 28, rng(1))
    expected = Image.fromarray(stored)  # not mirrored by this generator
    expected.info["exif"] = exif.tobytes()
    np.testing.assert_array_equal(found, ImageOps.exif_transpose(expected))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"]
)
def test_a_picture_with_broken_metadata_is_decoded(tmp_path, exif):
    smooth(50, 50).save(tmp_path / "plain.jpeg")
    smooth(50, 50).save(tmp_path / "a.jpeg", exif=exif)
    np.testing.assert_array_equal(
        decode(tmp_path / "a.jpeg", 24), decode(tmp_path / "plain.jpeg", 24)
    )


COLOURS = {  # name of the file -> mode
    "grey.jpeg": "L",
    "cmyk.jpeg": "CMYK",
    "grey.png": "L",
    "black and white.png": "1",
    "palette.png": "P",
    "grey with alpha.png": "LA",
    "alpha.png": "RGBA",
    "16 bits.png": "I;16",
    "a PNG.jpeg": "RGB",
}


@pytest.mark.parametrize(("name", "mode"), COLOURS.items())
def test_colours_of_every_kind_of_file_come_out_right(tmp_path, name, mode):
    image = smooth(60, 60)
    if mode == "I;16":
        image = image.convert("L")
        stored = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    else:
        stored = image.convert(mode)
        image = stored if mode in ("L", "1", "P") else image
        image = image.convert("L") if mode == "LA" else image
    kind = "JPEG" if name.startswith(("grey.j", "cmyk")) else "PNG"
    stored.save(tmp_path / name, kind, **({"quality": 95} if kind == "JPEG" else {}))
    image.convert("RGB").save(tmp_path / "expected.png")
    found, expected = decode(tmp_path / name, 32), decode(tmp_path / "expected.png", 32)
    assert difference(found, expected) <= 6
    assert expected.std() > 20


def test_what_is_transparent_lies_on_white(tmp_path):
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    image.save(tmp_path / "clear.png")
    assert (decode(tmp_path / "clear.png", 8) == 255).all()
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert (decode(tmp_path / "palette.png", 8) == 255).all()


def png_with_header(width, height):
    """A small PNG file that says to be of another size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = (header, data, b"IEND")
    pack = struct.pack
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(c) - 4) + c + pack(">I", zlib.crc32(c)) for c in chunks
    )


@pytest.mark.parametrize("side", [9000, 10_000, 60_000])
def test_decompression_bombs_are_refused(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png_with_header(side, side))
    with pytest.raises(DamagedPicture, match=r"bomb.png: .*pixels"):
        decode(tmp_path / "bomb.png", 8)


def test_a_file_that_is_not_a_picture_is_refused_by_name(tmp_path):
    smooth(50, 50).save(tmp_path / "whole.jpeg")
    smooth(50, 50).save(tmp_path / "a.gif")
    whole = (tmp_path / "whole.jpeg").read_bytes()
    contents = {
        "empty": (b"", "neither a JPEG nor a PNG file"),
        "text": (b"no picture", "neither a JPEG nor a PNG file"),
        "gif": ((tmp_path / "a.gif").read_bytes(), "neither a JPEG nor a PNG file"),
        "truncated": (whole[: len(whole) // 2], "truncated"),
        "header": (whole[:30], "a.jpeg|JPEG|image|header"),
    }
    for name, (content, words) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DamagedPicture, match=words) as error:
            decode(tmp_path / name, 8)
        assert error.value.path == str(tmp_path / name)
        assert error.value.reason
        assert str(error.value) == f"{tmp_path / name}: {error.value.reason}"
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*absent"):
        decode(tmp_path / "absent", 8)
