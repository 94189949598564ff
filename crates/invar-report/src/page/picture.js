// The map as a picture for a paper: on white, with its legend.

function legendItems(scale, most) {
  if (scale.kind !== "categories") return [];
  const items = scale.items
    .slice(0, most)
    .map((item) => ({ colour: css(item.colour), text: `${item.label} (${count(item.number)})` }));
  if (scale.items.length > most) items.push({ colour: "none", text: `and ${count(scale.items.length - most)} more` });
  return items.map((item) => ({
    ...item,
    text: item.text.length > 34 ? item.text.slice(0, 33) + "\u2026" : item.text,
  }));
}

const LEGEND_WIDTH = 230;

function mapSvg(scatter, scale, name) {
  const { width, height, size } = scatter.view();
  const root = svg("svg", {
    xmlns: SVG,
    viewBox: `0 0 ${Math.round(width + LEGEND_WIDTH)} ${Math.round(height)}`,
    width: width + LEGEND_WIDTH,
    height,
    "font-family": "sans-serif",
    "font-size": 12,
  });
  root.append(svg("rect", { width: "100%", height: "100%", fill: "#ffffff" }));
  // More points than this make a file that no editor opens: they are a picture in it.
  const points = svg("g", null);
  let number = 0;
  scatter.eachInSight((px, py, colour, isMarked) => {
    if (++number > 50000) return;
    points.append(
      svg("circle", {
        cx: px.toFixed(1),
        cy: py.toFixed(1),
        r: (size / 2).toFixed(1),
        fill: css(colour),
        "fill-opacity": isMarked ? 0.8 : 0.12,
      }),
    );
  });
  if (number > 50000) root.append(svg("image", { href: scatter.onPaper().toDataURL("image/png"), width, height }));
  else root.append(points);
  root.append(svgLegend(scale, name, width + 12, Math.floor(height / 18) - 3));
  return new Blob([new XMLSerializer().serializeToString(root)], { type: "image/svg+xml" });
}

function svgLegend(scale, name, left, most) {
  const group = svg("g", { fill: "#1a1a1a" }, svg("text", { x: left, y: 24, "font-weight": "bold" }, name));
  legendItems(scale, most).forEach((item, at) => {
    group.append(
      svg("circle", { cx: left + 5, cy: 42 + 18 * at, r: 5, fill: item.colour }),
      svg("text", { x: left + 16, y: 46 + 18 * at }, item.text),
    );
  });
  if (scale.kind === "range") {
    for (let i = 0; i < 100; i++)
      group.append(
        svg("rect", { x: left + 1.8 * i, y: 34, width: i < 99 ? 3 : 1.8, height: 12, fill: css(onRamp(i / 99)) }),
      );
    group.append(
      svg("text", { x: left, y: 62 }, shown(scale.low)),
      svg("text", { x: left + 180, y: 62, "text-anchor": "end" }, shown(scale.high)),
    );
  }
  return group;
}

async function mapPng(scatter, scale, name) {
  const { width, height, ratio } = scatter.view();
  const canvas = element("canvas", {
    width: Math.round((width + LEGEND_WIDTH) * ratio),
    height: Math.round(height * ratio),
  });
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(scatter.onPaper(), 0, 0);
  const legend = svg(
    "svg",
    {
      xmlns: SVG,
      width: LEGEND_WIDTH * ratio,
      height: height * ratio,
      viewBox: `0 0 ${LEGEND_WIDTH} ${height}`,
      "font-family": "sans-serif",
      "font-size": 12,
    },
    svgLegend(scale, name, 12, Math.floor(height / 18) - 3),
  );
  const url = URL.createObjectURL(
    new Blob([new XMLSerializer().serializeToString(legend)], { type: "image/svg+xml" }),
  );
  const image = new Image();
  image.src = url;
  await image.decode();
  context.drawImage(image, Math.round(width * ratio), 0);
  URL.revokeObjectURL(url);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
