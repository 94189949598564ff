// Two painters of points, with the same face: WebGL 2, and Canvas 2D where that is missing.
//
//   place(x, y)          coordinates, in drawing order
//   colour(rgba)         4 bytes a point
//   mark(flags)          1 is selected; null: nothing is
//   draw(view, number)   the first `number` points

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour; in float marked;
uniform vec4 view; uniform float size; uniform float selecting; uniform vec3 paper;
out vec4 ink;
void main() {
  bool faded = selecting > 0.5 && marked < 0.5;
  gl_Position = vec4((place - view.xy) * view.zw, faded ? 0.5 : 0.0, 1.0);
  gl_PointSize = selecting > 0.5 && !faded ? size * 1.4 : size;
  ink = vec4(faded ? mix(colour.rgb, paper, 0.8) : colour.rgb, faded ? 0.5 : 0.8);
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 ink; out vec4 pixel;
void main() {
  float r = length(gl_PointCoord - 0.5);
  if (r > 0.5) discard;
  pixel = vec4(ink.rgb, ink.a * smoothstep(0.5, 0.35, r));
}`;

function webglPainter(canvas) {
  // Without `alpha: false` the page would shine through; what is kept can be saved and printed.
  const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });
  if (!gl) return null;
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  const buffers = {};
  const fill = (name, size, type, normal, data) => {
    if (!buffers[name]) buffers[name] = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    const at = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, normal, 0, 0);
  };
  const uniform = (name) => gl.getUniformLocation(program, name);
  const uniforms = {
    view: uniform("view"),
    size: uniform("size"),
    selecting: uniform("selecting"),
    paper: uniform("paper"),
  };
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  gl.enable(gl.DEPTH_TEST);
  gl.depthFunc(gl.LEQUAL);
  let selecting = 0;
  return {
    name: "WebGL 2",
    place(x, y) {
      const places = new Float32Array(2 * x.length);
      for (let i = 0; i < x.length; i++) [places[2 * i], places[2 * i + 1]] = [x[i], y[i]];
      fill("place", 2, gl.FLOAT, false, places);
      fill("marked", 1, gl.UNSIGNED_BYTE, false, new Uint8Array(x.length));
    },
    colour: (rgba) => fill("colour", 4, gl.UNSIGNED_BYTE, true, rgba),
    mark(flags) {
      selecting = flags ? 1 : 0;
      if (flags) fill("marked", 1, gl.UNSIGNED_BYTE, false, flags);
    },
    draw(view, number) {
      const paper = view.paper.map((value) => value / 255);
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(...paper, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniform4f(uniforms.view, view.x, view.y, (2 * view.scale) / view.width, (2 * view.scale) / view.height);
      gl.uniform1f(uniforms.size, view.size * view.ratio);
      gl.uniform1f(uniforms.selecting, selecting);
      gl.uniform3f(uniforms.paper, ...paper);
      if (number > 0) gl.drawArrays(gl.POINTS, 0, number);
    },
  };
}

// Points beyond this would take seconds each time; the order of drawing is shuffled, so the first are a fair sample.
const MOST_ON_CANVAS = 30000;

function canvasPainter(canvas) {
  const context = canvas.getContext("2d");
  let [xs, ys, colours, flags] = [[], [], [], null];
  return {
    name: "Canvas 2D",
    most: MOST_ON_CANVAS,
    place: (x, y) => ([xs, ys] = [x, y]),
    colour: (rgba) => (colours = rgba),
    mark: (marked) => (flags = marked),
    draw(view, number) {
      const { ratio } = view;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.globalAlpha = 1;
      context.fillStyle = css(view.paper);
      context.fillRect(0, 0, view.width, view.height);
      const side = view.size;
      // What is selected comes last, on top.
      for (const pass of flags ? [0, 1] : [1]) {
        for (let i = 0; i < Math.min(number, MOST_ON_CANVAS); i++) {
          if (flags && flags[i] !== pass) continue;
          const px = view.width / 2 + (xs[i] - view.x) * view.scale;
          const py = view.height / 2 - (ys[i] - view.y) * view.scale;
          if (px < 0 || py < 0 || px > view.width || py > view.height) continue;
          context.globalAlpha = pass === 1 ? 0.8 : 0.12;
          context.fillStyle = `rgb(${colours[4 * i]},${colours[4 * i + 1]},${colours[4 * i + 2]})`;
          context.fillRect(px - side / 2, py - side / 2, side, side);
        }
      }
      context.globalAlpha = 1;
    },
  };
}
