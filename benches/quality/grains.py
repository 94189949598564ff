#!/usr/bin/env python3
"""What `invar ingest micrographs` segments with nothing set, beside scikit-image's watershed pipelines. Prints a row for each set.

    grains.py DATA OUT [--sets NAME...] [--pairs NAME IMAGES LABELS] [--each] [--settings ARG...]

DATA holds what there is of (others are left out):
    grain_size_nist/             github.com/usnistgov/grain-size-analysis-tools: three pictures, boundaries inked or drawn
    grain_boundaries_mlography/  github.com/Scientific-Computing-Lab/MLography, Segmentation/unet: images/ and labels/ of 128 x 128
    particles_emps/              the EMPS data set: images/ and segmaps/
    nuclei_stardist/             img2d.tif and mask2d.tif of StarDist's example data
    superalloy_nasa/             github.com/nasa/pretrained-microscopy-models: train/ and train_annot/ (one picture)
    assorted/                    pictures without a reference: grains found and mean intercept are printed
The polycrystals are those of test-data. --pairs: pictures and label maps of equal names in two directories. --settings: what `ingest`
is given beside. INVAR (default target/release/invar) runs on one thread.

* grains: found over true ones, both inside; intercept: mean intercept length, found over true; F1: of grains inside, at an
  overlap (IoU) above 0.5; dG: greatest difference of the ASTM number, -6.64 lg of the intercept's ratio (median over a set of many);
* a drawn boundary belongs to no grain: its pixels are left out of overlaps. Ti-6Al-4V has lines that do not close: its intercepts are
  length over lines crossed, and there is no F1;
* the peer: gradient -> h-minima -> watershed, and for particles Gaussian -> Otsu -> distance -> watershed, as the gallery of
  scikit-image has them, nothing set by hand;
* CPU s a megapixel: user and system time of the whole command, hashing, tables and pictures included; of the peer its segmentation.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage as ndi
from scipy.sparse import coo_matrix
from skimage import feature, filters, io, measure, morphology, segmentation

HERE = Path(__file__).parent
TEST_DATA = HERE / "../../test-data/micrographs/polycrystals"
LEAST_PX = 12
STEP = 8


def read(path):
    image = io.imread(path)
    if image.ndim == 3:
        image = image[..., :3]
    return image


def grey(image):
    """Mean of the channels, its 1st and 99th percentile being 0 and 1."""
    image = image.astype(float)
    image = image.mean(-1) if image.ndim == 3 else image
    low, high = np.percentile(image, [1, 99])
    return (image - low) / max(high - low, 1e-9)


# ---- references -----------------------------------------------------------------------------------------------------


def between_lines(line):
    """Grains between drawn lines, grown to their middle."""
    labels = measure.label(~line, connectivity=1)
    sizes = np.bincount(labels.ravel())
    labels[(sizes < LEAST_PX)[labels]] = 0
    return segmentation.relabel_sequential(segmentation.expand_labels(labels, 50))[0]


def mlography(directory, out):
    """Fields of 256 x 256 from four squares each."""
    fields = {}
    for path in sorted((directory / "images").glob("*.png")):
        name, y, x, dy, dx = path.stem.split("-")
        fields.setdefault((name, y, x), {})[int(dy), int(dx)] = path
    out.mkdir(parents=True, exist_ok=True)
    for key, squares in sorted(fields.items()):
        if len(squares) < 4:
            continue
        image, line = np.zeros((256, 256), np.uint8), np.zeros((256, 256), bool)
        for (dy, dx), path in squares.items():
            place = np.s_[dy : dy + 128, dx : dx + 128]
            image[place] = np.asarray(Image.open(path).convert("L"))
            line[place] = np.asarray(Image.open(directory / "labels" / path.name).convert("L")) < 128
        file = out / ("ml-" + "-".join(key) + ".png")
        Image.fromarray(image).save(file)
        yield file, between_lines(line), line


def sets(data, out):
    """(set, kind, [(file, label map or None, drawn lines or None)])"""
    nist = data / "grain_size_nist"
    if nist.is_dir():
        line = read(nist / "grains_steel_highlighted_segmented.tif") > 0
        grains = between_lines(line)
        yield "nist-steel", "lines", [(nist / "grain_structures_steel.tif", grains, line)]
        yield "nist-inked", "lines", [(nist / "grains_steel_highlighted.tif", grains, line)]
        line = read(nist / "sem_alpha_beta_ti_6al_4v_segmented.tif") > 0
        yield "nist-ti64", "lines", [(nist / "sem_alpha_beta_ti_6al_4v.tif", None, line)]
    label = lambda file: read(TEST_DATA / "labels" / file.name).astype(int)
    yield "polycrystals", "lines", [(file, label(file), None) for file in sorted((TEST_DATA / "images").glob("*.tif"))]
    if (data / "grain_boundaries_mlography").is_dir():
        yield "mlography", "steps", list(mlography(data / "grain_boundaries_mlography", out / "mlography"))
    emps = data / "particles_emps"
    if emps.is_dir():
        mask = lambda file: segmentation.relabel_sequential(read(emps / "segmaps" / file.name).astype(int))[0]
        yield "emps", "particles", [(file, mask(file), None) for file in sorted((emps / "images").glob("*.png"))]
    nuclei = data / "nuclei_stardist"
    if nuclei.is_dir():
        yield "nuclei", "particles", [(nuclei / "img2d.tif", read(nuclei / "mask2d.tif").astype(int), None)]
    superalloy = data / "superalloy_nasa/train/spot3_180d_2.tif"
    if superalloy.is_file():
        mask = read(data / "superalloy_nasa/train_annot/spot3_180d_2_mask.tif").astype(int)
        blue = (mask[..., 2] > 200) & (mask[..., 0] < 80) & (mask[..., 1] < 80)
        yield "superalloy", "particles", [(superalloy, measure.label(blue, connectivity=1), None)]
    for file in sorted((data / "assorted").glob("*.jpg")):
        yield file.name, "", [(file, None, None)]


def pairs(images, labels):
    of = {file.stem: file for file in Path(labels).iterdir()}
    files = sorted(file for file in Path(images).iterdir() if file.suffix in (".tif", ".png"))
    return [(file, read(of[file.stem]).astype(int), None) for file in files]


# ---- scores ---------------------------------------------------------------------------------------------------------


def at_border(labels):
    hit = np.zeros(labels.max() + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        hit[edge] = True
    hit[0] = True
    return hit


def crossings(line, least):
    cut = np.flatnonzero(np.diff(line)) + 1
    start = np.concatenate([[0], cut])
    length = np.diff(np.concatenate([start, [len(line)]]))
    values = line[start][(line[start] != 0) & (length >= least)]
    return int((np.diff(values) != 0).sum())


def paths(array):
    """Rows, columns and both diagonals, with their length a pixel and the least stretch that counts."""
    height, width = array.shape
    yield from ((row, 1, 1) for row in array[STEP // 2 :: STEP])
    yield from ((column, 1, 1) for column in array[:, STEP // 2 :: STEP].T)
    short = min(height, width) // 2
    for a in (array, array[:, ::-1]):
        for k in range(short - height, width - short + 1, STEP * 2):
            yield np.diagonal(a, k), np.sqrt(2), 2


def intercept_px(labels):
    found = [(len(path) * unit, crossings(path, least)) for path, unit, least in paths(labels)]
    length, count = np.sum(found, axis=0)
    return length / count if count else np.inf


def intercept_of_lines_px(line):
    fat = ndi.binary_dilation(line, np.ones((3, 3))).astype(int)
    found = [(len(path) * unit, (np.diff(path) == 1).sum()) for path, unit, _ in paths(fat)]
    length, count = np.sum(found, axis=0)
    return length / max(count, 1)


def score(found, true, line):
    found, true = found.astype(np.int64), true.astype(np.int64)
    keep = np.ones(true.shape, bool) if line is None else ~line
    table = coo_matrix((np.ones(keep.sum()), (true[keep], found[keep])), shape=(true.max() + 1, found.max() + 1))
    table = table.tocsr()
    table.sum_duplicates()
    of_true, of_found = np.asarray(table.sum(1)).ravel(), np.asarray(table.sum(0)).ravel()
    cells = table.tocoo()
    grain = (cells.row > 0) & (cells.col > 0)
    row, column, both = cells.row[grain], cells.col[grain], cells.data[grain]
    hit = both / (of_true[row] + of_found[column] - both) > 0.5
    true_hit, found_hit = np.zeros(len(of_true), bool), np.zeros(len(of_found), bool)
    true_hit[row[hit]], found_hit[column[hit]] = True, True
    inside, inside_found = ~at_border(true) & (of_true > 0), ~at_border(found) & (of_found > 0)
    f1 = ((true_hit & inside).sum() + (found_hit & inside_found).sum()) / max(inside.sum() + inside_found.sum(), 1)
    intercept = intercept_px(found) / intercept_px(true)
    return {"grains": inside_found.sum() / max(inside.sum(), 1), "intercept": intercept, "f1": f1}


def scored(found, true, line):
    if true is not None:
        # A data bar that ingest cut off is no part of either.
        rows = found.shape[0]
        return score(found, true[:rows], None if line is None else line[:rows])
    if line is not None:
        return {"intercept": intercept_px(found) / intercept_of_lines_px(line)}
    return {"count": int((~at_border(found) & (np.bincount(found.ravel(), minlength=found.max() + 1) > 0)).sum()),
            "intercept_px": intercept_px(found)}


# ---- the peer -------------------------------------------------------------------------------------------------------


def peer(image, kind):
    g = grey(image)
    if kind == "particles":
        smooth = filters.gaussian(g, 1)
        mask = smooth > filters.threshold_otsu(smooth)
        if mask.mean() > 0.5:
            mask = ~mask
        mask = ndi.binary_fill_holes(mask)
        distance = ndi.distance_transform_edt(mask)
        places = feature.peak_local_max(distance, min_distance=5, labels=measure.label(mask))
        markers = np.zeros(mask.shape, int)
        markers[tuple(places.T)] = np.arange(1, len(places) + 1)
        return segmentation.watershed(-distance, markers, mask=mask)
    landscape = filters.sobel(filters.gaussian(g, 2))
    return segmentation.watershed(landscape, measure.label(morphology.h_minima(landscape, 0.03), connectivity=1))


# ---- runs -----------------------------------------------------------------------------------------------------------


def ingest(files, out, settings):
    """Label maps by file, and the seconds of the processor."""
    program = os.environ.get("INVAR", str(HERE / "../../target/release/invar"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [program, "ingest", "micrographs", *map(str, files), "--out", str(out), "--force", "-q", *settings]
    subprocess.run(command, check=True, env=dict(os.environ, RAYON_NUM_THREADS="1"), stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [read(out / "labels" / (file.stem + ".tif")) for file in files], seconds


def mean(rows, key):
    values = [row[key] for row in rows if key in row and np.isfinite(row[key])]
    middle = np.median if key == "intercept" else np.mean
    return float(middle(values)) if values else None


def cells(rows, seconds, megapixels):
    shown = lambda value, digits: "" if value is None else f"{value:.{digits}f}"
    ratios = [row["intercept"] for row in rows if row.get("intercept", 0) > 0 and np.isfinite(row["intercept"])]
    off = [abs(6.643856 * np.log10(ratio)) for ratio in ratios]
    off = (max(off) if len(off) <= 6 else float(np.median(off))) if off else None
    counted = mean(rows, "count")
    grains = shown(mean(rows, "grains"), 2) if counted is None else f"{counted:.0f} found"
    length = mean(rows, "intercept_px")
    intercept = shown(mean(rows, "intercept"), 3) if length is None else f"{length:.1f} px"
    return [grains, intercept, shown(mean(rows, "f1"), 3), shown(off, 2), f"{seconds / megapixels:.2f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--pairs", nargs=3, action="append", default=[], metavar=("NAME", "IMAGES", "LABELS"))
    parser.add_argument("--each", action="store_true", help="a row for each picture too")
    parser.add_argument("--settings", nargs=argparse.REMAINDER, default=[])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print("| set | by | grains | intercept | F1 | dG | CPU s/MP |\n|---|---|---|---|---|---|---|")
    every = list(sets(args.data, args.out)) + [(name, "lines", pairs(a, b)) for name, a, b in args.pairs]
    for name, kind, pictures in every:
        if args.sets and name not in args.sets:
            continue
        files = [file for file, _, _ in pictures]
        images = [read(file) for file in files]
        megapixels = sum(image.shape[0] * image.shape[1] for image in images) / 1e6
        found, seconds = ingest(files, args.out / name.replace(".", "-"), args.settings)
        rows = [scored(labels.astype(int), true, line) for labels, (_, true, line) in zip(found, pictures)]
        if args.each:
            for file, row in zip(files, rows):
                print("#", file.name, " ".join(f"{key} {value:.3g}" for key, value in row.items()), file=sys.stderr)
        print("|", " | ".join([f"{name} ({len(files)})", "**Invar**", *cells(rows, seconds, megapixels)]), "|", flush=True)
        start = time.process_time()
        others = [peer(image, kind) for image in images]
        seconds = time.process_time() - start
        rows = [scored(labels, true, line) for labels, (_, true, line) in zip(others, pictures)]
        print("|", " | ".join(["", "scikit-image", *cells(rows, seconds, megapixels)]), "|", flush=True)


if __name__ == "__main__":
    main()
