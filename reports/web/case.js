// One case: its network drawn with weights and gradients, and its derivation with what each framework computed.
function showCase() {
  const name = by("case-name").value, dtype = by("case-dtype").value, who = by("case-who").value;
  const of = Object.hasOwn(DATA.cases, name) ? DATA.cases[name] : null, at = of && of.at[dtype];
  const rows = COLUMN.case.values.includes(name) ? filtered("", { case: name, dtype }) : [];
  if (!at) {
    by("network").replaceChildren();
    const why = !rows.length ? `No measurement of this case in ${dtype}.` : verified(rows[0]) !== null ? "A function that was verified has no derivation here; its gradients are above." : "This case is not one of the catalogue’s networks, so that there is no derivation of it here.";
    by("derivation").replaceChildren(element("p", {}, why, ...(rows.length ? [" ", element("a", { href: linkTo("measurements", { search: name, dtype }) }, rows.length === 1 ? "Its measurement" : `Its ${rows.length.toLocaleString("en")} measurements`)] : [])));
    return;
  }
  const derivation = DATA.derivations[of.derivation];
  by("network").replaceChildren(element("p", {}, derivation.title), drawn(derivation, at, rows, who));
  by("derivation").replaceChildren(...equations(derivation, at, rows, dtype));
}

const NARROW = matchMedia("(max-width: 40rem)");

function drawn(derivation, at, rows, who) {
  const layers = derivation.layers.map((layer) => ({ ...layer, drawn: layer.units.length }));
  // On a narrow screen the layers stand closer, and the numbers of the weights below the picture: so it fits, and is read.
  const narrow = NARROW.matches, gap = narrow ? 135 : 260, margin = narrow ? 60 : 90;
  const most = Math.max(...layers.map((l) => l.drawn)), pitch = most > 2 ? 100 : 140, height = pitch * (most - 1) + 120, width = 2 * margin + gap * (layers.length - 1);
  const x = (l) => margin + gap * l, y = (l, i) => 75 + pitch * (i + (most - layers[l].drawn) / 2);
  // Small networks are drawn larger; one of so many layers that it would be too small to read is scrolled instead.
  const deep = layers.length > (narrow ? 3 : 4), scale = narrow || deep || most > 2 ? 1 : 1.5;
  const got = new Map(rows.filter((row) => text("who", row) === who && text("level", row) === "whole").map((row) => [text("quantity", row), number("value", row)]));
  const lines = [], labels = [], numbers = [], spoken = [];
  const largest = Math.max(1e-300, ...at.edges.flatMap((e) => e.weights.flat().map(Math.abs)));
  at.edges.forEach((edge, l) => edge.weights.forEach((of, j) => of.forEach((w, i) => {
    const quantity = edge.quantities ? edge.quantities[j][i] : null;
    const gradient = who && quantity && got.has(quantity) ? got.get(quantity) : edge.gradient[j][i];
    const name = edge.names ? edge.names[j][i] : `W${l + 1}[${j},${i}]`, weight = `${name} = ${digits(w, 4)}`, slope = `∂E = ${digits(gradient, 4)}`, label = `${weight}, ${slope}`;
    lines.push(element("line", { x1: x(l), y1: y(l, i), x2: x(l + 1), y2: y(l + 1, j), class: w < 0 ? "negative" : "positive", "stroke-width": 1 + (5 * Math.abs(w)) / largest }, element("title", {}, label)));
    spoken.push(label);
    if (of.length * edge.weights.length <= 4) {
      // Along its own line, the weight above it and the gradient below; of lines that cross, before they do.
      const crossing = i !== j && of.length > 1 && edge.weights.length > 1, along = crossing ? 0.29 : 0.5;
      const rise = y(l + 1, j) - y(l, i), turn = `translate(${x(l) + along * gap} ${y(l, i) + along * rise}) rotate(${(Math.atan2(rise, gap) * 180) / Math.PI})`;
      const placed = (words, dy) => element("text", { svg: true, y: dy, transform: turn, "text-anchor": "middle", class: "edge" }, words);
      labels.push(...(narrow ? [placed(name, -6)] : [placed(weight, -7), placed(slope, 15)]));
      numbers.push(element("li", {}, label));
    }
  })));
  const units = layers.flatMap((layer, l) => [
    element("text", { svg: true, x: x(l), y: 16, "text-anchor": "middle", class: "label" }, layer.size > layer.drawn ? `${layer.label}: ${layer.drawn} of ${layer.size}` : layer.label),
    ...layer.units.flatMap((unit, i) => [element("circle", { cx: x(l), cy: y(l, i), r: 30 }),
      element("text", { svg: true, x: x(l), y: y(l, i) - 2, "text-anchor": "middle" }, unit), element("text", { svg: true, x: x(l), y: y(l, i) + 12, "text-anchor": "middle" }, digits(at.units[l][i], 4))])]);
  const picture = element("svg", { class: deep ? "deep" : "", width: scale * width, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken.slice(0, 16).join("; ") }, ...lines, ...units, ...labels);
  return element("figure", {}, element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Network" }, picture),
    ...(narrow && numbers.length ? [element("ul", { class: "edges" }, ...numbers)] : []),
    element("figcaption", {}, `Line width is |weight|, dashed is negative; the gradients are ${who && derivation.loss === "E_total" ? who + "’s where it was judged" : "the truth"}.`));
}

// What a step's error and share are of: the truth from the operands that the framework reported, not from the inputs.
function ownTruth(row) {
  const worst = text("worst_index", row), at = worst && ` at [${worst}]`;
  return text("level", row) === "step" && text("truth", row) ? `, truth from its own operands ${shown("truth", row)}${at}` : "";
}

// The answers to the three questions, where they were asked, and what is at fault.
function said(row) {
  const answers = ["formula", "execution", "accuracy"].filter((name) => text(name, row)).map((name) => `${name} ${text(name, row)}`);
  if (text("cause", row)) answers.push(text("cause", row));
  return answers.length ? `: ${answers.join(", ")}` : "";
}

// A decimal as it stands in a formula, to the digits that mean something in the dtype; null for what is no single number.
const WRITTEN = { float64: 9, float32: 6 };
function inFormula(decimal, dtype) {
  if (!/^-?[\d.]+(e[+-]?\d+)?$/.test(decimal)) return null;
  const value = Number(decimal), short = String(Number(value.toPrecision(WRITTEN[dtype] || 4)));
  if (!Number.isFinite(value) || (value === 0 && /[1-9]/.test(decimal.split("e")[0]))) return null; // beyond what a number holds
  return short.startsWith("-") ? `(−${short.slice(1)})` : short;
}

// Each equation with its operands' numbers and what it comes to, by its name; none where one of them is a tensor.
function withNumbers(derivation, at, dtype) {
  const known = new Map(Object.entries(at.given).map(([name, decimal]) => [name, /^−?[\d.]+(e[+-]?\d+)?$/.test(decimal) ? decimal.replace(/^−.*/, "($&)") : null]));
  for (const equation of derivation.equations) known.set(equation.symbol, inFormula(at.truth[equation.name], dtype));
  const longest = [...known.keys()].sort((a, b) => b.length - a.length).map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const symbol = new RegExp(`(?<![\\w∂])(${longest.join("|")})(?!\\w)`, "g"), found = new Map();
  for (const { name, symbol: result, formula } of derivation.equations) {
    const operands = formula.match(symbol) || [], value = known.get(result);
    const put = formula.replace(symbol, (operand) => known.get(operand)).replace(/\(\((−[^()]*)\)\)/g, "($1)");
    if (value !== null && operands.length && operands.every((operand) => known.get(operand) !== null) && put !== value) found.set(name, `= ${put} = ${value.replace(/^\((.*)\)$/, "$1")}`);
  }
  return found;
}

function equations(derivation, at, rows, dtype) {
  const judged = new Map();
  for (const row of rows) {
    const key = `${text("quantity", row)}\n${text("run", row)}\n${text("who", row)}`;
    if (!judged.has(key) || text("level", row) === "step") judged.set(key, row);
  }
  const parts = [element("p", { class: "hint" }, `Given, each rounded to ${dtype}: ` + Object.entries(at.given).map(([n, v]) => `${n} = ${v}`).join(", "))];
  if (!derivation.equations.some((equation) => [...judged.values()].some((row) => text("quantity", row) === equation.name))) parts.push(element("p", {}, "Nothing was judged here: below is the truth alone."));
  const numbers = withNumbers(derivation, at, dtype);
  let group = "", list = null;
  for (const equation of derivation.equations) {
    if (equation.group !== group) {
      group = equation.group;
      list = element("ol", { class: "equations" });
      parts.push(element("h3", {}, group), list);
    }
    const item = element("li", {}, element("code", {}, `${equation.symbol} = ${equation.formula}`), ...(numbers.has(equation.name) ? [element("p", { class: "numbers" }, numbers.get(equation.name))] : []), element("p", {}, `truth ${at.truth[equation.name]}`));
    const answers = element("ul");
    for (const row of judged.values()) if (text("quantity", row) === equation.name) {
      answers.append(element("li", {}, `${text("who", row)}: ${shown("value", row)}, ${digits(number("error_ulp", row), 3)} ulp, share ${digits(number("share", row), 3)}, `,
        element("a", { href: rowLink(row), class: state(row) }, text("verdict", row)), ` (${text("level", row)})`, said(row), ownTruth(row)));
    }
    if (answers.childElementCount) item.append(answers);
    list.append(item);
  }
  return parts;
}
