"""Kinds of picture files: whatever the file, what is sent is what a person sees. Each kind is made here."""

import base64
import io
import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.layout import Layout
from captionqa.dataset.audit import audit
from captionqa.dataset.findings import FindingKind
from captionqa.dataset.image_encoding import encode_image, is_new_picture
from captionqa.dataset.image_format import looks_like_image
from captionqa.dataset.image_header import read_header
from captionqa.dataset.plan import load_plan
from captionqa.errors import ItemFailure, Reason
from colour_spaces import WIDE, cmyk_icc, icc
from PIL import Image, ImageCms

LIMITS = {"max_pixels": None, "pixel_grid_px": 8, "max_source_pixels": 1_000_000}
WIDTH, HEIGHT = 96, 64
#: How an upright picture is stored for each orientation that exchanges width and height.
SIDEWAYS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def scene():
    """RGB levels, an array: a gradient with a patch in one corner, so that no turn and no inversion goes unseen."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    levels = np.stack([x * 2 + 20, y * 3 + 10, 200 - x], axis=-1).astype(np.uint8)
    levels[:16, :24] = (250, 220, 30)
    return levels


@pytest.fixture(scope="module")
def grey(scene):
    return np.asarray(Image.fromarray(scene).convert("L"))


def sent(data, budget_px=None, **limits):
    """The levels of the picture that is sent, as a server would decode it."""
    encoded = encode_image(data, LIMITS | limits, budget_px)
    return np.asarray(Image.open(io.BytesIO(encoded.data)).convert("RGB"))


def mae(levels, wanted):
    """The mean absolute error, of 255."""
    wanted = np.asarray(wanted)
    wanted = np.stack([wanted] * 3, axis=-1) if wanted.ndim == 2 else wanted
    assert levels.shape == wanted.shape
    return np.abs(levels.astype(int) - wanted.astype(int)).mean()


def reason(data, **limits):
    with pytest.raises(ItemFailure) as failure:
        encode_image(data, LIMITS | limits, None)
    return failure.value


def tiff(values, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def deep(levels, bits=16):
    return (levels.astype(np.float64) * ((2**bits - 1) / 255)).round().astype(np.uint16)


# TIFF


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", SIDEWAYS)
def test_a_turned_tiff_keeps_its_proportions_when_it_is_shrunk(scene, orientation, compression):
    stored = Image.fromarray(scene).resize((384, 256)).transpose(SIDEWAYS[orientation])
    data = saved(stored, "TIFF", compression=compression, tiffinfo={274: orientation})
    shrunk = sent(data, budget_px=WIDTH * HEIGHT)
    assert shrunk.shape == (HEIGHT, WIDTH, 3)
    assert mae(shrunk, scene) < 5


@pytest.mark.parametrize("orientation", SIDEWAYS)
def test_a_turned_tiff_of_16_bits_keeps_its_proportions_when_it_is_shrunk(scene, orientation):
    stored = np.asarray(Image.fromarray(scene).resize((384, 256)).transpose(SIDEWAYS[orientation]))
    data = tiff(deep(stored), photometric="rgb", compression="lzw", extratags=[(274, "H", 1, orientation, False)])
    shrunk = sent(data, budget_px=WIDTH * HEIGHT)
    assert shrunk.shape == (HEIGHT, WIDTH, 3)
    assert mae(shrunk, scene) < 5


@pytest.mark.parametrize("orientation", SIDEWAYS)
def test_a_turned_fax_is_upright(grey, orientation):
    page = Image.fromarray(np.where(grey > 128, 255, 0).astype(np.uint8)).convert("1")
    data = saved(page.transpose(SIDEWAYS[orientation]), "TIFF", compression="group4", tiffinfo={274: orientation})
    assert mae(sent(data), np.asarray(page.convert("L"))) == 0


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits", "lzma"])
def test_colours_of_16_bits_in_any_layout(scene, compression, planar, bigtiff):
    values = deep(scene) if planar == "contig" else np.moveaxis(deep(scene), -1, 0)
    data = tiff(values, photometric="rgb", planarconfig=planar, compression=compression, bigtiff=bigtiff)
    assert mae(sent(data), scene) < 1
    assert looks_like_image(data[:16])


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("bits", [8, 16])
def test_where_zero_is_white_nothing_is_a_negative(grey, bits, compression):
    values = 2**bits - 1 - (deep(grey) if bits == 16 else grey)
    data = tiff(values.astype(f"uint{bits}"), photometric="miniswhite", compression=compression)
    assert mae(sent(data), grey) < 1


@pytest.mark.parametrize("bits", [8, 16])
def test_inks_are_converted(scene, bits):
    inks = 255 - scene
    values = np.concatenate([inks, np.zeros((HEIGHT, WIDTH, 1), np.uint8)], axis=-1)
    data = tiff(deep(values) if bits == 16 else values, photometric="separated")
    assert mae(sent(data), scene) < 3


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_cielab_is_converted(scene, bits, offset):
    lab = ImageCms.profileToProfile(
        Image.fromarray(scene), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    values = np.frombuffer(lab.tobytes(), np.uint8).reshape(HEIGHT, WIDTH, 3).astype(np.uint16)
    values[..., 1:] = (values[..., 1:] + 128) % 256 if offset else values[..., 1:]
    if bits == 16:
        values[..., 0] *= 257
        values[..., 1:] *= 256
    data = tiff(values.astype(f"uint{bits}"), photometric="icclab" if offset else "cielab")
    assert mae(sent(data), scene) < 4


def test_an_extra_sample_of_no_kind_is_left_out(scene):
    values = np.concatenate([deep(scene), np.full((HEIGHT, WIDTH, 1), 9000, np.uint16)], axis=-1)
    assert mae(sent(tiff(values, photometric="rgb", extrasamples=["unspecified"])), scene) < 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_alpha_is_laid_on_white_as_its_tag_says(scene, kind, bits):
    alpha = np.linspace(60, 255, WIDTH).round()[None, :, None].repeat(HEIGHT, 0)
    colours = scene * (alpha / 255) if kind == "assocalpha" else scene
    values = np.concatenate([colours, alpha], axis=-1).round().astype(np.uint8)
    data = tiff(deep(values) if bits == 16 else values, photometric="rgb", extrasamples=[kind])
    wanted = scene * (alpha / 255) + 255 - alpha
    assert mae(sent(data), wanted.round()) < 2


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_grey_with_alpha_is_laid_on_white(grey, kind, bits):
    colours = grey // 2 if kind == "assocalpha" else grey
    values = np.stack([colours, np.full_like(grey, 128)], axis=-1)
    data = tiff(deep(values) if bits == 16 else values, photometric="minisblack", extrasamples=[kind])
    assert mae(sent(data), (grey * 0.5 + 127.5).round()) < 2


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_12_bits_in_16_are_not_black(grey, compression):
    assert mae(sent(tiff(deep(grey, 12), compression=compression)), grey) < 2
    assert mae(sent(tiff(deep(grey, 12).astype(np.int16))), grey) < 2


def test_the_highest_value_that_a_tag_names_is_white(grey):
    data = tiff(deep(grey // 3, 14), extratags=[(281, "H", 1, 2**14 // 3, False)])
    assert mae(sent(data), grey) < 3


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(lambda grey: (grey * 3.0 + 120).astype(np.float32), id="heights"),
        pytest.param(lambda grey: (grey * 12.0 - 1000).astype(np.int16), id="Hounsfield units"),
        pytest.param(lambda grey: (grey / 25500).astype(np.float64), id="small fractions"),
    ],
)
def test_measured_values_take_the_range_that_they_use(grey, values):
    levels = sent(tiff(values(grey)))
    low, high = int(grey.min()), int(grey.max())
    assert mae(levels, ((grey - low) * (255 / (high - low))).round()) < 2


@pytest.mark.parametrize("nodata", [np.nan, np.inf, -9999.0])
def test_what_has_no_data_decides_nothing_and_is_white(grey, nodata):
    values = grey.astype(np.float32)
    values[40:44, 50:60] = nodata
    extra = {} if not np.isfinite(nodata) else {"extratags": [(42113, "s", 0, "-9999", True)]}
    levels = sent(tiff(values, **extra))
    wanted = grey.copy()
    wanted[40:44, 50:60] = 255
    assert mae(levels, wanted) < 1


@pytest.mark.parametrize(
    ("dtype", "filler"),
    [(np.float32, -9999), (np.float32, -3.4028235e38), (np.float64, 1e20), (np.int16, -32768), (np.int16, -9999)],
)
def test_a_value_far_off_all_others_is_no_data_without_a_tag_too(grey, dtype, filler):
    values = (grey * 6.0 - 1000).astype(dtype)
    values[40:44, 50:60] = filler
    low, high = int(grey.min()), int(grey.max())
    wanted = ((grey - low) * (255 / (high - low))).round()
    wanted[40:44, 50:60] = 255
    assert mae(sent(tiff(values)), wanted) < 2


def test_negative_values_that_are_not_far_off_are_data(grey):
    values = grey.astype(np.float32)
    values[40:44, 50:60] = -100
    levels = sent(tiff(values))
    assert levels[41, 55, 0] == 0
    assert levels.max() == 255


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_pixels_of_three_colours_without_data_are_white(scene, dtype):
    values = scene.astype(np.float32) if dtype is np.float32 else deep(scene)
    values[40:44, 50:60] = np.nan if dtype is np.float32 else 0
    extra = {} if dtype is np.float32 else {"extratags": [(42113, "s", 0, "0", True)]}
    wanted = scene.copy()
    wanted[40:44, 50:60] = 255
    assert mae(sent(tiff(values, photometric="rgb", **extra)), wanted) < 1


def test_a_page_in_front_of_the_picture_that_is_its_small_copy_is_not_sent(scene):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(scene[::4, ::4], photometric="rgb", subfiletype=1)
        file.write(scene, photometric="rgb")
    assert mae(sent(buffer.getvalue()), scene) == 0
    assert sent(buffer.getvalue(), frame=0).shape == (HEIGHT // 4, WIDTH // 4, 3)


def test_a_deep_tiff_that_is_cut_is_unreadable(grey):
    data = tiff(np.random.default_rng(1).integers(0, 2**16, (64, 96), np.uint16), compression="zlib", rowsperstrip=8)
    pixels_first = data.find(b"\x78")
    assert pixels_first > 0
    assert reason(data[: len(data) * 2 // 3]).reason is Reason.UNREADABLE_IMAGE


def test_a_tiff_of_many_samples_is_bounded_before_it_is_decoded():
    data = tiff(np.zeros((40, 200, 200), np.float32), planarconfig="separate", photometric="minisblack")
    failure = reason(data, max_source_pixels=200_000)
    assert failure.reason is Reason.IMAGE_TOO_LARGE
    assert "200 x 200 pixels of 160 bytes" in failure.detail


def camera_raw(scene):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(scene, photometric="rgb", subfiletype=1, subifds=1)
        file.write(deep(scene)[..., 0], photometric=32803, subfiletype=0, extratags=[])
    return buffer.getvalue()


def test_a_camera_raw_is_named_and_its_thumbnail_not_captioned(scene):
    assert "a camera raw" in reason(camera_raw(scene)).detail


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript document"),
        (b"\0\0\0\x18ftypmp42", "a video"),
        (b"\0\0\0\x18ftypcrx ", "a camera raw"),
    ],
)
def test_what_is_no_picture_is_named_and_nothing_is_started_for_it(head, name, monkeypatch):
    from PIL import EpsImagePlugin

    def start(*_):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    failure = reason(head + b"\0" * 500)
    assert failure.reason is Reason.UNREADABLE_IMAGE
    assert name in failure.detail


# new kinds


def heif(image, **options):
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=90, chroma=444, **options)
    return buffer.getvalue()


NEW_KINDS = {
    "HEIF": heif,
    "AVIF": lambda image: saved(image, "AVIF", quality=95),
    "JPEG2000": lambda image: saved(image, "JPEG2000"),
    "JXL": lambda image: imagecodecs.jpegxl_encode(np.asarray(image), lossless=True),
    "JXL at a loss": lambda image: imagecodecs.jpegxl_encode(np.asarray(image), level=95),
}


@pytest.mark.parametrize("kind", NEW_KINDS)
def test_new_kinds_are_sent_as_the_same_picture(scene, kind, tmp_path):
    data = NEW_KINDS[kind](Image.fromarray(scene))
    assert mae(sent(data), scene) < 4
    assert sent(data, budget_px=WIDTH * HEIGHT // 4).shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert reason(data, max_source_pixels=1000).reason is Reason.IMAGE_TOO_LARGE
    (tmp_path / "image").write_bytes(data)
    header = read_header(tmp_path / "image", LIMITS)
    assert (header.format, header.width, header.height) == (kind.split()[0], WIDTH, HEIGHT)
    assert reason(data[: len(data) // 2]).reason is Reason.UNREADABLE_IMAGE
    if not data.startswith(b"\xff\x0a"):
        assert looks_like_image(data[:16])


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (8, 8), (256, 256), (300, 200), (3000, 1), (640, 480), (480, 270), (40, 1080)]
)
def test_the_size_of_a_jpeg_xl_is_read_before_it_is_decoded(width, height, tmp_path):
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(np.zeros((height, width, 3), np.uint8)))
    header = read_header(tmp_path / "a.jxl", LIMITS | {"max_source_pixels": 10**8})
    assert (header.width, header.height) == (width, height)


def test_a_turned_photograph_of_a_phone_is_upright(scene):
    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(scene).transpose(SIDEWAYS[6])
    for data in (heif(image, exif=exif.tobytes()), saved(image, "AVIF", quality=95, exif=exif)):
        assert mae(sent(data), scene) < 4


# frames


def empty(colour="white"):
    return Image.new("RGB", (WIDTH, HEIGHT), colour)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_that_is_not_empty_is_sent(scene, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    frames = [empty("black"), Image.fromarray(scene), empty()]
    data = saved(empty(), kind, save_all=True, append_images=frames, **options)
    # what a GIF keeps of the colours is not at issue here
    assert mae(sent(data), scene) < (8 if kind == "GIF" else 1)
    assert mae(sent(data, frame=0), np.full_like(scene, 255)) == 0
    assert mae(sent(data, frame=1), np.zeros_like(scene)) == 0
    assert mae(sent(data, frame=99), np.full_like(scene, 255)) == 0


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_an_animation_of_empty_frames_is_sent_as_its_first(kind):
    data = saved(empty(), kind, save_all=True, append_images=[empty("black"), empty("red")])
    assert sent(data).min() == 255


def test_a_deep_page_behind_an_empty_one_is_found(grey):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(np.full((HEIGHT, WIDTH), 255, np.uint8))
        file.write(deep(grey))
    assert mae(sent(buffer.getvalue()), grey) < 1


def bmp_with_alpha(scene, alpha):
    """A BMP of version 5 with four channels."""
    pixels = np.concatenate([scene[::-1, :, ::-1], np.full((HEIGHT, WIDTH, 1), alpha, np.uint8)], axis=-1).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 2835, 2835, 0, 0) + masks
    header += b"BGRs" + bytes(124 - len(header) - 4)
    return b"BM" + struct.pack("<IHHI", 14 + 124 + len(pixels), 0, 0, 14 + 124) + header + pixels


def test_an_alpha_of_nothing_but_zeros_in_a_bmp_is_none(scene):
    assert mae(sent(bmp_with_alpha(scene, 0)), scene) == 0
    assert mae(sent(bmp_with_alpha(scene, 128)), scene * 0.502 + 127) < 1


def drawn(colour, kind, background=0, **options):
    """A drawing of one colour on what is transparent, which shows another one below."""
    picture = Image.new("RGBA", (WIDTH, HEIGHT), (9, 9, 9, background))
    picture.paste((*colour, 255), (20, 10, 70, 40))
    return saved(picture, kind, **options)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_white_drawing_on_what_is_transparent_is_seen(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    levels = sent(drawn((255, 255, 255), kind, **options))
    assert (levels[:10] == 0).all()
    assert (levels[10:40, 20:70] == 255).all()


def test_what_is_seen_on_white_or_not_at_all_is_on_white():
    red = sent(drawn((200, 0, 0), "PNG"))
    assert (red[:10] == 255).all()
    assert (sent(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG")) == 255).all()
    page = Image.new("RGBA", (8, 8), "white")
    page.putpixel((3, 3), (250, 250, 250, 255))
    assert sent(saved(page, "PNG")).min() == 250


# metadata


def png_chunk(kind, body, checksum=None):
    crc = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png_with(scene, *chunks, behind=False):
    data = saved(Image.fromarray(scene), "PNG")
    at = len(data) - 12 if behind else 33
    return data[:at] + b"".join(chunks) + data[at:]


LARGE = zlib.compress(bytes(3 * 2**20))
BAD = 12345
ODD_CHUNKS = {
    "large zTXt": png_chunk(b"zTXt", b"note\0\0" + LARGE),
    "large iTXt": png_chunk(b"iTXt", b"note\0\1\0\0\0" + LARGE),
    "large iCCP": png_chunk(b"iCCP", b"icc\0\0" + LARGE),
    "garbage eXIf": png_chunk(b"eXIf", b"garbage in here"),
    "short eXIf": png_chunk(b"eXIf", b"II"),
    "empty eXIf": png_chunk(b"eXIf", b""),
    "broken raw profile": png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  99\nxyz\n")),
    **{
        f"{kind.decode()} with a bad checksum": png_chunk(kind, body, BAD)
        for kind, body in [
            (b"tEXt", b"a\0b"),
            (b"gAMA", bytes(4)),
            (b"tIME", bytes(7)),
            (b"iCCP", b"a\0\0x"),
            (b"tRNS", bytes(6)),
        ]
    },
    **{
        f"short {kind.decode()}": png_chunk(kind, body)
        for kind, body in [(b"pHYs", b"\1"), (b"gAMA", b"\1"), (b"cHRM", b"\1"), (b"sRGB", b""), (b"acTL", b"\1")]
    },
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("odd", ODD_CHUNKS)
def test_no_chunk_beside_the_pixels_loses_a_png(scene, odd, behind, tmp_path):
    data = png_with(scene, ODD_CHUNKS[odd], behind=behind)
    assert mae(sent(data), scene) == 0
    assert sent(data, budget_px=WIDTH * HEIGHT // 4).shape == (HEIGHT // 2, WIDTH // 2, 3)
    (tmp_path / "a.png").write_bytes(data)
    assert read_header(tmp_path / "a.png", LIMITS).width == WIDTH


def test_the_orientation_and_the_transparency_beside_an_odd_chunk_are_kept(scene):
    exif = Image.Exif()
    exif[274] = 6
    turned = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    stored = np.asarray(Image.fromarray(scene).transpose(SIDEWAYS[6]))
    assert mae(sent(png_with(stored, turned, ODD_CHUNKS["large zTXt"])), scene) == 0
    red = png_chunk(b"tRNS", struct.pack(">HHH", 250, 220, 30))
    assert mae(sent(png_with(scene, ODD_CHUNKS["large zTXt"], red)), np.where(scene == (250, 220, 30), 255, scene)) == 0


def exif_of(*entries):
    """EXIF with these directory entries: (tag, type, count, four bytes of value)."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)


ODD_EXIF = {
    "XResolution in letters": exif_of((0x0112, 3, 1, b"\6\0\0\0"), (0x011A, 2, 4, b"abc\0")),
    "ResolutionUnit in letters": exif_of((0x0112, 3, 1, b"\6\0\0\0"), (0x0128, 2, 4, b"abc\0")),
    "a directory that goes beyond the end": exif_of((0x0112, 3, 1, b"\6\0\0\0"), (0x010F, 2, 99999, b"\xff\xff\xff\0")),
}


@pytest.mark.parametrize("exif", ODD_EXIF)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_a_readable_orientation_beside_malformed_exif_is_applied(scene, kind, exif):
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    stored = Image.fromarray(scene).transpose(SIDEWAYS[6])
    assert mae(sent(saved(stored, kind, exif=ODD_EXIF[exif], **options)), scene) < 4


@pytest.mark.parametrize(("marker", "body"), [(0xE0, b"JFIF\0"), (0xEE, b"Adobe"), (0xE2, b"MPF\0garbage")])
def test_no_short_segment_loses_a_jpeg(scene, marker, body):
    data = saved(Image.fromarray(scene), "JPEG", quality=95, subsampling=0)
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    with warnings.catch_warnings(action="ignore"):
        assert mae(sent(data[:2] + segment + data[2:]), scene) < 3


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_garbage_in_place_of_exif_loses_nothing(scene, kind):
    data = saved(Image.fromarray(scene), kind, exif=b"Exif\0\0garbage and more of it", quality=95)
    assert mae(sent(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))) < 2


# colours


def wide_picture(scene, profile):
    """Levels that show, in the colours of a profile, what the scene shows in sRGB."""
    srgb = ImageCms.createProfile("sRGB")
    picture = ImageCms.profileToProfile(Image.fromarray(scene), srgb, io.BytesIO(profile))
    picture.info = {}
    return picture


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("space", WIDE)
def test_an_embedded_profile_is_converted_to_srgb(scene, space, kind):
    profile = icc(*WIDE[space])
    options = {
        "JPEG": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 98},
    }.get(kind, {})
    picture = wide_picture(scene, profile)
    data = (
        heif(picture, icc_profile=profile) if kind == "HEIF" else saved(picture, kind, icc_profile=profile, **options)
    )
    as_is, converted = mae(sent(data, colour="as_is"), scene), mae(sent(data), scene)
    assert converted < 3 < as_is
    shrunk = np.asarray(Image.fromarray(scene).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BICUBIC))
    assert mae(sent(data, budget_px=WIDTH * HEIGHT // 4), shrunk) < 3


def test_the_profile_of_a_jpeg_2000_is_converted_to_srgb(scene):
    profile = icc(*WIDE["ProPhoto"])
    data = saved(wide_picture(scene, profile), "JPEG2000")
    header, at = data.index(b"jp2h") - 4, data.index(b"colr") - 4
    size, replaced = int.from_bytes(data[header : header + 4]), int.from_bytes(data[at : at + 4])
    box = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    grown = struct.pack(">I", size + len(box) - replaced)
    data = data[:header] + grown + data[header + 4 : at] + box + data[at + replaced :]
    assert mae(sent(data), scene) < 3
    assert mae(sent(data, colour="as_is"), scene) > 9


def pale(c, m, y, k):
    """L, a and b in 8 bits, these with an offset, of inks that are paler than any printer's."""
    levels = tuple(int((255 - 166 * ink) * (1 - 0.8 * k)) for ink in (c, m, y))
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(Image.new("RGB", (1, 1), levels), *spaces, outputMode="LAB").tobytes()
    return lab[0], (lab[1] + 128) % 256, (lab[2] + 128) % 256


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("inks", "wanted"),
    [((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (89, 255, 255)), ((0, 0, 255, 0), (255, 255, 89))],
)
def test_inks_are_converted_by_their_profile(kind, inks, wanted):
    data = saved(Image.new("CMYK", (16, 16), inks), kind, icc_profile=cmyk_icc(pale))
    assert mae(sent(data), np.full((16, 16, 3), wanted)) < 3
    assert mae(sent(data, colour="as_is"), np.full((16, 16, 3), [255 - ink for ink in inks[:3]])) < 3


def test_inks_of_a_jpeg_are_read_as_browsers_read_them_with_and_without_adobes_marker(scene):
    black = np.full((HEIGHT, WIDTH, 1), 60, np.uint8)
    inks = Image.frombytes("CMYK", (WIDTH, HEIGHT), np.concatenate([255 - scene, black], axis=-1).tobytes())
    marked = saved(inks, "JPEG", quality=98, subsampling=0)
    at = marked.index(b"\xff\xee\0\x0eAdobe")
    for data in (marked, marked[:at] + marked[at + 16 :]):
        assert mae(sent(data), (scene * ((255 - 60) / 255)).round()) < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("profile", ["sRGB", "garbage", "of another mode"])
def test_a_file_whose_profile_changes_nothing_is_passed_through(scene, grey, kind, profile):
    body = b"no profile" if profile == "garbage" else ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if profile == "of another mode" and kind == "WEBP":
        pytest.skip("WebP has no grey")
    image = Image.fromarray(grey if profile == "of another mode" else scene)
    data = saved(image, kind, icc_profile=body)
    encoded = encode_image(data, LIMITS, None)
    assert encoded.is_untouched
    assert encoded.data == data


def test_colours_as_they_are_leave_a_file_untouched(scene):
    data = saved(Image.fromarray(scene), "JPEG", icc_profile=icc(*WIDE["ProPhoto"]))
    assert encode_image(data, LIMITS | {"colour": "as_is"}, None).is_untouched
    assert not encode_image(data, LIMITS, None).is_untouched


# damage


@pytest.fixture(scope="module")
def photograph():
    """A JPEG with much detail."""
    noise = np.random.default_rng(3).normal(0, 4, (300, 400, 3)).cumsum(axis=1)
    return saved(Image.fromarray((noise - noise.min()).clip(0, 255).astype(np.uint8)), "JPEG", quality=90)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        *(({}, part) for part in ((0.3, None), (0.7, None), (0.4, 0.6))),
        *(({"optimize": True}, part) for part in ((0.3, None), (0.7, None), (0.4, 0.6))),
        ({"progressive": True}, (0.3, None)),
    ],
)
def test_a_part_that_was_filled_with_zeros_is_damage(photograph, part, options):
    data = saved(Image.open(io.BytesIO(photograph)), "JPEG", quality=90, **options)
    start = int(part[0] * len(data))
    end = len(data) - 2 if part[1] is None else int(part[1] * len(data))
    holed = data[:start] + bytes(end - start) + data[end:]
    for budget_px in (None, 100 * 100):
        with pytest.raises(ItemFailure, match="zeros stand in place of a part") as failure:
            encode_image(holed, LIMITS, budget_px)
        assert failure.value.reason is Reason.UNREADABLE_IMAGE
    assert encode_image(holed, LIMITS | {"damaged": "send"}, None).is_untouched


@pytest.mark.parametrize("colour", [(128, 128, 128), (0, 0, 0), (200, 10, 60)])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_zeros_that_are_a_flat_area_are_no_damage(photograph, colour, options):
    image = Image.new("RGB", (1000, 1000), colour)
    image.paste(Image.open(io.BytesIO(photograph)), (100, 0))
    flat = saved(image, "JPEG", **options)
    assert bytes(512) in flat or not options.get("optimize")
    assert encode_image(flat, LIMITS, None).data == flat


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_a_truncated_picture_is_sent_if_that_is_wanted(photograph, kind):
    image = Image.open(io.BytesIO(photograph))
    data = saved(image, kind)
    cut = data[: len(data) * 2 // 3]
    assert reason(cut).reason is Reason.UNREADABLE_IMAGE
    levels = sent(cut, damaged="send")
    assert mae(levels[:100], sent(data)[:100]) < 2 or kind == "BMP"  # a BMP begins below
    assert reason(cut).reason is Reason.UNREADABLE_IMAGE


# answers of earlier versions


def test_only_files_that_were_sent_as_another_picture_are_new(scene, grey):
    p3 = icc(*WIDE["ProPhoto"])
    image = Image.fromarray(scene)
    as_before = [
        saved(image, "JPEG"),
        saved(image, "PNG"),
        saved(image.convert("RGBA"), "PNG"),
        saved(image, "TIFF"),
        saved(image, "GIF"),
        saved(image, "BMP"),
        tiff(deep(scene), photometric="rgb"),
    ]
    new = [
        saved(image, "JPEG", icc_profile=p3),
        saved(image.convert("P"), "PNG", icc_profile=p3),
        tiff(deep(grey, 12)),
        tiff(deep(scene), photometric="rgb", compression="lzw"),
        bmp_with_alpha(scene, 0),
        saved(empty(), "GIF", save_all=True, append_images=[image]),
        drawn((255, 255, 255), "PNG"),
    ]
    for budget_px in (None, 1024):
        found = [encode_image(data, LIMITS, budget_px).is_new for data in as_before + new]
        assert found == [is_new_picture(data, LIMITS, budget_px) for data in as_before + new]
        assert found == [False] * len(as_before) + [True] * len(new)
    turned, budgets_px = saved(image.transpose(SIDEWAYS[6]), "TIFF", tiffinfo={274: 6}), (None, WIDTH * HEIGHT, 1024)
    found = [encode_image(turned, LIMITS, budget_px).is_new for budget_px in budgets_px]
    assert found == [is_new_picture(turned, LIMITS, budget_px) for budget_px in budgets_px]
    assert found == [False, False, True]  # it was squashed where it was shrunk


# what a server gets


def on_white(scene):
    """A TIFF of colours that include their alpha, and show the scene on white."""
    alpha = 255 - scene.min(axis=-1, keepdims=True) // 2
    values = np.concatenate([scene - (255 - alpha), alpha], axis=-1)
    return tiff(deep(values), photometric="rgb", extrasamples=["assocalpha"])


def without_data(grey):
    """A TIFF of fractions, with NaN in the place of white."""
    values = (grey / 255).astype(np.float32)
    values[grey == 255] = np.nan
    return tiff(values)


#: Kinds of which each shows the scene, by name.
SHOWN = {
    "turned.tif": lambda scene: saved(Image.fromarray(scene).transpose(SIDEWAYS[6]), "TIFF", tiffinfo={274: 6}),
    "turned and large.tif": lambda scene: saved(
        Image.fromarray(scene).resize((4 * WIDTH, 4 * HEIGHT)).transpose(SIDEWAYS[6]),
        "TIFF",
        compression="tiff_lzw",
        tiffinfo={274: 6},
    ),
    "inks.tif": lambda scene: tiff(
        deep(np.concatenate([255 - scene, 0 * scene[..., :1]], -1)), photometric="separated"
    ),
    "infrared.tif": lambda scene: tiff(
        deep(np.concatenate([scene, scene[..., :1]], -1)), photometric="rgb", extrasamples=["unspecified"]
    ),
    "alpha.tif": on_white,
    "planes.tif": lambda scene: tiff(
        np.moveaxis(deep(scene), -1, 0), photometric="rgb", planarconfig="separate", bigtiff=True
    ),
    "zstd.tif": lambda scene: tiff(deep(scene), photometric="rgb", compression="zstd"),
    "fractions.tif": lambda scene: tiff((scene / 255).astype(np.float32), photometric="rgb"),
    "alpha.bmp": lambda scene: bmp_with_alpha(scene, 0),
    "pages.png": lambda scene: saved(empty(), "PNG", save_all=True, append_images=[Image.fromarray(scene)]),
    "wide.png": lambda scene: saved(
        wide_picture(scene, icc(*WIDE["ProPhoto"])), "PNG", icc_profile=icc(*WIDE["ProPhoto"])
    ),
    "wide.jpg": lambda scene: saved(
        wide_picture(scene, icc(*WIDE["ProPhoto"])),
        "JPEG",
        quality=98,
        subsampling=0,
        icc_profile=icc(*WIDE["ProPhoto"]),
    ),
    "text.png": lambda scene: png_with(scene, ODD_CHUNKS["large zTXt"]),
    "exif.png": lambda scene: saved(
        Image.fromarray(scene).transpose(SIDEWAYS[6]), "PNG", exif=ODD_EXIF["XResolution in letters"]
    ),
    **{
        f"exif {odd}.jpg": lambda scene, odd=odd: saved(
            Image.fromarray(scene).transpose(SIDEWAYS[6]), "JPEG", quality=95, subsampling=0, exif=ODD_EXIF[odd]
        )
        for odd in ("XResolution in letters", "ResolutionUnit in letters")
    },
    "phone.heic": lambda scene: heif(Image.fromarray(scene)),
    "new.jxl": lambda scene: NEW_KINDS["JXL"](Image.fromarray(scene)),
}
#: Kinds of which each shows the scene in grey.
SHOWN_GREY = {
    "negative.tif": lambda grey: tiff(65535 - deep(grey), photometric="miniswhite", compression="lzw"),
    "12 bits.tif": lambda grey: tiff(deep(grey, 12)),
    "nodata.tif": without_data,
    "empty first.gif": lambda grey: saved(empty(), "GIF", save_all=True, append_images=[Image.fromarray(grey)]),
}


def test_the_requests_to_the_server_show_what_a_person_sees(scene, photograph, images, scripted, publish, jobs):
    answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    scripted.answers = [(200, {}, answer)]
    publish(scripted.url)
    shown = {}
    for number, (name, make) in enumerate((SHOWN | SHOWN_GREY).items()):
        shown[name] = np.roll(scene, (5 * number, 11 * number), axis=(0, 1))
        if name in SHOWN_GREY:
            shown[name] = np.asarray(Image.fromarray(shown[name]).convert("L")).copy()
            shown[name][40:44, 50:60] = 255
        (images.path / name).write_bytes(make(shown[name]))
    hole = slice(len(photograph) // 3, len(photograph) // 2)
    holed = photograph[: hole.start] + bytes(hole.stop - hole.start) + photograph[hole.stop :]
    refused = {"raw.dng": camera_raw(scene), "drawing.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n", "hole.jpg": holed}
    for name, data in (refused | {"._a.jpg": b"\0\x05\x16\x07"}).items():
        (images.path / name).write_bytes(data)
    (job,) = jobs(changes={"client": {"images": {"max_pixels": WIDTH * HEIGHT}}})
    ChunkRun(job).run()
    _, lines = read_chunk(job.result)
    outcomes = {line["id"]: line.get("failure") for line in lines}
    assert outcomes == dict.fromkeys(shown) | dict.fromkeys(refused, Reason.UNREADABLE_IMAGE)
    got = []
    for _, body in scripted.requests:
        (url,) = [part["image_url"]["url"] for part in body["messages"][0]["content"] if "image_url" in part]
        got.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")))
    assert len(got) == len(shown)
    for name, levels in shown.items():
        assert min(mae(picture, levels) for picture in got) < 3, name


# all kinds in one run

READABLE = {
    **{f"plain.{kind.lower()}": lambda image, kind=kind: saved(image, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF")},
    "heic.heic": heif,
    "avif.avif": NEW_KINDS["AVIF"],
    "jp2.jp2": NEW_KINDS["JPEG2000"],
    "jxl.jxl": NEW_KINDS["JXL"],
    "content": heif,
    "named.jpg": NEW_KINDS["AVIF"],
    "12 bits.tif": lambda image: tiff(deep(np.asarray(image.convert("L")), 12)),
    "lzw.tiff": lambda image: tiff(deep(np.asarray(image)), photometric="rgb", compression="lzw"),
    "wide.jpg": lambda image: saved(image, "JPEG", icc_profile=icc(*WIDE["Adobe RGB"])),
    "odd.png": lambda image: png_with(np.asarray(image), ODD_CHUNKS["large zTXt"]),
}
UNREADABLE = {"text.jpg": b"text", "page.png": b"%PDF-1.7", "raw.tif": b"II*\0", "cut.heic": b"\0\0\0\x18ftypheic"}
SKIPPED = {"._a.jpg": b"\0\x05\x16\x07", "clip.mp4": b"video", "notes.txt": b"text", "__MACOSX/a.jpg": b"x"}


@pytest.mark.slow
def test_every_file_of_a_folder_of_all_kinds_is_answered_or_fails_or_is_counted_as_skipped(
    scene, images, server, jobs, make_config
):
    copies = 14
    for number in range(copies):
        folder = images.path / str(number)
        (folder / "__MACOSX").mkdir(parents=True)
        picture = Image.fromarray(np.roll(scene, number, axis=1))
        made = {name: make(picture) for name, make in READABLE.items()}
        for name, data in (made | UNREADABLE | SKIPPED).items():
            (folder / name).write_bytes(data)
    (job,) = jobs()
    ChunkRun(job).run()
    _, lines = read_chunk(job.result)
    lines = list(lines)
    failures = {line["id"] for line in lines if "failure" in line}
    assert failures == {f"{number}/{name}" for number in range(copies) for name in UNREADABLE}
    assert {line["failure"] for line in lines if "failure" in line} == {Reason.UNREADABLE_IMAGE}
    config = make_config({"qa": None})
    layout = Layout(config.output_dir, "tiny")
    skipped = load_plan(layout, "captions").skipped
    assert skipped == dict.fromkeys(("macOS ._ files", "mp4", "txt", "in __MACOSX"), copies)
    files = copies * (len(READABLE) + len(UNREADABLE) + len(SKIPPED))
    assert files >= 300
    assert len(lines) + sum(skipped.values()) == files
    report = audit(config, layout, [("", "captions")])
    assert report.items == len(lines)
    assert report.skipped == skipped
    assert report.counts[FindingKind.UNREADABLE_IMAGE] == len(failures)
