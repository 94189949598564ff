// A grid over the points, by counting sort: hovering and the lasso look into few cells.

function gridOf(x, y, bounds) {
  const side = 256;
  const [[left, right], [low, high]] = bounds;
  const along = (value, from, to) =>
    Math.min(side - 1, Math.max(0, Math.floor(((value - from) / (to - from || 1)) * side)));
  const cell = (i) => along(x[i], left, right) + side * along(y[i], low, high);
  const start = new Uint32Array(side * side + 1);
  const order = new Uint32Array(numPoints);
  for (let i = 0; i < numPoints; i++) start[cell(i) + 1]++;
  for (let k = 0; k < side * side; k++) start[k + 1] += start[k];
  const next = start.slice();
  for (let i = 0; i < numPoints; i++) order[next[cell(i)]++] = i;

  function within(from, to, visit) {
    const [c0, c1, r0, r1] = [
      along(from[0], left, right),
      along(to[0], left, right),
      along(from[1], low, high),
      along(to[1], low, high),
    ];
    for (let row = r0; row <= r1; row++)
      for (let k = start[row * side + c0]; k < start[row * side + c1 + 1]; k++) visit(order[k]);
  }
  // The point nearest to a place, within a distance; -1 where there is none.
  function nearest(px, py, distance) {
    let best = -1;
    let least = distance * distance;
    within([px - distance, py - distance], [px + distance, py + distance], (i) => {
      const d = (x[i] - px) ** 2 + (y[i] - py) ** 2;
      if (d < least) [least, best] = [d, i];
    });
    return best;
  }
  // The points in a polygon, even-odd, in order.
  function inside(polygon) {
    const xs = polygon.map((corner) => corner[0]);
    const ys = polygon.map((corner) => corner[1]);
    const rows = [];
    within([Math.min(...xs), Math.min(...ys)], [Math.max(...xs), Math.max(...ys)], (i) => {
      let odd = false;
      for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
        const crosses = ys[a] > y[i] !== ys[b] > y[i];
        if (crosses && x[i] < ((xs[b] - xs[a]) * (y[i] - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd = !odd;
      }
      if (odd) rows.push(i);
    });
    return Uint32Array.from(rows).sort();
  }
  return { nearest, inside };
}
