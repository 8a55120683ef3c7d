"""Image formats: which are read, by their suffixes and first bytes, and what other files are."""

#: {suffix of image files: the format, by Pillow's name, that it promises}
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF"),
    **dict.fromkeys((".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"), "JPEG2000"),
    **{".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".avif": "AVIF", ".jxl": "JXL"},
}
#: Raised where files are sent as other pictures than before: their answers are looked at anew, and those about another
#: picture are asked for again.
DECODING_VERSION = 2
#: The formats and the suffixes of files that may be sent as another picture since then. Of JPEG, PNG and WebP few are.
DECODED_ANEW = ("TIFF", "GIF", "BMP")
RAW_SUFFIXES = (".dng", ".cr2", ".nef", ".arw", ".pef", ".orf", ".rw2", ".raf", ".cr3", ".srw")
#: All that Pillow may open, by its names: none of them starts another program.
READ_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "PPM", "ICO", "PCX")
#: Many phones write MPO: a JPEG with a second picture after it, which JPEG decoders ignore.
JPEG_FORMATS = ("JPEG", "MPO")
#: Bytes at the start of a file that `looks_like_image` needs.
SNIFF_BYTES = 16
#: The first bytes of a TIFF, and of a BigTIFF, in either byte order.
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: {format: what its files begin with}
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": TIFF_MAGIC,
    "JPEG2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "JXL": (b"\0\0\0\x0cJXL \r\n\x87\n",),
}
#: The first bytes of JPEG XL without a container: too few to know a file by that has no such suffix.
BARE_JXL = b"\xff\x0a"
#: The brands of the container that HEIF and AVIF share.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
#: What a file is that may bear the name of an image, and how such files begin.
OTHER_MAGIC = {
    "a PDF document": (b"%PDF",),
    "a Photoshop document": (b"8BPS",),
    "a PostScript document": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "an SVG drawing": (b"<svg", b"<?xml"),
    "a camera raw": (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"MMOR", b"FOVb"),
    "metadata of macOS": (b"\0\x05\x16\x07",),
}


def has_image_suffix(name: str) -> bool:
    return promised_format(name) is not None


def promised_format(name: str) -> str | None:
    """The format, by Pillow's name, that a file's suffix promises; None for any other suffix."""
    dot = name.rfind(".")
    return SUFFIXES.get(name[dot:].lower()) if dot >= 0 else None


def is_decoded_anew(name: str) -> bool:
    """Whether a file of this name may be sent as another picture since `DECODING_VERSION`."""
    return promised_format(name) in DECODED_ANEW or name.lower().endswith(RAW_SUFFIXES)


def looks_like_image(head: bytes) -> bool:
    """Whether a file's first bytes are those of a format with a suffix in SUFFIXES."""
    kind = identify(head)
    return kind is not None and not head.startswith(BARE_JXL) and (kind != "BMP" or head[6:10] == b"\0\0\0\0")


def identify(head: bytes) -> str | None:
    """The format, by Pillow's name, of a file's first bytes; None for one that is not told by them."""
    for kind, beginnings in MAGIC.items():
        if head.startswith(beginnings):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        if any(brand in head[8:64] for brand in AVIF_BRANDS):
            return "AVIF"
        return "HEIF" if head[8:12] in HEIF_BRANDS else None
    if head.startswith(BARE_JXL):
        return "JXL"
    return "BMP" if head[:2] == b"BM" else None


def other_kind(head: bytes) -> str | None:
    """What a file is that is no image that is read, with its article; None if that is not known."""
    for kind, beginnings in OTHER_MAGIC.items():
        if head.startswith(beginnings):
            return kind
    if head[4:8] == b"ftyp":
        return "a camera raw" if head[8:12] == b"crx " else "a video"
    return None
