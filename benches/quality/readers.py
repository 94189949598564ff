"""Compares the image readers with tifffile, rosettasciio, mrcfile and Pillow, file by file and page by page.

    cargo build --release -p invar-micrographs --example dump
    python benches/quality/readers.py target/release/examples/dump DIRECTORY...

Prints a line a file: whether shape, number type and every value agree, the pixel size here and there, and for JPEG the
largest difference (its decoders round, and enlarge halved colours, differently). Ends with 1 where something that should agree does not.
Needs numpy, tifffile, imagecodecs, rosettasciio, mrcfile and Pillow.
"""

import hashlib
import json
import logging
import pathlib
import subprocess
import sys
import warnings

import mrcfile
import numpy as np
import tifffile
from PIL import Image

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".mrc", ".dm3", ".dm4", ".gz"}
NM = {"m": 1e9, "mm": 1e6, "µm": 1e3, "um": 1e3, "nm": 1.0, "Å": 0.1}


def without_alpha(page, array):
    extra = [int(kind) for kind in getattr(page, "extrasamples", ())]
    if extra and extra[-1] in (1, 2):
        array = array[..., :-1]
    return array


def tiff_pages(path):
    with tifffile.TiffFile(path) as file:
        kept = [page for page in file.pages if not int(page.subfiletype) & 0b101] or file.pages[:1]
        if file.is_imagej and len(file.pages) == 1 and (file.imagej_metadata or {}).get("images", 1) > 1:
            return list(file.asarray().reshape((-1, *file.pages[0].shape)))
        for page in kept:
            array = page.asarray()
            if int(page.planarconfig) == 2 and page.samplesperpixel > 1:
                array = np.moveaxis(array, 0, -1)
            yield without_alpha(page, array)


def raster_pages(path):
    image = Image.open(path)
    if image.mode in ("P", "PA", "1"):
        image = image.convert("RGB" if image.mode != "1" else "L")
    array = np.asarray(image)
    if image.mode in ("LA", "RGBA"):
        array = array[..., :-1].squeeze()
    yield array.astype(np.uint16) if array.dtype == np.int32 else array


def dm_pages(path):
    from rsciio.digitalmicrograph import file_reader

    for image in file_reader(str(path)):
        data = image["data"]
        if data.dtype.names:
            data = np.stack([data[name] for name in "RGB"], axis=-1)
            yield from data.reshape((-1, *data.shape[-3:]))
        else:
            yield from data.reshape((-1, *data.shape[-2:]))


def mrc_pages(path):
    with mrcfile.open(path, permissive=True) as file:
        data = file.data
        for page in data.reshape((-1, *data.shape[-2:])):
            yield page.astype(np.float32) if page.dtype == np.float16 else np.array(page)


def peer_pages(path):
    match path.suffix.lower():
        case ".tif" | ".tiff":
            return "tifffile", tiff_pages(path)
        case ".mrc":
            return "mrcfile", mrc_pages(path)
        case ".dm3" | ".dm4":
            return "rosettasciio", dm_pages(path)
        case _:
            return "Pillow", raster_pages(path)


def peer_pixel_sizes(path, num_pages):
    """For each page, (x, y) in nanometres as rosettasciio has it, or None; a scale without a unit of length is none."""
    from rsciio import digitalmicrograph, mrc, tiff

    reader = {".tif": tiff, ".tiff": tiff, ".mrc": mrc, ".dm3": digitalmicrograph, ".dm4": digitalmicrograph}
    module = reader.get(path.suffix.lower())
    if module is None:
        return [None] * num_pages
    images = module.file_reader(str(path))
    sizes = [pixel_size(image["axes"]) for image in images]
    return sizes if len(sizes) == num_pages else sizes[:1] * num_pages


def pixel_size(axes):
    by_name = {str(axis["name"]): axis for axis in axes}
    try:
        x, y = (by_name.get("x") or by_name["width"]), (by_name.get("y") or by_name["height"])
        size = tuple(float(axis["scale"]) * NM[axis["units"]] for axis in (x, y))
    except (KeyError, TypeError):
        return None
    return size if min(size) > 0 else None


def compare(path, lines, dump):
    peer, pages = peer_pages(path)
    if "error" in lines[0]:
        return peer, "error", lines[0]["error"].split(": ", 1)[-1][:100]
    try:
        pages = list(pages)
    except Exception as error:
        return peer, "peer fails", str(error)[:60]
    if len(pages) != len(lines):
        return peer, "DIFFERS", f"{len(lines)} pages, not {len(pages)}"
    for line, page in zip(lines, pages):
        shape = list(page.shape) + [1] * (3 - page.ndim)
        kind = {"bool": "uint8", "float16": "float32"}.get(page.dtype.name, page.dtype.name)
        if shape != line["shape"] or kind != line["type"]:
            return peer, "DIFFERS", f"{line['shape']} {line['type']}, not {shape} {page.dtype}"
        values = np.ascontiguousarray(page.astype(np.dtype(kind).newbyteorder("<")))
        if hashlib.sha256(values.tobytes()).hexdigest() == line["sha256"]:
            continue
        ours = subprocess.run([dump, "--raw", path], stdout=subprocess.PIPE, check=True).stdout
        here = np.frombuffer(ours, values.dtype)[: values.size].astype(float)
        difference = np.abs(here - values.ravel().astype(float))
        text = f"largest difference {difference.max():g}, mean {difference.mean():.4f}"
        is_jpeg = path.suffix.lower() in (".jpg", ".jpeg") or (peer == "tifffile" and has_jpeg(path))
        return peer, "rounding" if is_jpeg and difference.max() <= 8 and difference.mean() < 0.5 else "DIFFERS", text
    return peer, "equal", f"{len(pages)} x {lines[0]['shape']} {lines[0]['type']}"


def has_jpeg(path):
    with tifffile.TiffFile(path) as file:
        return int(file.pages[0].compression) == 7


def same_size(ours, theirs):
    if ours is None or theirs is None:
        return ours is None and theirs is None
    return np.allclose((ours["x_nm"], ours["y_nm"]), theirs, rtol=1e-6)


def main(dump, directories):
    num_bad = num_files = 0
    for directory in map(pathlib.Path, directories):
        for path in sorted(file for file in directory.rglob("*") if file.suffix.lower() in SUFFIXES):
            output = subprocess.run([dump, path], stdout=subprocess.PIPE, check=True, text=True).stdout
            lines = [json.loads(line) for line in output.splitlines()]
            peer, verdict, what = compare(path, lines, dump)
            ours, theirs = [line.get("pixel_size") for line in lines], [None] * len(lines)
            try:
                theirs = peer_pixel_sizes(path, len(lines))
            except Exception as error:
                print(f"  (rosettasciio: {error})"[:120])
            stated = next((size for size in ours if size), None)
            size = f"{stated['x_nm']:.6g} x {stated['y_nm']:.6g} nm ({stated['source']})" if stated else "-"
            note = "" if all(map(same_size, ours, theirs)) or "error" in lines[0] else f"  PEER: {theirs}"
            print(f"{verdict:10} {path.relative_to(directory.parent)!s:62} {peer:12} {what:44} {size}{note}")
            num_files += 1
            num_bad += verdict == "DIFFERS"
    print(f"{num_files} files, {num_bad} differ")
    return 1 if num_bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
