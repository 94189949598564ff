// The page: everything above, put together.

const NOT_FACTS = new Set(["cluster", "probability", "distance", "key"]);

const state = { colour: null, isLog: false, tool: "move", picked: -1 };

// Counts what was asked and answered, so that a test can wait for the next answer.
function answered() {
  const root = document.documentElement;
  root.dataset.answers = String(Number(root.dataset.answers || 0) + 1);
}

function say(text) {
  byId("status").textContent = text;
}

function sections() {
  const place = byId("sections");
  const nav = byId("contents-list");
  contents.sections.forEach((section, at) => {
    const id = "section-" + at;
    const wide = (table) => element("div", { className: "wide" }, tableElement(table));
    place.append(
      element(
        "section",
        { id, "aria-labelledby": id + "-heading" },
        element("h2", { id: id + "-heading" }, section.heading),
        ...section.sentences.map((text) => element("p", null, text)),
        section.charts.length ? element("div", { className: "charts" }, ...section.charts.map(chartFigure)) : null,
        ...section.tables.map(wide),
        ...section.texts.map(([heading, text]) =>
          element("details", null, element("summary", null, heading), element("pre", null, text)),
        ),
      ),
    );
    nav.append(element("li", null, element("a", { href: "#" + id }, section.heading)));
  });
}

async function start() {
  byId("summary").append(...contents.summary.map((text) => element("p", null, text)));
  byId("notes").append(...contents.notes.map((text) => element("p", null, text)));
  const [x, y, clusters] = [
    await placesOf("x"),
    await placesOf("y"),
    headers.has("cluster") ? await columnOf("cluster") : null,
  ];
  let thumbnails = null;
  let columns = null;

  const scatter = scatterOf(x, y, {
    label: `Map of ${count(numPoints)} ${contents.noun}: what is alike lies near.`,
    isLasso: () => state.tool === "lasso",
    hover: tip,
    pick,
    lasso: (rows) => select(rows, "lasso"),
    escape: () => select(null),
    painter: told,
  });
  function told(painter) {
    const isFallback = painter.name !== "WebGL 2";
    const part =
      painter.most && numPoints > painter.most ? `, ${count(painter.most)} of ${count(numPoints)} points` : "";
    byId("fallback").hidden = !isFallback;
    byId("fallback").textContent = isFallback
      ? `This browser offers no WebGL 2: the map is drawn by Canvas 2D${part}, more slowly.`
      : "";
  }
  told(scatter.painterOf());
  const panel = selectionPanel(pick);

  // Selects rows, or with null nothing.
  function select(rows, by) {
    if (by !== "filter") {
      byId("filter").value = "";
      mistake(null);
    }
    scatter.select(rows);
    say(rows ? `${count(rows.length)} selected` : "nothing selected");
    return panel.set(rows);
  }
  function where(test) {
    const rows = [];
    for (let row = 0; row < numPoints; row++) if (test(row)) rows.push(row);
    return Uint32Array.from(rows);
  }
  function selectCluster(number) {
    select(where((row) => clusters.values[row] === number));
    byId("map-section").scrollIntoView({ block: "start" });
  }

  function tip(row, px, py) {
    const box = byId("tip");
    box.hidden = row < 0 || !columns;
    if (box.hidden) return;
    const [id, ...facts] = columns;
    const named = [state.colour, "cluster", ...contents.telling].map((name) =>
      columns.find((column) => column.name === name),
    );
    const rest = facts.filter((column) => !NOT_FACTS.has(column.name));
    const some = [...new Set([...named, ...rest])]
      .filter((column) => column && column !== id && column.at(row) !== null)
      .slice(0, 6);
    const canvas = thumbnails && thumbnails.has(row) ? thumbnails.picture(row, "") : null;
    box.replaceChildren(
      ...[
        canvas,
        element("strong", null, String(id.at(row))),
        ...some.map((column) => element("div", null, `${column.name}: ${shortened(shownOf(column, row))}`)),
      ].filter(Boolean),
    );
    const right = px + 16 + box.offsetWidth > innerWidth;
    box.style.left = (right ? px - 16 - box.offsetWidth : px + 16) + "px";
    box.style.top = Math.max(4, Math.min(py + 12, innerHeight - box.offsetHeight - 4)) + "px";
  }

  async function pick(row) {
    state.picked = row;
    scatter.focus(row);
    const place = byId("facts");
    if (row < 0) {
      place.replaceChildren(element("p", { className: "hint" }, `Click a point to see what is known of it.`));
      return;
    }
    const all = [];
    for (const name of factNames) all.push(await columnOf(name));
    if (state.picked !== row) return;
    const known = all.filter((column) => column.at(row) !== null);
    const list = known.slice(1).flatMap((column) => {
      const text = shownOf(column, row);
      return [element("dt", null, column.name), element("dd", { title: text }, shortened(text))];
    });
    place.replaceChildren(
      ...[
        thumbnails && thumbnails.has(row) ? thumbnails.picture(row, "the picked sample") : null,
        element("h3", null, String(all[0].at(row))),
        element("dl", null, ...list),
      ].filter(Boolean),
    );
    say(`picked ${all[0].at(row)}`);
  }

  async function colour(name) {
    state.colour = name;
    const column = await columnOf(name);
    const scale = scaleOf(column, state.isLog);
    if (!scale || state.colour !== name) return;
    byId("log").disabled = scale.kind !== "range" || !scale.positive;
    scatter.colour(scale);
    legend(name, scale);
    answered();
  }
  function legend(name, scale) {
    const place = byId("legend");
    place.replaceChildren(element("h3", null, name));
    if (scale.kind === "categories") {
      const shownItems = scale.items.slice(0, 60);
      place.append(
        element(
          "ul",
          null,
          ...shownItems.map((item) => {
            const dot = element("span", { className: "dot", "aria-hidden": "true" });
            dot.style.background = css(item.colour);
            const onclick = async () => {
              const column = await columnOf(name);
              await select(where((row) => column.at(row) === item.word));
              answered();
            };
            return element(
              "li",
              null,
              element(
                "button",
                { type: "button", onclick, title: item.label },
                dot,
                element("span", { className: "name" }, item.label),
                element("span", { className: "n" }, count(item.number)),
              ),
            );
          }),
        ),
      );
      if (scale.items.length > shownItems.length)
        place.append(
          element("p", { className: "hint" }, `and ${count(scale.items.length - shownItems.length)} more`),
        );
    } else if (scale.kind === "range") {
      const bar = element("div", {
        className: "ramp",
        role: "img",
        "aria-label": `from ${shown(scale.low)} to ${shown(scale.high)}`,
      });
      const stops = Array.from({ length: 11 }, (_, i) => css(onRamp(i / 10)));
      bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
      const end = (share, cut) =>
        (cut ? (share === 0 ? "\u2264 " : "\u2265 ") : "") +
        shown(scale.between(share), scale.isWhole && share !== 0.5 && !scale.log);
      place.append(
        bar,
        element(
          "div",
          { className: "ends" },
          element("span", null, end(0, scale.cut[0])),
          element("span", null, end(0.5, false)),
          element("span", null, end(1, scale.cut[1])),
        ),
      );
      if (scale.cut[0] || scale.cut[1])
        place.append(element("p", { className: "hint" }, "colours from the 1st to the 99th percentile"));
    } else place.append(element("p", { className: "hint" }, "no values"));
    legend.scale = scale;
  }

  function mistake(error, text) {
    const place = byId("filter-error");
    byId("filter").setAttribute("aria-invalid", error ? "true" : "false");
    if (!error) {
      place.replaceChildren();
      return;
    }
    const [before, word, after] = [
      text.slice(0, error.at),
      text.slice(error.at, error.at + error.length),
      text.slice(error.at + error.length),
    ];
    place.replaceChildren(
      element("code", null, before, element("mark", null, word || "\u2423"), after),
      " " + error.message,
    );
  }
  async function filter() {
    const text = byId("filter").value;
    try {
      const rows = text.trim() === "" ? null : await filtered(text);
      mistake(null);
      await select(rows, "filter");
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      mistake(error, text);
      say(error.message);
    }
    answered();
  }

  // Controls.
  const choose = byId("colour");
  for (const header of page.columns) {
    if (header.kind !== "text" && header.kind !== "difference" && header.name !== "x" && header.name !== "y")
      choose.append(element("option", { value: header.name }, header.name));
  }
  choose.addEventListener("change", () => colour(choose.value));
  byId("log").addEventListener("change", (event) => {
    state.isLog = event.target.checked;
    colour(state.colour);
  });
  byId("filter-form").addEventListener("submit", (event) => {
    event.preventDefault();
    filter();
  });
  byId("clear").addEventListener("click", () => select(null));
  byId("fit").addEventListener("click", scatter.fit);
  byId("zoom-in").addEventListener("click", () => scatter.zoom(1.5));
  byId("zoom-out").addEventListener("click", () => scatter.zoom(1 / 1.5));
  const tools = { move: byId("tool-move"), lasso: byId("tool-lasso") };
  for (const [tool, button] of Object.entries(tools)) {
    button.addEventListener("click", () => {
      state.tool = tool;
      for (const [name, each] of Object.entries(tools)) each.setAttribute("aria-pressed", String(name === tool));
      byId("stage").className = tool;
    });
  }
  byId("save-png").addEventListener("click", async () =>
    download(fileName("map", "png"), await mapPng(scatter, legend.scale, state.colour)),
  );
  byId("save-svg").addEventListener("click", () =>
    download(fileName("map", "svg"), mapSvg(scatter, legend.scale, state.colour)),
  );

  if (clusters) {
    choose.value = "cluster";
    await colour("cluster");
  } else if (choose.options.length) await colour(choose.options[0].value);
  scatter.draw();
  await pick(-1);
  panel.set(null);
  clustersTable(selectCluster);
  // The ramp has other ends on another ground.
  darkness.addEventListener("change", () => colour(state.colour));
  sections();
  document.documentElement.dataset.state = "drawn";

  // The rest while the map is looked at.
  thumbnails = await thumbnailsOf();
  await clusterGallery(thumbnails, (row) => {
    pick(row);
    byId("map-section").scrollIntoView({ block: "start" });
  });
  const all = [];
  for (const name of factNames) {
    all.push(await columnOf(name));
    await new Promise((resolve) => setTimeout(resolve));
  }
  columns = all;
  byId("filter").placeholder = exampleFilter(columns);
  document.documentElement.dataset.state = "ready";
}

// A condition that is true of about half of the points.
function exampleFilter(columns) {
  const named = [...contents.telling, ...factNames].map((name) => columns.find((column) => column.name === name));
  const first = named.find((column) => column && column.kind === "number" && !NOT_FACTS.has(column.name));
  const scale = first && rangeOf(first, false);
  if (!scale || scale.kind !== "range") return "cluster = 0";
  return `${first.name} > ${Number(((scale.low + scale.high) / 2).toPrecision(1))} and not cluster in (0, 1)`;
}

start().catch((error) => {
  document.documentElement.dataset.state = "failed";
  byId("fallback").hidden = false;
  byId("fallback").textContent =
    "This report could not be shown: " + (error && error.message) + ". It needs a browser of 2023 or later.";
  throw error;
});
