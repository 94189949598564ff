// What sets each cluster apart from all other points, column by column.
//
// Of numbers the effect is Cohen's d (1988), the difference of the means in pooled standard deviations: 0.5 is medium,
// 0.8 large. Of words it is the difference of the shares. Columns that run with one that was named already are left
// out.

const LEAST_EFFECT = 0.5;
const LEAST_SHARE = 0.2;
const MOST_EFFECTS = 3;
const ALIKE = 0.9;
const NOT_FACTS = new Set(["cluster", "probability", "distance", "key"]);

// Sentences by cluster number.
async function setApart(columns, clusters) {
  const numbers = new Map();
  for (let row = 0; row < numPoints; row++) {
    const number = clusters.values[row];
    if (!numbers.has(number)) numbers.set(number, numbers.size);
  }
  const of = Uint32Array.from({ length: numPoints }, (_, row) => numbers.get(clusters.values[row]));
  const effects = [...numbers].map(() => []);
  for (const column of columns) {
    if (NOT_FACTS.has(column.name) || column.kind === "text") continue;
    if (isMeasure(column)) meanEffects(column, of, effects);
    else shareEffects(column, of, effects);
    await new Promise((resolve) => setTimeout(resolve));
  }
  const sentences = new Map();
  for (const [number, at] of numbers) {
    const chosen = [];
    for (const effect of effects[at].sort((a, b) => b.size - a.size)) {
      if (chosen.length === MOST_EFFECTS) break;
      if (chosen.every((other) => !runsWith(other, effect))) chosen.push(effect);
    }
    sentences.set(number, chosen.map((effect) => effect.words).join("; "));
  }
  return sentences;
}

// Whether a mean of it says something. Whole numbers may be names (of a class, of a component): those that count or
// measure say so by their name, as all columns of Invar do.
function isMeasure(column) {
  if (column.kind !== "number") return false;
  const name = column.name;
  return !column.isWhole || contents.telling.includes(name) || /^num_|_(bp|px|nm|um|um2|s|deg)$/.test(name);
}

function runsWith(a, b) {
  if (a.column.values && b.column.values) return Math.abs(correlation(a.column, b.column)) >= ALIKE;
  return !a.column.values && !b.column.values && Math.abs(a.size - b.size) < 1e-9;
}

function meanEffects(column, of, effects) {
  const groups = effects.map(() => ({ n: 0, sum: 0, squares: 0 }));
  const { values, isNull } = column;
  // About the first value, so that the squares of large numbers do not swallow their differences.
  let origin = null;
  for (let row = 0; row < numPoints; row++) {
    if (isNull(row) || !Number.isFinite(values[row])) continue;
    if (origin === null) origin = values[row];
    const [group, value] = [groups[of[row]], values[row] - origin];
    group.n++;
    group.sum += value;
    group.squares += value * value;
  }
  const all = { n: 0, sum: 0, squares: 0 };
  for (const group of groups) for (const key of ["n", "sum", "squares"]) all[key] += group[key];
  const spread = (group) => group.squares - (group.sum * group.sum) / group.n;
  groups.forEach((own, at) => {
    const rest = { n: all.n - own.n, sum: all.sum - own.sum, squares: all.squares - own.squares };
    if (own.n < 2 || rest.n < 2) return;
    const [mean, other] = [own.sum / own.n, rest.sum / rest.n];
    const deviation = Math.sqrt(Math.max(0, spread(own) + spread(rest)) / (own.n + rest.n - 2));
    const d = (mean - other) / deviation;
    if (!Number.isFinite(d) || Math.abs(d) < LEAST_EFFECT) return;
    const rounded = (value) => shown(Number((value + origin).toPrecision(3)));
    const effect = `d ${d > 0 ? "+" : "\u2212"}${Math.abs(d).toFixed(1)}`;
    const words = `${column.name} ${rounded(mean)}, others ${rounded(other)} (${effect})`;
    effects[at].push({ column, size: Math.abs(d), words });
  });
}

function shareEffects(column, of, effects) {
  const scale = categoriesOf(column);
  // Nobody reads shares of thousands of words.
  if (!scale || scale.items.length > 50 || scale.items.length < 2) return;
  const { items, at: itemOf } = scale;
  const counts = effects.map(() => new Uint32Array(items.length));
  for (let row = 0; row < numPoints; row++) counts[of[row]][itemOf(row)]++;
  const total = (list) => list.reduce((sum, value) => sum + value, 0);
  counts.forEach((own, at) => {
    const [members, others] = [total(own), numPoints - total(own)];
    if (members < 2 || others < 2) return;
    const shares = items.map((item, k) => [own[k] / members, (item.number - own[k]) / others]);
    const gain = (k) => shares[k][0] - shares[k][1];
    const best = items.reduce((most, _, k) => (gain(k) > gain(most) ? k : most), 0);
    if (gain(best) < LEAST_SHARE) return;
    const [here, there] = shares[best].map((share) => `${(100 * share).toFixed(0)} %`);
    const words = `${column.name} ${shortened(items[best].label)} ${here}, others ${there}`;
    // A share of all against none ranks with an effect of 3.
    effects[at].push({ column, size: 3 * gain(best), words });
  });
}

// Of two columns of numbers, over at most some thousand rows.
function correlation(a, b) {
  const step = Math.max(1, Math.floor(numPoints / 2000));
  let [n, sa, sb, saa, sbb, sab] = [0, 0, 0, 0, 0, 0];
  for (let row = 0; row < numPoints; row += step) {
    const [p, q] = [a.values[row] - a.values[0], b.values[row] - b.values[0]];
    if (a.isNull(row) || b.isNull(row) || !Number.isFinite(p) || !Number.isFinite(q)) continue;
    n++;
    sa += p;
    sb += q;
    saa += p * p;
    sbb += q * q;
    sab += p * q;
  }
  const covariance = sab - (sa * sb) / n;
  return covariance / Math.sqrt((saa - (sa * sa) / n) * (sbb - (sb * sb) / n)) || 0;
}
