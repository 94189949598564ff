// Curves as SVG, drawn from numbers; a saved file has its own colours and a white ground.

const SVG = "http://www.w3.org/2000/svg";
// Okabe and Ito, Color Universal Design (2008): dark enough on white, light enough on black.
const CURVES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// About `wanted` round numbers from low to high (Heckbert 1990, loosely).
function ticksOf(low, high, wanted) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) || rough;
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++)
    ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function chartElement(chart) {
  const [width, right, bottom] = [440, 14, 44];
  const legend = legendOf(chart.series, width - right);
  const top = 20 + 15 * (legend.length ? legend[legend.length - 1].line + 1 : 0);
  const height = 246 + top;
  const points = chart.series.flatMap((one) => one.x.map((x, i) => [x, one.y[i]])).filter(([, y]) => y !== null);
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const spread = (low, high) => (low === high ? [low - 0.5, high + 0.5] : [low, high]);
  const [x0, x1] = points.length ? spread(least(xs), most(xs)) : [0, 1];
  let [y0, y1] = points.length ? spread(least(ys), most(ys)) : [0, 1];
  [y0, y1] = [y0 - 0.04 * (y1 - y0), y1 + 0.04 * (y1 - y0)];
  const longest = Math.max(...ticksOf(y0, y1, 5).map((tick) => shown(tick).length));
  const left = 30 + Math.max(26, 6.5 * longest);
  const px = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - right);
  const py = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - top - bottom);
  const text = (x, y, words, attributes) =>
    svg("text", { x, y, fill: "currentColor", "font-size": 11, ...attributes }, words);
  const line = (a, b, c, d, attributes) =>
    svg("line", { x1: a, y1: b, x2: c, y2: d, stroke: "currentColor", ...attributes });
  const root = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "font-family": "system-ui, sans-serif",
    "aria-label": `${chart.title}: ${chart.series.map(inWords).join("; ")}`,
  });
  for (const tick of ticksOf(y0, y1, 5)) {
    root.append(line(left, py(tick), width - right, py(tick), { "stroke-opacity": 0.12 }));
    root.append(text(left - 6, py(tick) + 4, shown(tick), { "text-anchor": "end" }));
  }
  for (const tick of ticksOf(x0, x1, 6)) {
    root.append(line(px(tick), height - bottom, px(tick), height - bottom + 4, { "stroke-opacity": 0.6 }));
    root.append(text(px(tick), height - bottom + 16, shown(tick), { "text-anchor": "middle" }));
  }
  root.append(line(left, height - bottom, width - right, height - bottom, { "stroke-opacity": 0.6 }));
  root.append(text((left + width - right) / 2, height - 8, chart.x_label, { "text-anchor": "middle" }));
  root.append(
    text(0, 0, chart.y_label, {
      "text-anchor": "middle",
      transform: `translate(13 ${(top + height - bottom) / 2}) rotate(-90)`,
    }),
  );
  root.append(text(30, 14, chart.title, { "font-size": 13, "font-weight": 600 }));
  if (chart.mark) {
    const [place, words] = chart.mark;
    const end = px(place) > width * 0.7;
    root.append(
      line(px(place), top, px(place), height - bottom, { "stroke-dasharray": "4 3", "stroke-opacity": 0.7 }),
    );
    root.append(text(px(place) + (end ? -5 : 5), top + 10, words, { "text-anchor": end ? "end" : "start" }));
  }
  chart.series.forEach((one, at) => {
    const colour = CURVES[at % CURVES.length];
    let path = "";
    let isOpen = false;
    one.x.forEach((x, i) => {
      if (one.y[i] === null) {
        isOpen = false;
        return;
      }
      path += `${isOpen ? "L" : "M"}${px(x).toFixed(1)} ${py(one.y[i]).toFixed(1)}`;
      isOpen = true;
    });
    const curve = svg("path", {
      d: path || "M0 0",
      fill: "none",
      stroke: colour,
      "stroke-width": 1.8,
      "stroke-linejoin": "round",
    });
    root.append(curve);
    one.x.forEach((x, i) => {
      if (!one.dots || one.y[i] === null) return;
      const dot = svg("circle", { cx: px(x).toFixed(1), cy: py(one.y[i]).toFixed(1), r: 3, fill: colour });
      dot.append(svg("title", null, `${one.name}: ${shown(one.y[i])} at ${shown(x)}`));
      root.append(dot);
    });
  });
  legend.forEach(({ x, line: at, name }, series) => {
    const y = 29 + 15 * at;
    root.append(line(x, y - 4, x + 12, y - 4, { stroke: CURVES[series % CURVES.length], "stroke-width": 2.5 }));
    root.append(text(x + 18, y, name));
  });
  return root;
}

// Where the name of each series stands, in as many lines as they need; of one series the title says enough.
function legendOf(series, end) {
  if (series.length < 2) return [];
  const start = 30;
  let [x, line] = [start, 0];
  return series.map(({ name }) => {
    const length = 32 + 6.1 * name.length;
    if (x > start && x + length > end) [x, line] = [start, line + 1];
    const place = { x, line, name };
    x += length;
    return place;
  });
}

// The curve for who cannot see it.
function inWords(one) {
  const there = one.y.map((y, i) => [one.x[i], y]).filter(([, y]) => y !== null);
  if (there.length === 0) return `${one.name}: no values`;
  const [first, last] = [there[0], there[there.length - 1]];
  return `${one.name} from ${shown(first[1])} at ${shown(first[0])} to ${shown(last[1])} at ${shown(last[0])}`;
}

// A picture by itself: black on white.
function savedSvg(root) {
  const copy = root.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("color", "#1a1a1a");
  copy.prepend(svg("rect", { width: "100%", height: "100%", fill: "#ffffff" }));
  return new XMLSerializer().serializeToString(copy);
}

// As PNG, at three times the size, about 300 dots an inch in a column of a paper.
async function pngOf(root) {
  const [width, height] = [Number(root.getAttribute("width")), Number(root.getAttribute("height"))];
  const url = URL.createObjectURL(new Blob([savedSvg(root)], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = element("canvas", { width: 3 * width, height: 3 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, 3 * width, 3 * height);
  URL.revokeObjectURL(url);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function chartFigure(chart) {
  const root = chartElement(chart);
  const what = chart.title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
  const save = (ending, make) =>
    element(
      "button",
      {
        type: "button",
        "aria-label": `save ${chart.title} as ${ending.toUpperCase()}`,
        onclick: async () => download(fileName(what, ending), await make()),
      },
      ending.toUpperCase(),
    );
  const buttons = element(
    "figcaption",
    { className: "save" },
    save("svg", () => new Blob([savedSvg(root)], { type: "image/svg+xml" })),
    save("png", () => pngOf(root)),
  );
  return element("figure", { className: "chart" }, root, buttons);
}
