// The filter: a condition in the manner of SQL.
//
//   condition  = and-part { OR and-part }         and-part = not-part { AND not-part }
//   not-part   = NOT not-part | ( condition ) | column test
//   test       = (= | != | <> | < | <= | > | >=) value | [NOT] IN ( value, ... ) | [NOT] LIKE 'pattern'
//              | [NOT] BETWEEN value AND value | IS [NOT] NULL
//   value      = number | 'text' | TRUE | FALSE       column = name | "name"
//
// A test of a null is neither true nor false, as in SQL. A mistake names the word and its place.

class FilterError extends Error {
  constructor(reason, at, length) {
    super(reason);
    this.at = at;
    this.length = Math.max(1, length);
  }
}

const NO = 0,
  YES = 1,
  UNKNOWN = 2;
const WORDS = new Set(["and", "or", "not", "in", "like", "between", "is", "null", "true", "false"]);

const PATTERNS = [
  ["blank", /\s+/y],
  ["word", /[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*/y],
  ["name", /"((?:[^"]|"")*)"/y],
  ["text", /'((?:[^']|'')*)'/y],
  ["number", /[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?/y],
  ["sign", /<=|>=|<>|!=|=|<|>|\(|\)|,/y],
];

// The words of a condition; a letter that begins none is a word of its own, which nothing expects.
function wordsOf(text) {
  const words = [];
  for (let at = 0; at < text.length;) {
    let [type, found] = ["unknown", [text[at]]];
    for (const [name, pattern] of PATTERNS) {
      pattern.lastIndex = at;
      const match = pattern.exec(text);
      if (match) {
        [type, found] = [name, match];
        break;
      }
    }
    const [whole, inner] = found;
    const word = { type, text: whole, at, length: whole.length };
    if (type === "word") {
      const lower = whole.toLowerCase();
      Object.assign(word, WORDS.has(lower) ? { type: lower } : { type: "name", value: whole });
    } else if (type === "name") word.value = inner.replace(/""/g, '"');
    else if (type === "text") word.value = inner.replace(/''/g, "'");
    else if (type === "number") word.value = Number(whole);
    else if (type === "sign") word.type = whole;
    else if (whole === "'" || whole === '"') throw new FilterError(`the text after ${whole} does not end`, at, 1);
    if (type !== "blank") words.push(word);
    at += whole.length;
  }
  words.push({ type: "end", text: "the end", at: text.length, length: 1 });
  return words;
}

// The condition as a tree; `names` are the columns that there are.
function parsed(text, names) {
  const words = wordsOf(text);
  let next = 0;
  const peek = () => words[next];
  const is = (...types) => types.includes(peek().type);
  const take = () => words[next++];
  const fail = (expected, word) => {
    throw new FilterError(`expected ${expected}, found ${word.text}`, word.at, word.length);
  };
  const expect = (type, expected) => (is(type) ? take() : fail(expected || type.toUpperCase(), peek()));

  function either() {
    let left = both();
    while (is("or")) {
      take();
      left = { op: "or", left, right: both() };
    }
    return left;
  }
  function both() {
    let left = negated();
    while (is("and")) {
      take();
      left = { op: "and", left, right: negated() };
    }
    return left;
  }
  function negated() {
    if (is("not")) {
      take();
      return { op: "not", of: negated() };
    }
    if (is("(")) {
      take();
      const inner = either();
      expect(")", "AND, OR or )");
      return inner;
    }
    return test();
  }
  function value() {
    const word = take();
    if (word.type === "number" || word.type === "text") return word;
    if (word.type === "true" || word.type === "false") return { ...word, value: word.type === "true" };
    if (word.type === "name")
      throw new FilterError(
        `expected a number or a 'text', found ${word.text}: texts stand in single quotes`,
        word.at,
        word.length,
      );
    return fail("a number or a 'text'", word);
  }
  function test() {
    const name = is("name") ? take() : fail("a column", peek());
    if (!names.includes(name.value)) {
      throw new FilterError(
        `there is no column ${name.value}; the nearest is ${nearest(name.value, names)}`,
        name.at,
        name.length,
      );
    }
    const column = name.value;
    if (is("=", "!=", "<>", "<", "<=", ">", ">=")) {
      const sign = take().type;
      return { op: "compare", sign: sign === "<>" ? "!=" : sign, column, value: value() };
    }
    if (is("is")) {
      take();
      const not = is("not") && take();
      expect("null", "NULL or NOT NULL");
      return not ? { op: "not", of: { op: "null", column } } : { op: "null", column };
    }
    const not = is("not") && take();
    let made;
    if (is("in")) {
      take();
      expect("(", "( and values");
      const values = [value()];
      while (is(",")) {
        take();
        values.push(value());
      }
      expect(")", ", or )");
      made = { op: "in", column, values };
    } else if (is("like")) {
      take();
      made = { op: "like", column, pattern: is("text") ? take() : fail("a 'pattern' with % and _", peek()), name };
    } else if (is("between")) {
      take();
      const low = value();
      expect("and");
      made = {
        op: "and",
        left: { op: "compare", sign: ">=", column, value: low },
        right: { op: "compare", sign: "<=", column, value: value() },
      };
    } else fail("=, !=, <, >, IN, LIKE, BETWEEN or IS", peek());
    return not ? { op: "not", of: made } : made;
  }
  const tree = either();
  if (!is("end")) fail("AND, OR or the end", peek());
  return tree;
}

// The name with the fewest edits to `name` (Levenshtein 1966), capitals aside.
function nearest(name, names) {
  const edits = (a, b) => {
    let before = Array.from({ length: b.length + 1 }, (_, i) => i);
    for (let i = 1; i <= a.length; i++) {
      const now = [i];
      for (let j = 1; j <= b.length; j++)
        now[j] = Math.min(before[j] + 1, now[j - 1] + 1, before[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      before = now;
    }
    return before[b.length];
  };
  const score = (other) => edits(name.toLowerCase(), other.toLowerCase());
  return names.reduce((best, other) => (score(other) < score(best) ? other : best));
}

const columnsIn = (tree) =>
  tree.column ? [tree.column] : [tree.left, tree.right, tree.of].filter(Boolean).flatMap(columnsIn);

const COMPARE = {
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

// The value of a word for a column: of its type, rounded as the column is.
function valueFor(column, word) {
  const isText = column.kind === "text" || column.kind === "dictionary";
  const wanted = isText ? "text" : column.kind === "bool" ? "boolean" : "number";
  const found = word.type === "true" || word.type === "false" ? "boolean" : word.type;
  if (wanted !== found) {
    const what = { text: "a 'text'", boolean: "TRUE or FALSE", number: "a number" };
    const holds = wanted === "boolean" ? "TRUE and FALSE" : wanted + "s";
    throw new FilterError(
      `${column.name} holds ${holds}: expected ${what[wanted]}, found ${word.text}`,
      word.at,
      word.length,
    );
  }
  return column.isFloat ? Math.fround(word.value) : word.value;
}

// One of NO, YES, UNKNOWN a point.
function judged(tree, columns) {
  const out = new Uint8Array(numPoints);
  if (tree.op === "and" || tree.op === "or") {
    const [left, right] = [judged(tree.left, columns), judged(tree.right, columns)];
    const [strong, weak] = tree.op === "and" ? [NO, YES] : [YES, NO];
    for (let i = 0; i < numPoints; i++) {
      out[i] =
        left[i] === strong || right[i] === strong ? strong : left[i] === weak && right[i] === weak ? weak : UNKNOWN;
    }
    return out;
  }
  if (tree.op === "not") {
    const of = judged(tree.of, columns);
    for (let i = 0; i < numPoints; i++) out[i] = of[i] === UNKNOWN ? UNKNOWN : 1 - of[i];
    return out;
  }
  const column = columns.get(tree.column);
  const judge = judgeOf(tree, column);
  if (column.codes) {
    const ofWord = column.words.map(judge);
    for (let i = 0; i < numPoints; i++) out[i] = ofWord[column.codes[i]];
  } else for (let i = 0; i < numPoints; i++) out[i] = judge(column.at(i));
  return out;
}

function judgeOf(tree, column) {
  if (tree.op === "null") return (value) => (value === null ? YES : NO);
  let test;
  if (tree.op === "compare") {
    const [compare, wanted] = [COMPARE[tree.sign], valueFor(column, tree.value)];
    test = (value) => compare(value, wanted);
  } else if (tree.op === "in") {
    const wanted = new Set(tree.values.map((word) => valueFor(column, word)));
    test = (value) => wanted.has(value);
  } else {
    if (column.kind !== "text" && column.kind !== "dictionary") {
      throw new FilterError(`${column.name} holds no text: LIKE is for texts`, tree.name.at, tree.name.length);
    }
    const escaped = tree.pattern.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const pattern = new RegExp("^" + escaped.replace(/%/g, "[^]*").replace(/_/g, "[^]") + "$", "u");
    test = (value) => pattern.test(value);
  }
  return (value) => (value === null ? UNKNOWN : test(value) ? YES : NO);
}

// The rows that a condition is true of.
async function filtered(text) {
  const tree = parsed(text, factNames);
  const columns = new Map();
  for (const name of columnsIn(tree)) columns.set(name, await columnOf(name));
  const found = judged(tree, columns);
  let number = 0;
  for (let i = 0; i < numPoints; i++) if (found[i] === YES) number++;
  const rows = new Uint32Array(number);
  for (let i = 0, at = 0; i < numPoints; i++) if (found[i] === YES) rows[at++] = i;
  return rows;
}
