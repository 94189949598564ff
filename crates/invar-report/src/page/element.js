// Elements of the page, always from text, never from HTML.

const byId = (id) => document.getElementById(id);

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "className") made.className = value;
    else if (value !== null && value !== undefined && value !== false)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const count = (n) => n.toLocaleString("en");

// A value for a person: whole numbers in full, others with four digits.
function shown(value, isWhole) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (!Number.isFinite(value)) return String(value);
  if (isWhole || Number.isInteger(value)) return Math.abs(value) < 1e4 ? String(value) : value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

const shownOf = (column, row) => shown(column.at(row), column.isWhole && column.kind !== "difference");

// The end of a long text: of paths what tells them apart.
const shortened = (text) => (text.length > 34 ? "\u2026" + text.slice(-33) : text);

function download(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// The name of a file that is saved from this page.
const fileName = (what, ending) =>
  (document.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "report") + "-" + what + "." + ending;

// A table of texts; columns of numbers to the right. `onRow(row)` may say what a click on a row does.
function tableElement(table, decorate) {
  const isNumber = table.columns.map(
    (_, at) =>
      table.rows.some((row) => row[at] !== "") &&
      table.rows.every((row) => row[at] === "" || !Number.isNaN(Number(row[at].replace(/,/g, "")))),
  );
  const cell = (tag, text, at, scope) => element(tag, { className: isNumber[at] ? "number" : null, scope }, text);
  const body = element(
    "tbody",
    null,
    ...table.rows.map((row) => {
      const made = element("tr", null, ...row.map((text, at) => cell("td", text, at)));
      if (decorate) decorate(made, row);
      return made;
    }),
  );
  return element(
    "table",
    null,
    table.caption ? element("caption", null, table.caption) : null,
    element("thead", null, element("tr", null, ...table.columns.map((name, at) => cell("th", name, at, "col")))),
    body,
  );
}
