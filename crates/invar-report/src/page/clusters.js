// The table of clusters, and of pictures a row a cluster: those nearest to its middle, and the farthest.

const NEAREST = 8;
const FARTHEST = 4;

// The column of the table whose cells are long.
const LONG_CELLS = "set_apart";

// Columns that are empty are left out.
function clustersTable(onCluster) {
  const place = byId("clusters-table");
  if (!contents.clusters) {
    place.append(element("p", null, "There is no table of clusters beside these."));
    return;
  }
  const { caption, columns, rows } = contents.clusters;
  const kept = columns.map((_, at) => at).filter((at) => rows.some((row) => row[at] !== ""));
  const text = (cell) => (cell === "" || Number.isNaN(Number(cell)) ? cell : shown(Number(cell), false));
  const decorate = (line, row) => {
    const number = row[0] === "noise" ? -1 : Number(row[0]);
    const attributes = {
      type: "button",
      className: "cluster",
      "aria-label": "select " + clusterName(number),
      onclick: () => onCluster(number),
    };
    line.firstElementChild.replaceChildren(element("button", attributes, dotOf(number), row[0]));
    line.firstElementChild.className = "";
    kept.forEach((at, place) => columns[at] === LONG_CELLS && (line.children[place].className = "words"));
  };
  const cells = rows.map((row) => kept.map((at) => (at > 0 ? text(row[at]) : Number(row[0]) < 0 ? "noise" : row[0])));
  place.append(
    tableElement({ caption, columns: kept.map((at) => columns[at].replaceAll("_", " ")), rows: cells }, decorate),
  );
}

function dotOf(number) {
  const dot = element("span", { className: "dot", "aria-hidden": "true" });
  dot.style.background = css(ofPalette(number));
  return dot;
}

async function clusterGallery(thumbnails, onPick) {
  if (!thumbnails) return;
  const [cluster, distance, ids] = [
    await columnOf("cluster"),
    await columnOf("distance"),
    await columnOf(factNames[0]),
  ];
  const members = new Map();
  for (const row of thumbnails.rows) {
    const number = cluster.at(row);
    if (!members.has(number)) members.set(number, []);
    members.get(number).push(row);
  }
  const numbers = [...members.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b);
  const picture = (row) =>
    element(
      "button",
      { type: "button", className: "picture", title: String(ids.at(row)), onclick: () => onPick(row) },
      thumbnails.picture(row, String(ids.at(row))),
    );
  const lines = numbers.map((number) => {
    const sorted = members.get(number).sort((a, b) => distance.at(a) - distance.at(b) || a - b);
    const near = sorted.slice(0, NEAREST);
    const far = sorted.slice(Math.max(NEAREST, sorted.length - FARTHEST));
    return element(
      "tr",
      null,
      element("th", { scope: "row" }, dotOf(number), clusterName(number)),
      element("td", null, ...near.map(picture)),
      element("td", null, ...far.map(picture)),
    );
  });
  const head = element(
    "tr",
    null,
    ...["", "nearest to the middle", "farthest from it"].map((text) => element("th", { scope: "col" }, text)),
  );
  byId("gallery").append(
    element("h3", null, "What is in them"),
    element(
      "div",
      { className: "wide" },
      element("table", { className: "gallery" }, element("thead", null, head), element("tbody", null, ...lines)),
    ),
  );
}
