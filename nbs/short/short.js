// The live pictures of the short version. No network runs here: the samples were drawn before and lie in samples.png,
// one tile each; answers.json says whose. What stands in the page without scripts is replaced, or made to move.

const SIDE = 28, PIXELS = SIDE * SIDE, TOP = 110, LOW = 0.08, HIGH = 0.6;  // of the plots: pixels for a probability of 1, and the penalties that they show
const HIDDEN = [198, 216, 232];                    // COLORS["hidden"] of the library
const CASES = [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.2, 0.2, 0.2], WIDTH = 0.1;
const KS = [...new Set(Array.from({ length: 65 }, (_, n) => Math.round(2 ** (n / 8))))];  // places of the slider
const WALL = 32;
const hidden = i => !(Math.floor(i / SIDE) >= SIDE / 2 && i % SIDE < SIDE / 2);  // the lower left quadrant is visible

const average = values => values.reduce((a, b) => a + b) / values.length;
const clamp = (value, low = 0, high = 1) => Math.min(high, Math.max(low, value));
const nearest = value => Math.round(100 * value) / 100;
const percent = value => `${(100 * value).toFixed(1)}%`;

/** What one answer pays: its average squared distance to the ten cases. */
export const distancePenalty = answer => average(CASES.map(y => (y - answer) ** 2));

/** How surprising the ten cases are to a coin with two answers, each good for what lies within about 0.1 of it. */
function surprise({ heads, tails, chance }) {
  const near = (y, answer) => Math.exp(-(((y - answer) / WIDTH) ** 2) / 2);
  return average(CASES.map(y => -Math.log(chance * near(y, heads) + (1 - chance) * near(y, tails) + 1e-300)));
}
const LEARNT = { heads: 0.9, tails: 0.2, chance: 0.7 };
export const coinPenalty = coin => Math.max(0, surprise(coin) - surprise(LEARNT));

/** A step towards less surprise: each answer moves to the cases that it explains better than the other does. */
export function learn({ heads, tails, chance }, rate = 0.15) {
  if (Math.abs(heads - tails) < 0.02) heads = clamp(tails + (tails < 0.5 ? 0.03 : -0.03));  // two equal answers stay equal
  const near = (y, answer) => -(((y - answer) / WIDTH) ** 2) / 2;
  const share = CASES.map(y => 1 / (1 + (1 - chance) / chance * Math.exp(near(y, tails) - near(y, heads))));
  const sum = weights => weights.reduce((a, b) => a + b) + 1e-9;
  const mean = weights => CASES.reduce((total, y, n) => total + weights[n] * y, 0) / sum(weights);
  const rest = share.map(s => 1 - s), step = (from, to) => from + rate * (to - from);
  return { heads: step(heads, mean(share)), tails: step(tails, mean(rest)), chance: clamp(step(chance, average(share)), 0.02, 0.98) };
}

/** One input: its truth, the one answer and the samples, numbers from 0, no ink, to 1. */
let fetched;
const get = () => fetched ??= load().catch(error => { fetched = null; throw error; });

async function load() {
  const file = async name => {
    const answer = await fetch(new URL(name, import.meta.url));
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
    return answer;
  };
  const [answers, sheet] = await Promise.all([
    file("answers.json").then(answer => answer.json()),
    file("samples.png").then(async answer => createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" }))]);
  const canvas = Object.assign(document.createElement("canvas"), { width: sheet.width, height: sheet.height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(sheet, 0, 0);
  const tile = n => {
    const { data } = pen.getImageData(n % answers.columns * SIDE, Math.floor(n / answers.columns) * SIDE, SIDE, SIDE);
    return Float32Array.from({ length: PIXELS }, (_, i) => data[4 * i] / 255);
  };
  return answers.inputs.map((input, n) => {
    const first = n * (answers.samples + 2);
    return { ...input, truth: tile(first), answer: tile(first + 1), samples: Array.from({ length: answers.samples }, (_, s) => tile(first + 2 + s)) };
  });
}

/** The average of the first K pictures. */
export function averageOf(pictures, K = pictures.length) {
  const sum = new Float64Array(PIXELS);
  for (const picture of pictures.slice(0, K)) for (let i = 0; i < PIXELS; i++) sum[i] += picture[i];
  return sum.map(v => v / K);
}

/** The variance of each pixel over the samples, in two parts: within them, the average of p (1 - p), and between them. */
export function variances(samples) {
  const mean = averageOf(samples), within = averageOf(samples.map(p => p.map(v => v * (1 - v))));
  return { mean, within, between: averageOf(samples.map(p => p.map((v, i) => (v - mean[i]) ** 2))) };
}

/** The root of the average squared distance over the hidden pixels. */
export function distance(a, b) {
  let sum = 0, count = 0;
  for (let i = 0; i < PIXELS; i++) if (hidden(i)) { sum += (a[i] - b[i]) ** 2; count++; }
  return Math.sqrt(sum / count);
}

function paint(canvas, image) {  // ink on white paper; what is below 0 is hidden
  const pixels = new ImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++)
    for (let c = 0; c < 4; c++) pixels.data[4 * i + c] = c === 3 ? 255 : image[i] < 0 ? HIDDEN[c] : Math.round(255 - 255 * image[i]);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

const CANVAS = '<canvas width="28" height="28"></canvas>';
const picture = (part, title, kind = "") => `<div class="picture ${kind}"><div class="spot">
  <canvas width="28" height="28" data-part="${part}" role="img" aria-label="${title}"></canvas></div><span data-part="${part}-title">${title}</span></div>`;
const slider = (name, title, low, high, step) => `<label class="slider">${title} <b data-part="${name}-value"></b>
  <input type="range" name="${name}" min="${low}" max="${high}" step="${step}"></label>`;

class Widget extends HTMLElement {
  connectedCallback() {
    this.addEventListener("input", ({ target: { name, type, value } }) => this.set({ [type === "radio" ? "input" : name]: Number(value) }));
    this.start();
  }

  find() { this.parts = Object.fromEntries([...this.querySelectorAll("[data-part]")].map(e => [e.dataset.part, e])); }

  put(name, value, said) {  // a setting, on its slider
    this.querySelector(`[name=${name}]`).value = value;
    this.querySelector(`[name=${name}]`).setAttribute("aria-valuetext", said);
    this.parts[`${name}-value`].textContent = said;
  }

  /** Call move(x, y, pressed on) with places in 0..1 of an element while a pointer drags it, or hovers if it may. */
  follow(element, move, hover = false) {
    let on = null;
    const tell = event => {
      const box = element.getBoundingClientRect();
      move(clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height), on);
    };
    element.addEventListener("pointerdown", event => { on = event.target; element.setPointerCapture(event.pointerId); tell(event); });
    element.addEventListener("pointermove", event => { if (on || (hover && event.pointerType === "mouse")) tell(event); });
    for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { on = null; });
  }
}

customElements.define("short-answer", class extends Widget {
  start() {
    this.insertAdjacentHTML("beforeend", `${slider("answer", "Answer:", 0, 1, 0.01)}<p class="said"><output data-part="said"></output></p>`);
    this.find();
    this.follow(this.querySelector(".plot svg"), x => this.set({ answer: nearest(x) }));
    this.set({ answer: 0.35 });
  }

  set({ answer }) {
    const { stem, handle, said } = this.parts, penalty = distancePenalty(answer), y = 115 * (HIGH - penalty) / (HIGH - LOW);
    for (const end of ["x1", "x2"]) stem.setAttribute(end, percent(answer));
    stem.setAttribute("y1", y);
    handle.setAttribute("cx", percent(answer));
    handle.setAttribute("cy", y);
    this.put("answer", answer, answer.toFixed(2));
    said.value = `Penalty ${penalty.toFixed(3)}${answer === 0.69 ? ", the lowest possible" : ""}`;
  }
});

customElements.define("short-coin", class extends Widget {
  start() {
    this.insertAdjacentHTML("beforeend", `<div class="sliders">${slider("heads", "Heads:", 0, 1, 0.01)}
      ${slider("tails", "Tails:", 0, 1, 0.01)}${slider("chance", "Chance of H:", 0.02, 0.98, 0.01)}</div>
      <p class="said"><button type="button">Let it learn</button> <output data-part="said"></output></p>`);
    this.find();
    this.querySelector("button").addEventListener("click", () => this.learn());
    const plot = this.querySelector(".plot svg");
    this.follow(plot, (x, y, on) => {
      const side = on.dataset.part?.startsWith("tails") ? "tails" : on.dataset.part?.startsWith("heads") ? "heads" : null;
      if (!side) return;
      const up = clamp((plot.clientHeight * (1 - y)) / TOP, 0.02, 0.98);
      this.set({ [side]: nearest(x), chance: nearest(side === "heads" ? up : 1 - up) });
    });
    this.set({ heads: 0.6, tails: 0.5, chance: 0.5 });
  }

  set(changes, learning = false) {
    if (!learning) this.turn = null;  // a hand stops the learning
    this.coin = { ...this.coin, ...changes };
    const { heads, tails, chance } = this.coin, { parts } = this, penalty = coinPenalty(this.coin);
    for (const [side, answer, probability] of [["heads", heads, chance], ["tails", tails, 1 - chance]]) {
      const top = this.querySelector(".plot svg").clientHeight - TOP * probability;
      parts[side].style.x = percent(answer);
      parts[side].style.y = `${top}px`;
      parts[side].style.height = `${TOP * probability}px`;
      for (const [part, dy] of [["handle", 0], ["name", 4.5]]) {
        const element = parts[`${side}-${part}`], [x, y] = part === "handle" ? ["cx", "cy"] : ["x", "y"];
        element.setAttribute(x, percent(answer));
        element.setAttribute(y, top + dy);
      }
      this.put(side, answer, answer.toFixed(2));
    }
    this.put("chance", chance, `${(100 * chance).toFixed(0)} %`);
    parts.said.value = `Penalty ${penalty.toFixed(2)}${penalty < 0.005 ? ", the lowest possible" : ""}`;
  }

  async learn() {
    const turn = this.turn = {}, still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    for (let step = 0; step < 400 && turn === this.turn && coinPenalty(this.coin) > 0.0005; step++) {
      this.set(learn(this.coin), true);
      if (!still) await new Promise(requestAnimationFrame);
    }
    if (turn === this.turn) this.set(Object.fromEntries(Object.entries(this.coin).map(([name, value]) => [name, nearest(value)])));
  }
});

/** A widget that needs the samples, and fetches them when it comes into view. */
class Sampled extends Widget {
  start() {
    const seen = new IntersectionObserver(entries => {
      if (entries.some(entry => entry.isIntersecting)) { seen.disconnect(); this.open(); }
    }, { rootMargin: "300px" });
    seen.observe(this);
  }

  async open() {
    this.querySelector("[role=alert]")?.remove();
    try { this.inputs = await get(); } catch (error) {  // the still picture stays
      this.insertAdjacentHTML("beforeend", '<p class="said" role="alert"></p>');
      const [alert, again] = [this.querySelector("[role=alert]"), document.createElement("button")];
      alert.append(`The samples could not be fetched (${error.message}). `, Object.assign(again, { type: "button", textContent: "Try again" }));
      again.addEventListener("click", () => this.open());
      return;
    }
    const quarter = ({ kind }, n) => `<label><input type="radio" name="${this.localName}" value="${n}"
      aria-label="Quarter ${n + 1}, of ${kind === "open" ? "more than one digit" : "one digit"}">${CANVAS}</label>`;
    this.innerHTML = `<fieldset class="tray"><legend>Quarter</legend>${this.inputs.map(quarter).join("")}</fieldset>${this.layout}`;
    this.find();
    this.querySelectorAll(".tray canvas").forEach((canvas, n) => paint(canvas, this.seen(n)));
    this.prepare?.();
    this.set({ input: this.first });
    this.dataset.ready = "";
  }

  seen(n) { return this.inputs[n].truth.map((ink, i) => hidden(i) ? -1 : ink); }
}

customElements.define("short-average", class extends Sampled {
  first = 0;
  layout = `<div class="pictures">${picture("seen", "seen")}${picture("average", "average of K samples", "cvae")}
      ${picture("answer", "one answer", "baseline")}</div>
    ${slider("k", "K, samples averaged:", 0, KS.length - 1, 1)}
    <div class="wall" data-part="wall" role="img" aria-label="Samples">${CANVAS.repeat(WALL)}</div>
    <p class="said"><output data-part="said"></output></p>`;

  set({ input = this.input, k = this.k ?? 0 }) {
    const { parts } = this, K = KS[k];
    if (input !== this.input) {
      const { samples, answer } = this.inputs[input];
      paint(parts.seen, this.seen(input));
      paint(parts.answer, answer);
      [...parts.wall.children].forEach((canvas, n) => paint(canvas, samples[n]));
      this.alone = Math.sqrt(average(samples.map(p => distance(p, answer) ** 2)));
    }
    Object.assign(this, { input, k });
    const { samples, answer } = this.inputs[input], mean = averageOf(samples, K);
    this.querySelectorAll("[type=radio]").forEach((radio, n) => { radio.checked = n === input; });
    paint(parts.average, mean);
    parts["average-title"].textContent = K === 1 ? "one sample" : `average of ${K} samples`;
    parts.average.setAttribute("aria-label", parts["average-title"].textContent);
    [...parts.wall.children].forEach((canvas, n) => canvas.classList.toggle("in", n < K));
    this.put("k", k, K);
    parts.said.value = `Distance to the one answer: ${distance(mean, answer).toFixed(3)} (single samples: ${this.alone.toFixed(3)})`;
  }
});

customElements.define("short-variance", class extends Sampled {
  first = 2;
  layout = `<div class="maps" data-part="maps" tabindex="0" role="application" aria-label="A pixel of the picture; the arrow keys move it">
      ${picture("one", "one answer", "baseline")}${picture("both", "samples", "cvae")}${picture("within", "within", "within")}${picture("between", "between", "between")}</div>
    <p class="title">The pixel in each sample, and in the one answer</p>
    <div class="plot dots" aria-hidden="true"><svg><g data-part="dots"></g><line data-part="mark" y1="0" y2="48"/></svg><div class="scale"><b>0</b><b>1</b></div></div>
    <div class="bars" aria-hidden="true"><span>one answer</span><div><i class="baseline" data-part="one-bar"></i></div>
      <span>samples</span><div><i class="within" data-part="within-bar"></i><i class="between" data-part="between-bar"></i></div></div>
    <p class="said"><output data-part="said"></output></p>`;

  prepare() {
    const { dots, maps } = this.parts, [SVG, high] = ["http://www.w3.org/2000/svg", 48];
    this.inputs[0].samples.forEach((_, n) => {
      const dot = document.createElementNS(SVG, "circle");
      dot.setAttribute("cy", 6 + (high - 12) * (n * 0.618034 % 1));  // spread, so that they do not hide each other
      dot.setAttribute("r", 3);
      dots.append(dot);
    });
    for (const spot of this.querySelectorAll(".spot")) {
      spot.insertAdjacentHTML("beforeend", "<i></i>");
      this.follow(spot, (x, y) => this.set({ pixel: SIDE * Math.min(SIDE - 1, Math.floor(SIDE * y)) + Math.min(SIDE - 1, Math.floor(SIDE * x)) }), true);
    }
    maps.addEventListener("keydown", event => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      const row = clamp(Math.floor(this.pixel / SIDE) + step[0], 0, SIDE - 1), column = clamp(this.pixel % SIDE + step[1], 0, SIDE - 1);
      this.set({ pixel: SIDE * row + column });
    });
  }

  set({ input = this.input, pixel = this.pixel }) {
    const { parts } = this;
    if (input !== this.input) {
      const { samples, answer } = this.inputs[input], { within, between } = variances(samples);
      this.split = { one: answer.map((p, i) => hidden(i) ? p * (1 - p) : 0), within, between, both: within.map((v, i) => v + between[i]) };
      for (const v of [within, between, this.split.both]) for (let i = 0; i < PIXELS; i++) if (!hidden(i)) v[i] = 0;  // seen
      for (const [name, values] of Object.entries(this.split)) paint(parts[name], values.map(v => 4 * v));
      pixel = between.indexOf(Math.max(...between));  // where the samples differ most
    }
    Object.assign(this, { input, pixel });
    this.querySelectorAll("[type=radio]").forEach((radio, n) => { radio.checked = n === input; });
    const [row, column] = [Math.floor(pixel / SIDE), pixel % SIDE], at = name => this.split[name][pixel];
    for (const mark of this.querySelectorAll(".spot i")) Object.assign(mark.style, { left: percent(column / SIDE), top: percent(row / SIDE) });
    [...parts.dots.children].forEach((dot, n) => dot.setAttribute("cx", percent(this.inputs[input].samples[n][pixel])));
    for (const end of ["x1", "x2"]) parts.mark.setAttribute(end, percent(this.inputs[input].answer[pixel]));
    for (const name of ["one", "within", "between"]) parts[`${name}-bar`].style.width = percent(4 * at(name));
    parts.said.value = hidden(pixel) ? `Variance: one answer ${at("one").toFixed(3)}, samples ${at("within").toFixed(3)} within + ${at("between").toFixed(3)} between`
      : "This pixel is seen: nothing is open";
  }
});
