// Columns: typed arrays and texts out of the blocks of the page. See packed.rs for how they are stored.

const page = JSON.parse(document.getElementById("contents").textContent);
const contents = page.contents;
const numPoints = page.num_points;

const ARRAYS = {
  u8: Uint8Array,
  u16: Uint16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
};
const NO_TEXT = 0xffffffff;

// The bytes of a block, which is dropped from the page: it is read once.
function block(number) {
  const element = document.getElementById("block-" + number);
  const text = element.textContent;
  element.remove();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// `count` values of a type from planes that begin at `from`.
function fromPlanes(bytes, from, count, type) {
  const width = ARRAYS[type].BYTES_PER_ELEMENT;
  const values = new Uint8Array(count * width);
  for (let plane = 0; plane < width; plane++) {
    const begin = from + plane * count;
    for (let i = 0, at = plane; i < count; i++, at += width) values[at] = bytes[begin + i];
  }
  return new ARRAYS[type](values.buffer);
}

// Texts from their lengths and their bytes: where each begins, and the place after the last.
function textsAt(bytes, from, count) {
  const lengths = fromPlanes(bytes, from, count, "u32");
  const starts = new Uint32Array(count + 1);
  let at = from + 4 * count;
  for (let i = 0; i < count; i++) {
    starts[i] = at;
    at += lengths[i] === NO_TEXT ? 0 : lengths[i];
  }
  starts[count] = at;
  const decoder = new TextDecoder();
  const text = (i) =>
    lengths[i] === NO_TEXT ? null : decoder.decode(bytes.subarray(starts[i], starts[i] + lengths[i]));
  return { text, end: at };
}

// A column: `at(row)` is its value, null where there is none. Numbers also have `values` and `isNull(row)`, a
// dictionary `codes` and `words`.
function unpacked(header, bytes, count) {
  const column = { name: header.name, kind: header.kind };
  if (header.kind === "text") {
    column.at = textsAt(bytes, 0, count).text;
    return column;
  }
  if (header.kind === "dictionary") {
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const texts = textsAt(bytes, 4, number);
    column.words = Array.from({ length: number }, (_, i) => texts.text(i));
    column.codes = fromPlanes(bytes, texts.end, count, header.type);
    column.at = (row) => column.words[column.codes[row]];
    return column;
  }
  const values = fromPlanes(bytes, 0, count, header.type);
  const nulls = header.nulls ? bytes.subarray(bytes.length - count) : null;
  if (header.kind === "difference") for (let i = 1; i < count; i++) values[i] += values[i - 1];
  column.values = values;
  column.isWhole = header.type[0] !== "f";
  column.isFloat = header.type === "f32";
  if (header.kind === "difference") column.isWhole = true;
  column.isNull = nulls
    ? (row) => nulls[row] === 1
    : column.isWhole
      ? () => false
      : (row) => Number.isNaN(values[row]);
  const isBool = header.kind === "bool";
  column.at = (row) => (column.isNull(row) ? null : isBool ? values[row] === 1 : values[row]);
  return column;
}

const headers = new Map(page.columns.map((header) => [header.name, header]));
const unpacking = new Map();

// The column `name`, unpacked once.
function columnOf(name) {
  if (!unpacking.has(name)) {
    const header = headers.get(name);
    unpacking.set(
      name,
      inflated(block(header.block)).then((bytes) => unpacked(header, bytes, numPoints)),
    );
  }
  return unpacking.get(name);
}

// The coordinates of all points on one axis.
async function placesOf(name) {
  const { values } = await columnOf(name);
  const [low, high] = page.bounds[name === "x" ? 0 : 1];
  if (!page.rounded) return values;
  const places = new Float32Array(numPoints);
  for (let i = 0; i < numPoints; i++) places[i] = low + ((high - low) * values[i]) / 65535;
  return places;
}

// Names of the columns that a person is shown.
const factNames = page.columns.map((header) => header.name).filter((name) => name !== "x" && name !== "y");
