// The map: points that can be moved, zoomed, hovered over, picked, and lassoed.

const MOVING_POINTS = 30000;
const PAPERS = { light: [255, 255, 255], dark: [22, 24, 29] };
const darkness = matchMedia("(prefers-color-scheme: dark)");
let isPrinting = false;
const isDark = () => darkness.matches && !isPrinting;

// A fixed shuffle (a linear congruence; Fisher and Yates), so that no cluster always lies on top, and any first part of
// the points is a fair sample.
function shuffled(number) {
  const order = Uint32Array.from({ length: number }, (_, i) => i);
  let state = 12345;
  for (let i = number - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 4294967296) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function scatterOf(x, y, on) {
  const stage = byId("stage");
  const overlay = byId("overlay");
  const bounds = page.bounds;
  const order = shuffled(numPoints);
  const grid = gridOf(x, y, bounds);
  const inOrder = (values) => Float32Array.from(order, (row) => values[row]);
  const view = { x: 0, y: 0, scale: 1, width: 1, height: 1, ratio: 1, size: 3, paper: PAPERS.light };
  const basic = Math.max(2, Math.min(8, 11.5 - 1.9 * Math.log10(numPoints + 1)));
  let [canvas, painter, fitted, queued, moving, idle] = [null, null, 1, false, false, 0];
  let [scale, flags, focus, hovered, lasso] = [null, null, -1, -1, null];

  function start(withWebgl) {
    if (canvas) canvas.remove();
    canvas = element("canvas", {
      id: "map",
      tabindex: "0",
      role: "img",
      "aria-label": on.label,
      "aria-describedby": "keys",
    });
    stage.prepend(canvas);
    painter = (withWebgl && webglPainter(canvas)) || canvasPainter(canvas);
    painter.place(inOrder(x), inOrder(y));
    canvas.addEventListener("webglcontextlost", () => {
      start(false);
      recolour();
      remark();
      redraw();
      on.painter(painter);
    });
    listen();
  }
  function measure() {
    const { clientWidth, clientHeight } = stage;
    [view.width, view.height, view.ratio] = [clientWidth || 1, clientHeight || 1, devicePixelRatio || 1];
    for (const each of [canvas, overlay]) {
      const size = [Math.round(view.width * view.ratio), Math.round(view.height * view.ratio)];
      if (each.width !== size[0] || each.height !== size[1]) [each.width, each.height] = size;
    }
  }
  function fit() {
    measure();
    const [[left, right], [low, high]] = bounds;
    [view.x, view.y] = [(left + right) / 2, (low + high) / 2];
    const wanted = Math.min(view.width / (right - left), view.height / (high - low));
    fitted = 0.92 * (Number.isFinite(wanted) && wanted > 0 ? wanted : 1);
    view.scale = fitted;
    redraw();
  }
  function draw() {
    queued = false;
    measure();
    view.paper = isDark() ? PAPERS.dark : PAPERS.light;
    view.size = Math.max(basic, Math.min(4 * basic, 14, basic * Math.sqrt(view.scale / fitted)));
    painter.draw(view, moving ? Math.min(numPoints, MOVING_POINTS) : numPoints);
    drawOverlay();
  }
  function redraw() {
    if (!queued) {
      queued = true;
      requestAnimationFrame(draw);
    }
  }
  function moved() {
    moving = true;
    clearTimeout(idle);
    idle = setTimeout(() => {
      moving = false;
      redraw();
    }, 150);
    redraw();
  }
  const toScreen = (row) => [
    view.width / 2 + (x[row] - view.x) * view.scale,
    view.height / 2 - (y[row] - view.y) * view.scale,
  ];
  const toPlane = ([px, py]) => [
    view.x + (px - view.width / 2) / view.scale,
    view.y - (py - view.height / 2) / view.scale,
  ];
  function drawOverlay() {
    const context = overlay.getContext("2d");
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    const ink = isDark() ? "#fff" : "#000";
    for (const [row, width] of [
      [hovered, 1.5],
      [focus, 2.5],
    ]) {
      if (row < 0) continue;
      context.beginPath();
      context.arc(...toScreen(row), view.size / 2 + 4, 0, 2 * Math.PI);
      [context.strokeStyle, context.lineWidth] = [ink, width];
      context.stroke();
    }
    if (lasso && lasso.length > 1) {
      context.beginPath();
      lasso.forEach((corner) => context.lineTo(...corner));
      context.closePath();
      context.fillStyle = isDark() ? "rgba(120,170,255,0.2)" : "rgba(30,90,200,0.12)";
      context.fill();
      [context.strokeStyle, context.lineWidth] = [isDark() ? "#8ab4ff" : "#1e5ac8", 1.5];
      context.stroke();
    }
  }
  function recolour() {
    if (!scale) return;
    const rgba = new Uint8Array(4 * numPoints);
    for (let k = 0; k < numPoints; k++) {
      const colour = scale.of(order[k]);
      [rgba[4 * k], rgba[4 * k + 1], rgba[4 * k + 2], rgba[4 * k + 3]] = [colour[0], colour[1], colour[2], 255];
    }
    painter.colour(rgba);
  }
  function remark() {
    painter.mark(flags && Uint8Array.from(order, (row) => flags[row]));
  }
  function zoom(factor, at) {
    const before = toPlane(at);
    view.scale = Math.min(fitted * 5000, Math.max(fitted / 4, view.scale * factor));
    const after = toPlane(at);
    view.x += before[0] - after[0];
    view.y += before[1] - after[1];
    moved();
  }
  function hover(row, px, py) {
    if (row !== hovered) {
      hovered = row;
      drawOverlay();
    }
    on.hover(row, px, py);
  }

  function listen() {
    let [from, last, dragged] = [null, null, false];
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      [from, last, dragged] = [at(event), at(event), false];
      lasso = event.shiftKey || on.isLasso() ? [from] : null;
    });
    canvas.addEventListener("pointermove", (event) => {
      const place = at(event);
      if (!from) {
        hover(grid.nearest(...toPlane(place), (view.size / 2 + 5) / view.scale), event.clientX, event.clientY);
        return;
      }
      if (Math.hypot(place[0] - from[0], place[1] - from[1]) > 3) dragged = true;
      if (lasso) {
        lasso.push(place);
        drawOverlay();
      } else if (dragged) {
        view.x -= (place[0] - last[0]) / view.scale;
        view.y += (place[1] - last[1]) / view.scale;
        moved();
      }
      last = place;
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!from) return;
      if (!dragged) on.pick(grid.nearest(...toPlane(at(event)), (view.size / 2 + 5) / view.scale));
      else if (lasso) on.lasso(grid.inside(lasso.map(toPlane)));
      [from, lasso] = [null, null];
      drawOverlay();
    });
    canvas.addEventListener("pointercancel", () => {
      [from, lasso] = [null, null];
      drawOverlay();
    });
    canvas.addEventListener("pointerleave", () => hover(-1, 0, 0));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY)) * 0.002), at(event));
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      const middle = [view.width / 2, view.height / 2];
      const pan = (dx, dy) => {
        view.x += (dx * view.width) / view.scale;
        view.y += (dy * view.height) / view.scale;
        moved();
      };
      const keys = {
        ArrowLeft: () => pan(-0.1, 0),
        ArrowRight: () => pan(0.1, 0),
        ArrowUp: () => pan(0, 0.1),
        ArrowDown: () => pan(0, -0.1),
        "+": () => zoom(1.3, middle),
        "=": () => zoom(1.3, middle),
        "-": () => zoom(1 / 1.3, middle),
        0: fit,
        Home: fit,
        Enter: () => on.pick(grid.nearest(view.x, view.y, Math.hypot(view.width, view.height) / view.scale)),
        Escape: () => on.escape(),
      };
      if (keys[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        keys[event.key]();
      }
    });
  }

  start(true);
  fit();
  new ResizeObserver(redraw).observe(stage);
  darkness.addEventListener("change", redraw);
  // What WebGL has drawn is not sure to reach the paper, and has the size of the screen.
  addEventListener("beforeprint", () => {
    const printed = onPaper();
    printed.id = "printed";
    stage.append(printed);
  });
  addEventListener("afterprint", () => byId("printed")?.remove());
  // The points on white, whatever the page is on.
  function onPaper() {
    isPrinting = true;
    draw();
    const copy = element("canvas", { width: canvas.width, height: canvas.height });
    copy.getContext("2d").drawImage(canvas, 0, 0);
    isPrinting = false;
    draw();
    return copy;
  }
  return {
    painterOf: () => painter,
    onPaper,
    fit,
    draw,
    redraw,
    zoom: (factor) => zoom(factor, [view.width / 2, view.height / 2]),
    colour(newScale) {
      scale = newScale;
      recolour();
      redraw();
    },
    // `rows`: what is selected; null: nothing is.
    select(rows) {
      flags = rows && new Uint8Array(numPoints);
      if (rows) for (const row of rows) flags[row] = 1;
      remark();
      redraw();
    },
    // Shows a sample, moved into sight where it is out of it.
    focus(row) {
      focus = row;
      if (row >= 0) {
        const [px, py] = toScreen(row);
        if (px < 20 || py < 20 || px > view.width - 20 || py > view.height - 20) [view.x, view.y] = [x[row], y[row]];
      }
      redraw();
    },
    view: () => view,
    // For a drawing: each point in sight, in the order of drawing.
    eachInSight(visit) {
      for (let k = 0; k < numPoints; k++) {
        const [px, py] = toScreen(order[k]);
        if (px >= 0 && py >= 0 && px <= view.width && py <= view.height)
          visit(px, py, scale.of(order[k]), !flags || flags[order[k]] === 1);
      }
    },
  };
}
