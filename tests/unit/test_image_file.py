"""Image files: which paths are allowed, and that what is sent is the picture a person sees."""

import base64
import io
import math
import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from captionqa.dataset.image_encoding import encode_image, grid_size
from captionqa.dataset.image_file import read_bytes
from captionqa.dataset.image_format import has_image_suffix, looks_like_image
from captionqa.dataset.image_header import Header, read_header
from captionqa.dataset.image_path import locate
from captionqa.errors import ItemFailure, Reason
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageFile

LIMITS = {"max_pixels": None, "pixel_grid_px": 8, "max_source_pixels": 1_000_000}
CORNERS = ((0, 0), (-1, 0), (0, -1), (-1, -1))
COLOURS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (250, 250, 10))
#: How an upright picture is stored for each EXIF orientation.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def sent(data, budget_px=None, limits=LIMITS):
    """(media type, bytes) of what is sent for an image file."""
    head, _, body = encode_image(data, limits, budget_px).data_url().decode().partition(",")
    return head.removeprefix("data:").removesuffix(";base64"), base64.b64decode(body)


def seen(data, budget_px=None, limits=LIMITS):
    """The picture that is sent, decoded as a server would."""
    image = Image.open(io.BytesIO(sent(data, budget_px, limits)[1]))
    image.load()
    return image


def near(one, other, by=6):
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def corners(image):
    return [image.getpixel((x % image.width, y % image.height)) for x, y in CORNERS]


def reason(call, *arguments):
    with pytest.raises(ItemFailure) as failure:
        call(*arguments)
    return failure.value.reason


@pytest.fixture
def quadrants():
    """A picture of 64 x 32 pixels with another colour in each quarter."""
    image = Image.new("RGB", (64, 32))
    for (x, y), colour in zip(CORNERS, COLOURS, strict=True):
        image.paste(colour, (32 * -x, 16 * -y, 32 - 32 * x, 16 - 16 * y))
    return image


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("kind", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_plain_files_pass_through_untouched(quadrants, encode, kind, mime, mode):
    if (kind, mode) == ("WEBP", "L"):
        mode = "RGB"
    data = encode(quadrants.convert(mode), kind)
    assert sent(data) == (mime, data)
    assert sent(data, budget_px=64 * 32) == (mime, data)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_orientation_is_applied(quadrants, encode, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = seen(encode(quadrants.transpose(STORED[orientation]), kind, exif=exif))
    assert image.size == (64, 32)
    assert image.getexif().get(0x0112, 1) == 1
    assert all(map(near, corners(image), COLOURS, [12] * 4))


def test_a_turned_photograph_is_shrunk_upright(quadrants, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = quadrants.resize((512, 256)).transpose(STORED[6])
    image = seen(encode(photo, "JPEG", exif=exif, quality=95), budget_px=128 * 64)
    assert image.size == (128, 64)
    assert all(map(near, corners(image), COLOURS, [12] * 4))


def test_an_orientation_behind_the_picture_of_a_png_is_applied(quadrants, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(quadrants.transpose(STORED[6]))
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    turned = data[:-12] + png_chunk(b"eXIf", body) + data[-12:]
    assert seen(turned).size == (64, 32)
    assert all(map(near, corners(seen(turned)), COLOURS))


def test_an_orientation_of_1_is_no_reason_to_touch_a_file(quadrants, encode):
    exif = Image.Exif()
    exif[0x0112] = 1
    data = encode(quadrants, "JPEG", exif=exif)
    assert sent(data) == ("image/jpeg", data)


def test_cmyk_becomes_rgb_of_the_same_colour(encode):
    image = seen(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert image.mode == "RGB"
    assert near(image.getpixel((8, 8)), (255, 0, 0))


def test_16_bit_grey_is_scaled_to_8_bit(encode):
    ramp = Image.new("I;16", (256, 1))
    for x in range(256):
        ramp.putpixel((x, 0), x * 257)
    image = seen(encode(ramp))
    assert image.mode == "RGB"
    assert all(near(image.getpixel((x, 0)), (x, x, x), by=1) for x in range(256))


def test_a_nearly_black_16_bit_picture_stays_nearly_black(encode):
    assert near(seen(encode(Image.new("I;16", (4, 4), 200))).getpixel((0, 0)), (0, 0, 0))


def test_a_palette_is_resolved_into_its_colours(quadrants, encode):
    palette = quadrants.quantize(8)
    assert palette.mode == "P"
    image = seen(encode(palette))
    assert image.mode == "RGB"
    assert all(map(near, corners(image), COLOURS))


def test_a_transparent_palette_colour_becomes_white(encode):
    palette = Image.new("P", (4, 1), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    image = seen(encode(palette, transparency=0))
    assert [image.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 255, 0)]


@pytest.mark.parametrize(
    ("mode", "colour", "wanted"),
    [
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255)),
        ("RGBA", (9, 8, 7, 255), (9, 8, 7)),
        ("LA", (0, 128), (127, 127, 127)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_alpha_is_laid_on_white(encode, mode, colour, wanted):
    image = seen(encode(Image.new(mode, (4, 4), colour)))
    assert image.mode == "RGB"
    assert near(image.getpixel((0, 0)), wanted, by=1)


def test_a_transparent_colour_of_a_plain_png_becomes_white(encode):
    image = seen(encode(Image.new("RGB", (4, 4), (1, 2, 3)), transparency=(1, 2, 3)))
    assert image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_sent(encode, kind):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    options = {"lossless": True} if kind == "WEBP" else {}
    image = seen(encode(first, kind, save_all=True, append_images=[second], **options))
    assert getattr(image, "n_frames", 1) == 1
    assert near(image.convert("RGB").getpixel((0, 0)), (255, 0, 0))


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF"])
def test_a_format_the_server_may_not_know_is_sent_as_the_same_png(quadrants, encode, kind):
    mime, data = sent(encode(quadrants, kind))
    assert mime == "image/png"
    assert all(map(near, corners(Image.open(io.BytesIO(data))), COLOURS))


def test_content_counts_and_not_the_name(tmp_path, quadrants, encode):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(quadrants, "PNG"))
    assert sent(read_bytes(path))[0] == "image/png"


@pytest.fixture
def tiff():
    """The bytes of a TIFF of unusual kind, written by tifffile."""

    def write(pixels, **options):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        return buffer.getvalue()

    return write


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_in_planes_keeps_its_colours(quadrants, tiff, bits):
    planes = np.moveaxis(np.asarray(quadrants), -1, 0).astype(f"uint{bits}") * (257 if bits == 16 else 1)
    image = seen(tiff(planes, photometric="rgb", planarconfig="separate"))
    assert image.size == quadrants.size
    assert all(map(near, corners(image), COLOURS))


def test_a_16_bit_tiff_whose_white_is_zero_is_no_negative(tiff):
    image = seen(tiff(np.array([[0, 65535]], np.uint16), photometric="miniswhite"))
    assert (image.getpixel((0, 0)), image.getpixel((1, 0))) == ((255, 255, 255), (0, 0, 0))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("top", [1, 255, 65535])
def test_a_tiff_of_fractions_is_scaled_to_what_its_values_fit_into(tiff, kind, top):
    image = seen(tiff(np.linspace(0, top, 256, dtype=kind).reshape(1, 256)))
    assert all(near(image.getpixel((x, 0)), (x, x, x), by=1) for x in range(256))


def test_the_orientation_of_a_tiff_of_doubles_is_applied(quadrants, tiff):
    stored = np.asarray(quadrants.convert("L").transpose(STORED[6]), dtype=float) / 255
    image = seen(tiff(stored, extratags=[(0x0112, "H", 1, 6, False)]))
    assert image.size == quadrants.size
    assert all(map(near, corners(image), corners(quadrants.convert("L").convert("RGB"))))


def test_a_large_tiff_of_doubles_is_shrunk_or_refused_like_any_other(tiff):
    data = tiff(np.zeros((400, 400)))
    assert seen(data, 64 * 64).size == (64, 64)
    assert reason(encode_image, data, LIMITS | {"max_source_pixels": 1000}, None) is Reason.IMAGE_TOO_LARGE
    assert reason(encode_image, data[: len(data) // 2], LIMITS, None) is Reason.UNREADABLE_IMAGE


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width, height):
    """A PNG of a few bytes that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("budget_px", [None, 4096])
def test_a_decompression_bomb_is_refused_by_its_claim_before_it_is_decoded(budget_px):
    assert reason(encode_image, png_of(60_000, 60_000), LIMITS, budget_px) is Reason.IMAGE_TOO_LARGE


def test_the_largest_allowed_image_is_no_bomb(encode):
    data = encode(Image.new("L", (1000, 1000)))
    assert sent(data) == ("image/png", data)
    assert reason(encode_image, encode(Image.new("L", (1000, 1001))), LIMITS, None) is Reason.IMAGE_TOO_LARGE


@pytest.mark.parametrize("budget_px", [None, 256])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_image_is_unreadable(quadrants, encode, kind, budget_px):
    data = encode(quadrants.resize((256, 128)), kind)
    assert reason(encode_image, data[: len(data) * 2 // 3], LIMITS, budget_px) is Reason.UNREADABLE_IMAGE


@pytest.fixture
def no_decoding(monkeypatch):
    def refuse(image):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)


ENDS = {
    "JPEG": ("JPEG", b""),
    "JPEG and zeros": ("JPEG", b"\0" * 40),
    "JPEG and a line break": ("JPEG", b"\r\n"),
    "MPO": ("MPO", b""),
    "PNG": ("PNG", b""),
    "PNG and more": ("PNG", b"more"),
    "WEBP": ("WEBP", b""),
}


@pytest.mark.parametrize(("kind", "behind"), ENDS.values(), ids=ENDS)
def test_a_file_that_is_seen_to_be_whole_is_not_decoded(quadrants, encode, no_decoding, kind, behind):
    options = {"save_all": True, "append_images": [quadrants]} if kind == "MPO" else {}
    data = encode(quadrants, kind, **options) + behind
    assert sent(data)[1] == data


@pytest.mark.parametrize("behind", [b"\0" * 5000, b"a trailer of the camera"])
def test_a_photograph_with_more_behind_it_is_sent_all_the_same(quadrants, encode, behind):
    data = encode(quadrants, "JPEG") + behind
    assert sent(data) == ("image/jpeg", data)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP"])
def test_a_file_cut_anywhere_is_unreadable_or_has_its_whole_picture(quadrants, encode, kind):
    options = {"save_all": True, "append_images": [quadrants]} if kind == "MPO" else {}
    data = encode(quadrants, kind, **options)
    reasons = set()
    for length in range(1, len(data)):
        try:
            seen(data[:length])
        except ItemFailure as failure:
            reasons.add(failure.reason)
    assert reasons == {Reason.UNREADABLE_IMAGE}


@pytest.mark.parametrize("data", [b"\0", b"no image at all", b"\xff\xd8\xff\xe0", b"GIF89a", b"<svg/>"])
def test_what_is_no_image_is_unreadable(data):
    assert reason(encode_image, data, LIMITS, None) is Reason.UNREADABLE_IMAGE


def test_an_empty_file_is_unreadable_and_a_vanished_one_missing(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert reason(read_bytes, tmp_path / "empty.jpg") is Reason.UNREADABLE_IMAGE
    assert reason(read_bytes, tmp_path / "gone.jpg") is Reason.MISSING_IMAGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("size", "budget_px"),
    [((640, 480), 64 * 1000), ((640, 480), 640 * 479), ((404, 404), 202 * 202), ((801, 403), 100 * 100)],
)
def test_a_large_image_is_shrunk_onto_the_grid_within_the_budget(encode, kind, size, budget_px):
    image = seen(encode(Image.new("RGB", size, (200, 30, 30)), kind), budget_px)
    assert image.width * image.height <= budget_px
    assert image.width % LIMITS["pixel_grid_px"] == 0
    assert image.height % LIMITS["pixel_grid_px"] == 0
    assert near(image.getpixel((0, 0)), (200, 30, 30))


def test_a_shrunk_photograph_stays_a_jpeg_and_a_drawing_a_png(quadrants, encode):
    assert sent(encode(quadrants, "JPEG"), 512)[0] == "image/jpeg"
    assert sent(encode(quadrants, "PNG"), 512)[0] == "image/png"


sides = st.integers(1, 20_000)


@given(width=sides, height=sides, grid=st.sampled_from([1, 8, 28, 32]), squares=st.integers(4, 20_000))
def test_a_grid_size_is_on_the_grid_within_the_budget_and_no_enlargement(width, height, grid, squares):
    budget = squares * grid**2
    assume(width * height > budget)
    assume(max(width, height) <= squares * min(width, height))
    new_width, new_height = grid_size(width, height, grid, budget)
    assert new_width % grid == new_height % grid == 0
    assert 0 < new_width * new_height <= budget
    assert new_width <= max(width, grid)
    assert new_height <= max(height, grid)


@pytest.mark.parametrize("size", [(10_000, 10), (10, 10_000), (20_000, 1)])
def test_a_thin_strip_is_within_the_budget_too(size):
    width, height = grid_size(*size, 32, 4 * 32**2)
    assert width * height <= 4 * 32**2


@given(width=sides, height=sides, squares=st.integers(64, 20_000))
def test_shrinking_keeps_the_shape(width, height, squares):
    assume(width * height > squares)
    assume(max(width, height) <= 4 * min(width, height))
    new_width, new_height = grid_size(width, height, 1, squares)
    assert new_width / new_height == pytest.approx(width / height, rel=0.3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_an_image_is_known_by_its_first_bytes(quadrants, encode, kind):
    assert looks_like_image(encode(quadrants, kind)[:16])


@pytest.mark.parametrize("head", [b"", b"text", b"RIFF\x24\0\0\0WAVEfmt ", b"BM is a text", b"%PDF-1.7", b"PK\x03\x04"])
def test_other_files_are_not_known_as_images(head):
    assert not looks_like_image(head[:16])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("a.jpg", True), ("a.JPEG", True), ("a.b.Png", True), ("a.txt", False), ("jpg", False), ("a.jpg.txt", False)],
)
def test_a_suffix_counts_in_any_case(name, wanted):
    assert has_image_suffix(name) is wanted


@pytest.fixture
def places(tmp_path, encode):
    """A data set, a folder beside it whose name begins alike, and an image in each."""
    root = tmp_path.resolve()
    for folder in ("data", "data-private"):
        (root / folder).mkdir()
        (root / folder / "a.png").write_bytes(encode(Image.new("RGB", (4, 4))))
    return root


def test_a_file_of_the_data_set_is_found(places):
    (places / "data" / "sub").mkdir()
    (places / "data" / "link.png").symlink_to(places / "data" / "a.png")
    for name in ("a.png", "sub/../a.png", "./a.png", "link.png", str(places / "data" / "a.png")):
        assert locate(places / "data", name, []) == places / "data" / "a.png"


@pytest.mark.parametrize(
    "name", ["../data-private/a.png", "../nothing.png", "/etc/hostname", "sub/../../data-private/a.png"]
)
def test_a_path_that_leads_out_is_refused(places, name):
    assert reason(locate, places / "data", name, []) is Reason.PATH_OUTSIDE_DATASET


def test_an_absolute_path_to_elsewhere_is_refused(places):
    outside = str(places / "data-private" / "a.png")
    assert reason(locate, places / "data", outside, []) is Reason.PATH_OUTSIDE_DATASET


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_that_leads_out_is_refused_save_into_allowed_roots(places, link):
    data, private = places / "data", places / "data-private"
    target, name = (private / "a.png", "link.png") if link == "file" else (private, "link/a.png")
    (data / name.split("/")[0]).symlink_to(target)
    assert reason(locate, data, name, []) is Reason.PATH_OUTSIDE_DATASET
    assert reason(locate, data, name, [places / "other"]) is Reason.PATH_OUTSIDE_DATASET
    assert locate(data, name, [private]) == private / "a.png"


@pytest.mark.parametrize("name", ["no.png", "a.png/b.png", "sub", "with\0null.png", "long" * 2000, "loop.png"])
def test_a_path_without_a_file_is_a_missing_image(places, name):
    (places / "data" / "sub").mkdir()
    (places / "data" / "loop.png").symlink_to("loop.png")
    assert reason(locate, places / "data", name, []) is Reason.MISSING_IMAGE


def test_a_folder_in_the_place_of_an_image_is_unreadable(tmp_path):
    os.mkdir(tmp_path / "folder.png")
    assert reason(read_bytes, tmp_path / "folder.png") is Reason.UNREADABLE_IMAGE


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_picture_of_one_pixel_is_sent_as_it_is_seen(encode, mode):
    image = seen(encode(Image.new(mode, (1, 1))), budget_px=64)
    assert image.size == (1, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_strip_of_30_000_by_10_pixels_is_shrunk_within_the_budget(encode, kind):
    data = encode(Image.new("RGB", (30_000, 10), (200, 30, 30)), kind)
    assert sent(data)[1] == data
    image = seen(data, budget_px=64 * 64)
    assert image.width * image.height <= 64 * 64
    assert near(image.getpixel((0, 0)), (200, 30, 30))


def test_a_palette_with_an_alpha_for_each_colour_is_laid_on_white(encode):
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0] * 3)
    palette.putdata([0, 1, 2])
    image = seen(encode(palette, transparency=bytes([255, 128, 0])))
    colours = [(255, 0, 0), (255, 127, 127), (255, 255, 255)]
    assert all(near(image.getpixel((x, 0)), colour, by=1) for x, colour in enumerate(colours))


corrupted = given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5),
    data=st.data(),
)


def spoil(whole, places, data):
    """The bytes with others in some places, which are given as fractions of their length."""
    spoilt = bytearray(whole)
    for place in places:
        spoilt[int(place * len(spoilt))] = data.draw(st.integers(0, 255))
    return bytes(spoilt)


@pytest.mark.parametrize("budget_px", [None, 256])
@corrupted
def test_a_corrupt_file_is_a_picture_or_a_named_failure(quadrants, encode, budget_px, kind, places, data):
    spoilt = spoil(encode(quadrants, kind), places, data)
    try:
        outcome = seen(spoilt, budget_px).size
    except ItemFailure as failure:
        outcome = failure.reason
    except Exception:  # sent as it is, rejected by this server, and then decoded here
        assert sent(spoilt, budget_px)[1] == spoilt
        outcome = reason(encode_image, spoilt, LIMITS, budget_px, True)
    assert outcome in (Reason.UNREADABLE_IMAGE, Reason.IMAGE_TOO_LARGE) or math.prod(outcome) <= 1_000_000


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF"])
def test_a_header_tells_format_and_size(quadrants, encode, tmp_path, kind):
    (tmp_path / "a").write_bytes(encode(quadrants, kind))
    family = {"MPO": "JPEG", "DIB": "BMP"}.get(kind, kind)
    assert read_header(tmp_path / "a", LIMITS) == Header(family, 64, 32, animated=False)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_a_header_tells_that_more_pictures_follow(encode, tmp_path, kind):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    (tmp_path / "a").write_bytes(encode(first, kind, save_all=True, append_images=[second]))
    assert read_header(tmp_path / "a", LIMITS) == Header(kind, 8, 8, animated=True)


def test_a_header_of_doubles_is_read(tiff, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.zeros((40, 30))))
    assert read_header(tmp_path / "a.tif", LIMITS) == Header("TIFF", 30, 40, animated=False)


def test_a_header_names_the_failures_that_it_shows(tmp_path):
    for name, data in {"bomb.png": png_of(60_000, 60_000), "empty.jpg": b"", "text.jpg": b"no image"}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.png").mkdir()
    reasons = {name: reason(read_header, tmp_path / name, LIMITS) for name in (*os.listdir(tmp_path), "gone.png")}
    assert reasons == {
        "bomb.png": Reason.IMAGE_TOO_LARGE,
        "empty.jpg": Reason.UNREADABLE_IMAGE,
        "text.jpg": Reason.UNREADABLE_IMAGE,
        "folder.png": Reason.UNREADABLE_IMAGE,
        "gone.png": Reason.MISSING_IMAGE,
    }


@corrupted
def test_a_header_condemns_nothing_that_can_be_sent(quadrants, encode, tmp_path, kind, places, data):
    spoilt = spoil(encode(quadrants, kind), places, data)
    (tmp_path / "a").write_bytes(spoilt)
    try:
        read_header(tmp_path / "a", LIMITS)
    except ItemFailure:
        assert reason(encode_image, spoilt, LIMITS, None)
