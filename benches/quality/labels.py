#!/usr/bin/env python3
"""What a few labels a class are worth: `invar finetune` beside scikit-learn's logistic regression on the frozen embeddings.

    labels.py RUN DATA TRUTH COLUMN WORK [--test DATA TRUTH] [--labels 1,5,10] [--seeds 10] [--set KEY=VALUE ...]

INVAR is the program (default target/release/invar). RUN is a trained model, TRUTH a table of tab-separated values with `id` and COLUMN.
For each seed so many labels a class are drawn from TRUTH; everything else with a label is predicted, or all of --test (fresh fragments,
say). Differences to the probe are paired by seed. Where other programs run beside it, GOMP_SPINCOUNT=0 saves most of the time.

The peer is `LogisticRegression(class_weight="balanced")` of scikit-learn on the embeddings of `invar embed`, with its own C = 1 and with
the best of five by its own cross-validation. Needs pyarrow and scikit-learn. --conflict takes the labels of each class apart at random
into two "runs", which are learned in place of the classes, with the contrastive loss at full weight: labels that oppose it.
"""

import argparse
import collections
import csv
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

INVAR = os.environ.get("INVAR", str(Path(__file__).resolve().parents[2] / "target/release/invar"))
RULES = ["sum", "pcgrad", "gradvac", "cagrad"]


def table(path, column):
    with open(path, newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["id"], row[column]) for row in rows if row[column]]


def write(path, rows):
    path.write_text("id\tlabel\n" + "".join(f"{name}\t{label}\n" for name, label in rows))
    return path


def drawn(rows, each, seed):
    """`each` of every class, and the rest."""
    of_class = collections.defaultdict(list)
    for name, label in rows:
        of_class[label].append(name)
    generator = random.Random(seed)
    chosen = {name for names in of_class.values() for name in generator.sample(sorted(names), min(each, len(names)))}
    return [row for row in rows if row[0] in chosen], [row for row in rows if row[0] not in chosen]


class Bench:
    def __init__(self, args):
        self.args, self.work = args, Path(args.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.test = tuple(args.test) if args.test else None

    def invar(self, *words):
        done = subprocess.run([INVAR, *map(str, words)], text=True, capture_output=True)
        if done.returncode:
            sys.exit(f"{words}\n{done.stderr}")
        return done.stdout

    def embeddings(self, data, name):
        import pyarrow.parquet as pq

        path = self.work / f"{name}.parquet"
        if not path.exists():
            self.invar("embed", "--model", self.args.run, "--data", data, "--out", path, "-q")
        columns = pq.read_table(path, columns=["id", "embedding"])
        values = columns["embedding"].combine_chunks().flatten().to_numpy().reshape(len(columns), -1)
        return dict(zip(columns["id"].to_pylist(), values))

    def peer(self, known, others, choose):
        import numpy as np
        from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

        train = self.embeddings(self.args.data, "frozen")
        test = self.embeddings(self.test[0], "frozen_test") if self.test else train
        x, y = np.array([train[name] for name, _ in known]), [label for _, label in known]
        if choose and min(collections.Counter(y).values()) >= 2:
            folds = min(5, min(collections.Counter(y).values()))
            model = LogisticRegressionCV(Cs=[0.1, 1, 10, 100, 1000], cv=folds, class_weight="balanced", max_iter=5000)
        else:
            model = LogisticRegression(class_weight="balanced", max_iter=5000)
        model.fit(x, y)
        right = model.predict(np.array([test[name] for name, _ in others])) == np.array([label for _, label in others])
        return float(right.mean())

    def finetuned(self, known, others, recipe, seed, settings):
        labels, truth, out = write(self.work / "known.tsv", known), write(self.work / "others.tsv", others), self.work / "tuned"
        words = ["--model", self.args.run, "--data", self.args.data, "--labels", labels, "--out", out, "--seed", seed]
        words += [word for setting in [*self.args.set, *settings] for word in ("--set", setting)]
        summary = json.loads(self.invar("finetune", recipe, *words, "--force", "-q", "--json"))
        data = self.test[0] if self.test else self.args.data
        words = ["--model", out, "--data", data, "--labels", truth, "--out", self.work / "predictions.parquet"]
        found = json.loads(self.invar("predict", *words, "--force", "-q", "--json"))["columns"][0]["measured"]
        return found["accuracy"], found["calibration_error"], summary

    def line(self, each, name, figures, base):
        accuracy = [figure[0] for figure in figures]
        errors = [figure[1] for figure in figures if figure[1] is not None]
        difference = [a - b for a, b in zip(accuracy, base)]
        error = statistics.stdev(difference) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
        calibration = f"{statistics.mean(errors):.3f}" if errors else ""
        print(f"| {each} | {name} | {statistics.mean(accuracy):.4f} | {statistics.mean(difference):+.4f} +- {error:.4f} | {calibration} |", flush=True)

    def run(self):
        rows = table(self.args.truth, self.args.column)
        fresh = table(self.test[1], self.args.column) if self.test else None
        print("| labels a class | | accuracy | to the probe | calibration error |\n|---|---|---|---|---|")
        for each in map(int, self.args.labels.split(",")):
            draws = [(seed, known, fresh or rest) for seed in range(self.args.seeds) for known, rest in [drawn(rows, each, seed)]]
            probe = [self.finetuned(known, others, "finetune/probe", seed, []) for seed, known, others in draws]
            base = [figure[0] for figure in probe]
            self.line(each, "scikit-learn, C = 1", [(self.peer(known, others, False), None) for _, known, others in draws], base)
            self.line(each, "scikit-learn, C by cross-validation", [(self.peer(known, others, True), None) for _, known, others in draws], base)
            self.line(each, "finetune/probe", probe, base)
            for recipe in ["finetune/full", "finetune/head"]:
                self.line(each, recipe, [self.finetuned(known, others, recipe, seed, []) for seed, known, others in draws], base)
            for rule in RULES[1:] if self.args.rules else []:
                settings = [f"train.harmony.method={rule}"]
                figures = [self.finetuned(known, others, "finetune/full", seed, settings) for seed, known, others in draws]
                self.line(each, f"finetune/full, {rule}", figures, base)

    def conflict(self):
        """The losses over the last steps where labels part what pairs join: the two halves of each class."""
        rows = table(self.args.truth, self.args.column)
        print("| rule | info-nce | classification | cosine | conflicts |\n|---|---|---|---|---|")
        for rule in RULES:
            found = []
            for seed in range(self.args.seeds):
                generator = random.Random(seed)
                known = [(name, f"run {generator.randrange(2)}") for name, _ in rows]
                settings = [f"train.harmony.method={rule}", "train.harmony.measure=true", "labels.contrastive=1", "labels.weight=3"]
                settings += ["labels.held_out=0", "labels.share=0"]
                self.finetuned(known, known, "finetune/full", seed, settings)
                lines = [json.loads(line) for line in (self.work / "tuned/metrics.jsonl").read_text().splitlines()]
                last = [line for line in lines if "info-nce" in line][-20:]
                keys = ["info-nce", "classification", "gradient_cosine", "gradient_conflicts"]
                found.append([statistics.mean(line[key] for line in last) for key in keys])
            means = [statistics.mean(column) for column in zip(*found)]
            print(f"| {rule} | {means[0]:.4f} | {means[1]:.4f} | {means[2]:+.3f} | {means[3]:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["run", "data", "truth", "column", "work"]:
        parser.add_argument(name)
    parser.add_argument("--test", nargs=2, metavar=("DATA", "TRUTH"))
    parser.add_argument("--labels", default="1,5,10")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--rules", action="store_true", help="the rules of harmony, too")
    parser.add_argument("--conflict", action="store_true")
    args = parser.parse_args()
    bench = Bench(args)
    bench.conflict() if args.conflict else bench.run()


if __name__ == "__main__":
    main()
