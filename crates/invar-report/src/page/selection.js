// What is selected: a table of its first rows, and all of it as CSV.

const TABLE_ROWS = 200;

function csvCell(value) {
  const text = value === null ? "" : String(value);
  return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}

async function csvOf(rows) {
  const columns = [];
  for (const name of factNames) columns.push(await columnOf(name));
  const value = (column, row) => {
    const found = column.at(row);
    // Single precision has seven digits.
    return typeof found === "number" && column.isFloat ? Number(found.toPrecision(page.rounded ? 4 : 7)) : found;
  };
  const lines = [factNames.map(csvCell).join(",")];
  for (const row of rows) lines.push(columns.map((column) => csvCell(value(column, row))).join(","));
  return new Blob([lines.join("\n") + "\n"], { type: "text/csv" });
}

function selectionPanel(onPick) {
  let [rows, sortedBy, falling] = [null, null, false];

  async function show() {
    byId("download").disabled = byId("clear").disabled = !rows;
    const table = byId("rows");
    if (!rows) {
      byId("count").textContent =
        "Nothing is selected. Draw a lasso, click a cluster or a legend entry, or type a condition.";
      table.replaceChildren();
      return;
    }
    const share = numPoints > 0 ? (100 * rows.length) / numPoints : 0;
    const more = rows.length > TABLE_ROWS ? `; the first ${TABLE_ROWS} are shown, the CSV has all` : "";
    byId("count").textContent =
      `${count(rows.length)} of ${count(numPoints)} ${contents.noun} selected (${share.toFixed(1)} %)${more}`;
    const wanted = rows;
    const columns = [];
    for (const name of factNames) columns.push(await columnOf(name));
    if (wanted !== rows) return;
    const sorted =
      sortedBy === null
        ? rows
        : sort(
            rows,
            columns.find((column) => column.name === sortedBy),
          );
    const isNumber = (column) => Boolean(column.values) && column.kind !== "bool";
    const head = element(
      "tr",
      null,
      ...columns.map((column) => {
        const direction = column.name === sortedBy ? (falling ? "descending" : "ascending") : null;
        const onclick = () => {
          [sortedBy, falling] = [column.name, column.name === sortedBy ? !falling : isNumber(column)];
          show();
        };
        return element(
          "th",
          { scope: "col", "aria-sort": direction, className: isNumber(column) ? "number" : null },
          element(
            "button",
            { type: "button", onclick },
            column.name + (direction ? (falling ? " \u25be" : " \u25b4") : ""),
          ),
        );
      }),
    );
    const body = Array.from(sorted.slice(0, TABLE_ROWS), (row) =>
      element(
        "tr",
        {
          tabindex: "0",
          onclick: () => onPick(row),
          onkeydown: (event) => {
            if (event.key === "Enter") onPick(row);
          },
        },
        ...columns.map((column) =>
          element("td", { className: isNumber(column) ? "number" : null }, shownOf(column, row)),
        ),
      ),
    );
    table.replaceChildren(element("thead", null, head), element("tbody", null, ...body));
  }
  function sort(all, column) {
    const direction = falling ? -1 : 1;
    const keys = new Map(Array.from(all, (row) => [row, column.at(row)]));
    const compare = (a, b) => {
      const [p, q] = [keys.get(a), keys.get(b)];
      if (p === null || q === null) return p === q ? a - b : p === null ? 1 : -1;
      return direction * (p < q ? -1 : p > q ? 1 : 0) || a - b;
    };
    return Array.from(all).sort(compare);
  }
  byId("download").addEventListener("click", async () => {
    if (rows) download(fileName("selection", "csv"), await csvOf(rows));
  });
  return {
    set(selected) {
      rows = selected;
      return show();
    },
    show,
    rows: () => rows,
  };
}
