"""One model, trained at several sites that do not show each other their samples, by ``invar federate``.

:func:`simulate` is all rounds in this process, for papers and tests. Apart, the sites begin with the model of :func:`init`; in
each round every site does a :func:`step`, and :func:`merge` makes the next model of what they send.

Where a function takes a recipe it takes ``set``, ``seed``, ``device`` and ``threads`` as :func:`invar.train` does, and ``force`` where it
writes a directory; other options are the command's: ``invar federate step --help``. All but :func:`merge` are done by ``invar-learn``,
and raise :class:`invar.NotInstalled` without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ._command import call
from ._events import OnEvent
from ._stages import Directory, Paths, listed

__all__ = ["Global", "Simulation", "Update", "client", "init", "membership", "merge", "simulate", "step"]


class Global(Directory):
    """The model of all sites after a round, and keys of their samples: ``invar.embed`` takes it as it takes a run."""

    @property
    def facts(self) -> dict[str, Any]:
        """Round, digests, and what each site had part in it."""
        return self._object("global.json")


class Simulation(Global):
    """The model after the last round of :func:`simulate`."""

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """A dict a round: loss, change and bytes of each site, number and age of the keys. ``polars.DataFrame`` takes them."""
        return self._lines("rounds.jsonl")


class Update(Directory):
    """What a site sends after its steps of a round."""

    @property
    def facts(self) -> dict[str, Any]:
        """Site, round, rows, steps, loss, length of the change, digests, noise."""
        return self._object("update.json")


def simulate(
    recipe: str | os.PathLike[str],
    *,
    data: Paths,
    out: str | os.PathLike[str],
    on_event: OnEvent | None = None,
    **options: Any,
) -> Simulation:
    """Trains at several sites in one process. One that was interrupted continues when it is called again.

    :param recipe: a file, or the name of a built-in recipe: ``reads/federated``
    :param data: what ``invar.ingest`` returned, each a site
    :param out: the directory to create or continue
    :param options: ``stale=10``, ``lost=0.25``, ``uneven=0.5``, ``set={"federation.rounds": 50}``
    """
    given = {"data": listed(data), "out": out, **options}
    return Simulation(out, call(["federate", "simulate"], [recipe], on_event=on_event, **given))


def init(
    recipe: str | os.PathLike[str],
    *,
    data: Paths,
    out: str | os.PathLike[str],
    on_event: OnEvent | None = None,
    **options: Any,
) -> Global:
    """Makes the model that all sites begin with: its weights are drawn from the seed.

    :param recipe: a file, or the name of a built-in recipe: the same at all sites
    :param data: those of any site: only the shape of a view is used
    :param out: the directory to create
    """
    return Global(out, call(["federate", "init"], [recipe], on_event=on_event, data=listed(data), out=out, **options))


def step(
    recipe: str | os.PathLike[str],
    *,
    data: Paths,
    global_: Global | str | os.PathLike[str],
    out: str | os.PathLike[str],
    site: str | None = None,
    state: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Update:
    """Trains at a site for the steps of a round.

    :param recipe: a file, or the name of a built-in recipe: the same at all sites
    :param data: the site's own; several are used together
    :param global_: the model of the round before
    :param out: the directory of the update to create
    :param site: its name, unlike that of any other [default: of a digest of the data]
    :param state: a directory of what the site keeps from round to round, its optimizer above all
    :param options: ``bank="bank.parquet"``
    """
    given = {"data": listed(data), "global": global_, "out": out, "site": site, "state": state, **options}
    return Update(out, call(["federate", "step"], [recipe], on_event=on_event, **given))


def merge(
    updates: Update | str | os.PathLike[str] | Iterable[Update | str | os.PathLike[str]],
    *,
    global_: Global | str | os.PathLike[str],
    out: str | os.PathLike[str],
    skip_refused: bool = False,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Global:
    """Averages the updates of a round, and collects their keys.

    :param updates: what :func:`step` returned or wrote at each site; their order changes nothing
    :param global_: the model that they began with
    :param out: the directory of the next model to create
    :param skip_refused: go on without updates that cannot be merged; ``summary["left_out"]`` has the reasons
    :raises BadInput: an update is of another recipe, round or model, or damaged; site and both values are named
    """
    given = {"global": global_, "out": out, "skip_refused": skip_refused, **options}
    return Global(out, call(["federate", "merge"], listed(updates), on_event=on_event, **given))


def membership(
    recipe: str | os.PathLike[str],
    *,
    update: Update | str | os.PathLike[str],
    global_: Global | str | os.PathLike[str],
    members: Paths,
    others: Paths,
    samples: int | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Measures how well samples that a site trained on can be told from others by what it sends.

    :param update: what the site sent
    :param global_: the model that it began with
    :param members: data that it trained on
    :param others: data like them that it did not train on
    :param samples: number of samples of each kind [default: 1000]
    :return: ``auc_update`` and ``auc_bank``, areas under the ROC curve: 0.5 is chance; ``auc_bank`` is None without keys
    """
    given = {"update": update, "global": global_, "members": listed(members), "others": listed(others), **options}
    return call(["federate", "membership"], [recipe], on_event=on_event, samples=samples, **given)


def client(
    recipe: str | os.PathLike[str],
    *,
    data: Paths,
    superlink: str,
    key: str | os.PathLike[str],
    state: str | os.PathLike[str],
    site: str | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Joins a Flower SuperLink as a node and does the steps that it asks for, until it is interrupted (Ctrl-C) or refused.

    :param superlink: its address
    :param key: the file of the node's private key, as ``ssh-keygen -t ecdsa -b 384`` makes it
    :param state: a directory of what the site keeps from round to round
    :param options: ``root_certificates="ca.pem"``, ``insecure=True``
    """
    given = {"data": listed(data), "superlink": superlink, "key": key, "state": state, "site": site, **options}
    return call(["federate", "client"], [recipe], on_event=on_event, **given)
