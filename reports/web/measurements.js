// The measurements: columns of codes and numbers, and what can be asked of them. Nothing here touches the page.
"use strict";

let DATA, COLUMN, TEXTS;

// The data block is JSON, packed by gzip, in base64.
async function unpack(block) {
  const spelled = atob(block.textContent), bytes = new Uint8Array(spelled.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = spelled.charCodeAt(i);
  DATA = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  block.remove();
  COLUMN = DATA.columns;
  TEXTS = new Set(Object.keys(COLUMN).filter((name) => !Array.isArray(COLUMN[name])));
  for (const name of TEXTS) COLUMN[name].codes = Int32Array.from(COLUMN[name].codes);
}

function text(name, row) {
  const code = COLUMN[name].codes[row];
  return code < 0 ? "" : COLUMN[name].values[code];
}

// A number as it is: null is missing; "nan", "inf" and "-inf" are what JSON has no number for.
function number(name, row) {
  const value = COLUMN[name][row];
  if (value === "nan") return NaN;
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return value;
}

function cellText(name, row) {
  if (TEXTS.has(name)) return text(name, row);
  const value = COLUMN[name][row];
  return value === null ? "" : String(value);
}

function digits(value, count) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size >= 1e6 && count < 9) return value.toExponential(count - 1);
  return value === 0 ? "0" : String(Number(value.toPrecision(count)));
}

// As many digits of a value as tell it from its neighbours in the dtype.
const DECIDING = { float64: 17, float32: 9, float16: 5, bfloat16: 4 };

function shown(name, row) {
  if (TEXTS.has(name)) {
    const value = text(name, row);
    return name === "truth" ? shownTruth(value, (DECIDING[text("dtype", row)] || 17) + 2) : value;
  }
  const value = number(name, row);
  if (name === "value") return digits(value, DECIDING[text("dtype", row)] || 17);
  return digits(value, name === "elements" ? 17 : 3);
}

// The two ends of a truth that is a set "[lo, hi]", as at a kink; of a single decimal, it alone.
function ends(truth) {
  const set = /^\[([^\s,[\]]+), ([^\s,[\]]+)\]$/.exec(truth);
  return set ? [set[1], set[2]] : [truth];
}

// A set stays a set: its centre means nothing.
function shownTruth(truth, count) {
  const cut = ends(truth).map((decimal) => significant(decimal, count));
  return cut.length > 1 ? `[${cut.join(", ")}]` : cut[0];
}

// The largest error in ulps; of a run of schema 1, which lacks it, that of the largest share.
function measured(metric, row) {
  const value = number(metric, row);
  return metric === "max_ulp" && value === null ? number("error_ulp", row) : value;
}

// A decimal string cut to so many significant digits; it may be beyond what a number holds.
function significant(decimal, count) {
  let seen = 0, out = "";
  const [mantissa, exponent] = decimal.split("e");
  for (const c of mantissa) {
    if (/[1-9]/.test(c) || (seen && c === "0")) seen += 1;
    if (seen > count && /[0-9]/.test(c)) { if (out.includes(".")) continue; out += "0"; continue; }
    out += c;
  }
  return exponent === undefined ? out : `${out}e${exponent}`;
}

function isKnown(row) {
  return text("verdict", row) === "deviates" && text("reason", row).startsWith("known:");
}

const SEARCHED = ["case", "who", "quantity", "operator", "accepted_form", "cause", "reason", "dtype", "formula", "execution", "accuracy", "verdict", "run"];

// The rows that hold every word of a search and have the chosen value of each filter. Words are sought in the distinct
// values, never row by row.
function filtered(words, chosen) {
  const wanted = Object.entries(chosen).filter(([, v]) => v !== "").map(([name, v]) => [COLUMN[name].codes, COLUMN[name].values.indexOf(v)]);
  const sought = words.toLowerCase().split(/\s+/).filter(Boolean).map((word) =>
    SEARCHED.map((name) => [COLUMN[name].codes, COLUMN[name].values.map((v) => v.toLowerCase().includes(word))]));
  const rows = [];
  for (let row = 0; row < DATA.rows; row++) {
    if (wanted.every(([codes, code]) => codes[row] === code) &&
        sought.every((columns) => columns.some(([codes, hit]) => codes[row] >= 0 && hit[codes[row]]))) rows.push(row);
  }
  return rows;
}

// Rows in the order of a column; what is missing stands last whichever way, NaN as the largest of numbers.
function sorted(rows, name, descending) {
  const keys = new Float64Array(DATA.rows);
  if (name === "truth") COLUMN.truth.values.forEach((v, code) => { keys[code] = Number(ends(v)[0]); });
  const rank = TEXTS.has(name) && name !== "truth" ? ranks(COLUMN[name].values) : null;
  const key = (row) => {
    if (TEXTS.has(name)) {
      const code = COLUMN[name].codes[row];
      return code < 0 ? null : rank ? rank[code] : keys[code];
    }
    const value = number(name, row);
    return Number.isNaN(value) ? Number.MAX_VALUE : value;
  };
  const pairs = rows.map((row) => [key(row), row]);
  pairs.sort(([a, i], [b, j]) => {
    if (a === null || b === null) return a === b ? i - j : a === null ? 1 : -1;
    const order = a < b ? -1 : a > b ? 1 : 0;
    return (descending ? -order : order) || i - j;
  });
  return pairs.map(([, row]) => row);
}

function ranks(values) {
  const order = values.map((_, i) => i).sort((i, j) => (values[i] < values[j] ? -1 : values[i] > values[j] ? 1 : 0));
  const rank = [];
  order.forEach((code, position) => { rank[code] = position; });
  return rank;
}

const IDENTITY = ["run", "case", "who", "dtype", "level", "quantity"];

function rowLink(row) {
  return "#row=" + IDENTITY.map((name) => encodeURIComponent(text(name, row))).join("&");
}

function rowOf(hash) {
  let wanted;
  try {
    wanted = hash.slice("#row=".length).split("&").map(decodeURIComponent);
  } catch {
    return -1;
  }
  if (wanted.length !== IDENTITY.length) return -1;
  const codes = IDENTITY.map((name, i) => (wanted[i] === "" ? -1 : COLUMN[name].values.indexOf(wanted[i])));
  // An empty text stands for what is missing, but for the run, which is "" where there is one run.
  if (wanted[0] === "") codes[0] = COLUMN.run.values.indexOf("");
  for (let row = 0; row < DATA.rows; row++) {
    if (IDENTITY.every((name, i) => COLUMN[name].codes[row] === codes[i])) return row;
  }
  return -1;
}

// Text that a spreadsheet would take for a formula gets an apostrophe; numbers do not.
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;
const NUMBER = /^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

function csvField(value) {
  const inert = FORMULA.test(value) && !NUMBER.test(value) && value !== "-inf" ? `'${value}` : value;
  return /[",\r\n]/.test(inert) ? `"${inert.replace(/"/g, '""')}"` : inert;
}

function csv(rows, names) {
  return [names, ...rows.map((row) => names.map((name) => cellText(name, row)))].map((line) => line.map(csvField).join(",") + "\n").join("");
}

function markdownField(value) {
  return value.replace(/[\\|`*[\]]/g, "\\$&").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
}

function markdown(rows, names) {
  const line = (cells) => `| ${cells.map(markdownField).join(" | ")} |\n`;
  const rule = `| ${names.map((name) => (TEXTS.has(name) && name !== "truth" ? "---" : "---:")).join(" | ")} |\n`;
  return line(names) + rule + rows.map((row) => line(names.map((name) => shown(name, row)))).join("");
}

// The function of a row that verify judged; null for another's.
function verified(row) {
  const name = text("case", row);
  return name.startsWith("program/") ? name.slice("program/".length).replace(/\/[^/]*$/, "") : null;
}

// The command that reproduces a row, each word quoted for a shell; none for names with control characters, nor for a
// function that was not verified from a command line, nor for an optimizer or a training run, of which the row does not
// say all that was asked.
function command(row) {
  if (/^(update|train)\//.test(text("case", row))) return "";
  const program = verified(row);
  if (program !== null && !/^[\w.]+:[\w.]+$/.test(program)) return "";
  const run = DATA.runs.find((r) => r.run === text("run", row)) || DATA.runs[0] || { device: "cpu", profile: "opencl", seed: "0" };
  const route = text("who", row).split("/").pop();
  const words = program !== null ? ["gradconform", "verify", program, "-r", route, "-d", text("dtype", row)] :
    ["gradconform", "explain", text("case", row), "-a", text("who", row), "-d", text("dtype", row)];
  for (const [name, usual] of [["device", "cpu"], ["profile", "opencl"], ["seed", "0"]]) if (run[name] !== usual) words.push(`--${name}`, run[name]);
  if (words.some((word) => /[\u0000-\u001f\u007f-\u009f]/.test(word)) || words[2].startsWith("-")) return "";
  return words.map((word) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`)).join(" ");
}
