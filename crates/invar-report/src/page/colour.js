// Colours of points: a category each, or a place between two numbers.

const GREY = [150, 150, 150];
const MOST_CATEGORIES = 20;
// Viridis (van der Walt and Smith, 2015), at tenths.
const RAMP = [
  [68, 1, 84],
  [72, 40, 120],
  [62, 73, 137],
  [49, 104, 142],
  [38, 130, 142],
  [31, 158, 137],
  [53, 183, 121],
  [110, 206, 88],
  [181, 222, 43],
  [253, 231, 37],
];

// Without the end of the ramp that the ground swallows: yellow on white, violet on black.
function onRamp(share) {
  const [from, to] = isDark() ? [0.25, 1] : [0, 0.93];
  const place = (from + (to - from) * Math.min(1, Math.max(0, share))) * (RAMP.length - 1);
  const at = Math.min(RAMP.length - 2, Math.floor(place));
  return RAMP[at].map((value, channel) => Math.round(value + (RAMP[at + 1][channel] - value) * (place - at)));
}

const css = (colour) => `rgb(${colour.join(", ")})`;
const ofPalette = (number) => (number < 0 ? GREY : contents.palette[number % contents.palette.length] || GREY);

// How a column becomes colours: `of(row)` gives a colour, `legend` what they mean.
function scaleOf(column, isLog) {
  if (column.kind === "text") return null;
  return categoriesOf(column) || rangeOf(column, isLog);
}

function categoriesOf(column) {
  const counts = new Map();
  const most = column.name === "cluster" ? Infinity : column.kind === "dictionary" ? Infinity : MOST_CATEGORIES;
  if (!column.codes && !column.isWhole) return null;
  const code = column.codes ? (row) => column.codes[row] : (row) => (column.isNull(row) ? null : column.values[row]);
  for (let row = 0; row < numPoints; row++) {
    const value = code(row);
    counts.set(value, (counts.get(value) || 0) + 1);
    if (counts.size > most) return null;
  }
  const isCluster = column.name === "cluster";
  const named = [...counts].map(([value, number]) => {
    const word = column.codes ? column.words[value] : column.kind === "bool" && value !== null ? value === 1 : value;
    return { value, number, word, label: word === null ? "none" : isCluster ? clusterName(word) : String(word) };
  });
  const rank = (item) => (item.word === null ? 2 : isCluster && item.word < 0 ? 1 : 0);
  const order = isCluster || !column.codes ? (a, b) => a.word - b.word : (a, b) => b.number - a.number;
  named.sort((a, b) => rank(a) - rank(b) || order(a, b));
  const places = new Map();
  named.forEach((item, at) => {
    const number = isCluster ? item.word : at < contents.palette.length ? at : -1;
    item.colour = item.word === null ? GREY : ofPalette(number);
    places.set(item.value, at);
  });
  const at = (row) => places.get(code(row));
  return { kind: "categories", items: named, at, of: (row) => named[at(row)].colour };
}

const clusterName = (number) => (number < 0 ? "noise" : "cluster " + number);

// From the 1st to the 99th percentile, so that a few values far out do not take all the colours.
function rangeOf(column, isLog) {
  const { values, isNull } = column;
  const step = Math.max(1, Math.floor(numPoints / 20000));
  const some = [];
  let positive = true;
  for (let row = 0; row < numPoints; row += step)
    if (!isNull(row) && Number.isFinite(values[row])) some.push(values[row]);
  some.sort((a, b) => a - b);
  if (some.length === 0) return { kind: "none", of: () => GREY };
  const at = (share) => some[Math.round(share * (some.length - 1))];
  let [low, high] = [at(0.01), at(0.99)];
  if (low === high) [low, high] = [some[0], some[some.length - 1]];
  positive = some[0] > 0;
  const log = isLog && positive;
  const place = log ? Math.log : (value) => value;
  const width = place(high) - place(low) || 1;
  const ramp = Array.from({ length: 256 }, (_, i) => onRamp(i / 255));
  const share = (row) => Math.min(1, Math.max(0, (place(values[row]) - place(low)) / width));
  const of = (row) => (isNull(row) ? GREY : ramp[Math.round(255 * share(row))] || GREY);
  const cut = [some[0] < low, some[some.length - 1] > high];
  const between = (share) => (log ? Math.exp(place(low) + share * width) : low + share * width);
  return { kind: "range", low, high, log, positive, cut, between, of, isWhole: column.isWhole };
}
