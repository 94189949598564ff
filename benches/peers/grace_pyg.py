"""GRACE (Zhu et al. 2020) in PyTorch Geometric with its own settings: embeddings of the nodes of a graph.

    grace_pyg.py NODES EDGES OUT.npz --graph cora|citeseer [--seed N] [--threads N]

NODES and EDGES are the tables that `invar ingest graph` takes. Needs torch, torch_geometric and numpy. Settings and architecture are
those of the authors' code (config.yaml, model.py): two layers of GCNConv, rows of features scaled to a sum of 1. Prints JSON with the
wall and CPU seconds of the training loop alone.
"""

import argparse
import csv
import gzip
import json
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch_geometric.nn import GCNConv
from torch_geometric.utils import dropout_edge, to_undirected

SETTINGS = {
    "cora": dict(lr=5e-4, hidden=128, act=F.relu, edges=(0.2, 0.4), features=(0.3, 0.4), tau=0.4, epochs=200),
    "citeseer": dict(lr=1e-3, hidden=256, act=torch.nn.PReLU(), edges=(0.2, 0.0), features=(0.3, 0.2), tau=0.9, epochs=200),
}


class Grace(torch.nn.Module):
    def __init__(self, num_features, hidden, act):
        super().__init__()
        self.first, self.second = GCNConv(num_features, 2 * hidden), GCNConv(2 * hidden, hidden)
        self.fc1, self.fc2 = torch.nn.Linear(hidden, hidden), torch.nn.Linear(hidden, hidden)
        self.act = act

    def forward(self, x, edges):
        return self.act(self.second(self.act(self.first(x, edges)), edges))

    def project(self, z):
        return F.normalize(self.fc2(F.elu(self.fc1(z))))


def half_loss(a, b, tau):
    within, between = torch.exp(a @ a.t() / tau), torch.exp(a @ b.t() / tau)
    return -torch.log(between.diag() / (within.sum(1) + between.sum(1) - within.diag()))


def masked(x, rate):
    return x * (torch.rand(x.size(1)) >= rate)


def read(nodes, edges):
    def rows(path):
        return list(csv.DictReader(gzip.open(path, "rt") if path.endswith(".gz") else open(path), delimiter="\t"))

    table = rows(nodes)
    number = {row["id"]: at for at, row in enumerate(table)}
    lists = [[int(f) for f in row["features"].split(",") if f] for row in table]
    x = torch.zeros(len(table), 1 + max(max(features, default=0) for features in lists))
    for at, features in enumerate(lists):
        x[at, features] = 1
    ends = torch.tensor([[number[row["a"]], number[row["b"]]] for row in rows(edges)]).t()
    return [row["id"] for row in table], x / x.sum(1, keepdim=True).clamp(min=1), to_undirected(ends)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("nodes")
    parser.add_argument("edges")
    parser.add_argument("out")
    parser.add_argument("--graph", choices=SETTINGS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    ids, x, edges = read(args.nodes, args.edges)
    of = SETTINGS[args.graph]
    model = Grace(x.size(1), of["hidden"], of["act"])
    optimizer = torch.optim.Adam(model.parameters(), lr=of["lr"], weight_decay=1e-5)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(of["epochs"]):
        optimizer.zero_grad()
        views = [
            model.project(model(masked(x, f), dropout_edge(edges, p=p)[0])) for p, f in zip(of["edges"], of["features"])
        ]
        loss = (half_loss(*views, of["tau"]) + half_loss(*views[::-1], of["tau"])).mean() / 2
        loss.backward()
        optimizer.step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    model.eval()
    with torch.no_grad():
        embedding = F.normalize(model(x, edges)).numpy()
    np.savez(args.out, ids=np.array(ids), embedding=embedding)
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "loss": loss.item()}))


if __name__ == "__main__":
    main()
