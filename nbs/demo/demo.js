// <cvae-demo>: complete a digit again and again, in the reader's browser. With the attribute `small`, the slider alone.
// What the reader sets is in the address of the page, so a link shows the same. The networks are in net.js.
import { SIDE, PIXELS, directions, distance, hide, join, latent, maskToText, networks, normals, pick, readSafetensors, textToMask, uniforms, visibleMask } from "./net.js";

const SAMPLES = 256, WALL = 32;      // samples for an input; how many of them are shown
const WORK = 12;                     // milliseconds between two frames
const PATIENCE = 10_000;             // milliseconds without a byte, then the network is taken to be gone
const TRAY = { "": 24, small: 12 };  // digits to pick from; the file holds more, for the random ones
const HIDDEN = [198, 216, 232], DOUBT = [0, 114, 178];  // COLORS["hidden"] and COLORS["cvae"] of the library
const BRUSH = 2.2;                   // radius in pixels of the image
const KS = [...new Set(Array.from({ length: 65 }, (_, n) => Math.round(2 ** (n / 8))))];  // places of the slider
const DIGITS = [...Array(10).keys()];

// What a link can say: the value without one, the smallest, the largest, the step
const SETTINGS = {
  digit: [0, 0, 95, 1], q: [1, 1, 3, 1], seed: [0, 0, 999999, 1], k: [1, 1, SAMPLES, 1],
  t: [1, 0, 2, 0.1], a: [0, -3, 3, 0.25], b: [0, -3, 3, 0.25],
};

/** The settings in a query string: whatever it says, each is a number in its range, and `m` a painted mask or "". */
export function readSettings(query) {
  const params = new URLSearchParams(query);
  const m = params.get("m"), numbers = Object.entries(SETTINGS).map(([name, [usual, low, high, step]]) => {
    const value = Number.parseFloat(params.get(name));
    const near = Number((Math.round(value / step) * step).toFixed(2));
    return [name, Number.isFinite(near) ? Math.min(high, Math.max(low, near)) : usual];
  });
  return { ...Object.fromEntries(numbers), m: textToMask(m) ? m : "" };
}

/** The query string of settings, without those that are as usual; empty if all are. */
export function writeSettings(settings) {
  const query = new URLSearchParams(Object.entries(settings).filter(([name, value]) => value !== (SETTINGS[name]?.[0] ?? ""))).toString();
  return query && `?${query}`;
}

const fetched = {};  // by name, so that two widgets, or a second try, fetch a file once
const get = name => fetched[name] ??= load(name).catch(error => {
  delete fetched[name];
  throw new Error(`${name}: ${error.message}`);
});

async function load(name) {
  const gone = new AbortController(), chunks = [];
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => gone.abort(new Error(`nothing has come for ${PATIENCE / 1000} seconds`)), PATIENCE);
  };
  try {
    wait();
    const answer = await fetch(new URL(name, import.meta.url), { signal: gone.signal });
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    for (let body = answer.body.getReader(), part; !(part = await body.read()).done; wait()) chunks.push(part.value);
  } finally { clearTimeout(timer); }
  return readSafetensors(await new Blob(chunks).arrayBuffer());
}

const nextFrame = () => new Promise(done => requestAnimationFrame(done));

function paint(canvas, image) {
  const pixels = new ImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++)
    for (let c = 0; c < 4; c++)
      pixels.data[4 * i + c] = c === 3 ? 255 : image[i] < 0 ? HIDDEN[c] : 255 - 255 * image[i];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** How much the samples differ: their standard deviation, from paper to full colour at 0.5, beside faint visible ink. */
function paintDoubt(canvas, x, variance) {
  const pixels = new ImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++)
    for (let c = 0; c < 4; c++)
      pixels.data[4 * i + c] = c === 3 ? 255 : x[i] < 0 ? 255 - (255 - DOUBT[c]) * Math.min(1, 2 * Math.sqrt(variance[i])) : 255 - 70 * x[i];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** The mask with all pixels near a line from one place to another made visible or not. */
function brushed(mask, [x0, y0], [x1, y1], visible) {
  const [dx, dy] = [x1 - x0, y1 - y0], length = dx * dx + dy * dy;
  return mask.map((was, i) => {
    const px = i % SIDE + 0.5 - x0, py = Math.floor(i / SIDE) + 0.5 - y0, along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
    return Math.hypot(px - along * dx, py - along * dy) < BRUSH ? visible : was;
  });
}

/** A drawing as MNIST would have it: its ink fits a box of 20 by 20, its centre of mass is the centre of the image. */
function centre(drawing) {
  const { width, height } = drawing, { data } = drawing.getContext("2d").getImageData(0, 0, width, height);
  let left = width, right = -1, top = height, bottom = -1;
  for (let y = 0, i = 3; y < height; y++)
    for (let x = 0; x < width; x++, i += 4)
      if (data[i]) { left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = y; }
  if (right < 0) return new Float32Array(PIXELS);  // nothing drawn
  const w = right - left + 1, h = bottom - top + 1, scale = 20 / Math.max(w, h);
  const pen = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  const place = (x, y) => {  // the centre of the box
    pen.clearRect(0, 0, SIDE, SIDE);
    pen.drawImage(drawing, left, top, w, h, x - w * scale / 2, y - h * scale / 2, w * scale, h * scale);
    const pixels = pen.getImageData(0, 0, SIDE, SIDE).data;
    return new Float32Array(PIXELS).map((_, i) => pixels[4 * i + 3] / 255);
  };
  const image = place(SIDE / 2, SIDE / 2), mass = image.reduce((a, b) => a + b);
  const mean = of => image.reduce((sum, ink, i) => sum + ink * (of(i) + 0.5), 0) / mass;
  return place(SIDE - mean(i => i % SIDE), SIDE - mean(i => Math.floor(i / SIDE)));
}

const picture = (part, title, kind = "") =>
  `<div class="picture ${kind}"><canvas width="28" height="28" data-part="${part}" role="img" aria-label="${title}"></canvas>
   <span data-part="${part}-title">${title}</span></div>`;

const slider = (name, title, low, high, step) =>
  `<label class="slider">${title} <b data-part="${name}-value"></b>
   <input type="range" name="${name}" min="${low}" max="${high}" step="${step}"></label>`;

const fullSlider = (name, title) => slider(name, title, ...SETTINGS[name].slice(1));

const choice = (name, value, content) =>
  `<label><input type="radio" name="${name}" value="${value}">${content}</label>`;

const TOP = tray => `
  <fieldset class="tray"><legend>Pick a digit</legend>
    ${Array.from({ length: tray }, (_, n) => choice("digit", n, '<canvas width="28" height="28"></canvas>')).join("")}
  </fieldset>`;

const SLIDER = (first, last) => `
  <div class="pictures">${first}${picture("truth", "truth")}
    ${picture("baseline", "baseline", "baseline")}${picture("mean", "mean of K samples", "cvae")}${last}</div>
  ${slider("k", "K, samples averaged", 0, KS.length - 1, 1)}
  <div class="curve" aria-hidden="true"><svg viewBox="0 0 8 1" preserveAspectRatio="none"><path data-part="all"/><path data-part="past"/></svg>
    <i data-part="dot"></i><em>distance</em>${[1, 4, 16, 64, 256].map(k => `<b style="left:${100 * Math.log2(k) / 8}%">${k}</b>`).join("")}</div>
  <p class="said"><output data-part="distance"></output></p>`;

const LAYOUT = {
  small: `${TOP(TRAY.small)}${SLIDER(picture("input", "input"), "")}
    <p><a data-part="more">All digits, your own drawings and more to try</a></p>`,
  "": `${TOP(TRAY[""])}
    <p class="buttons"><button type="button" data-do="random">Another digit</button>
      <button type="button" data-do="draw" aria-expanded="false">Draw your own</button></p>
    <div class="pad" data-part="pad" hidden><canvas width="280" height="280" data-part="drawing" role="img" aria-label="Drawing pad"></canvas>
      <p>Draw one digit with mouse, pen or finger. <button type="button" data-do="clear">Clear</button></p></div>
    <div class="mask"><div class="painter"><canvas width="28" height="28" data-part="input" tabindex="0" role="application"
        aria-label="Input. Paint what is hidden: arrow keys move the brush, space paints, shift and arrow keys paint a line."></canvas><i data-part="brush"></i></div>
      <div><p class="title">Paint what is hidden</p>
        <fieldset class="counts"><legend>The brush</legend>${choice("brush", 0, "hides")}${choice("brush", 1, "reveals")}</fieldset>
        <fieldset class="counts"><legend>Visible quadrants</legend>${[1, 2, 3].map(n => choice("q", n, n)).join("")}</fieldset>
        <p class="buttons"><button type="button" data-do="hideAll">Hide all</button><button type="button" data-do="showAll">Show all</button></p>
        <p class="said">With mouse, pen or finger; or with the arrow keys and space.</p></div></div>
    ${SLIDER("", picture("doubt", "uncertainty"))}
    <div class="panel"><p class="title">${WALL} of the ${SAMPLES} samples</p>
      <div class="wall" data-part="wall" role="img" aria-label="Samples">${'<canvas width="28" height="28"></canvas>'.repeat(WALL)}</div>
      <div class="side"><button type="button" data-do="again">Sample again</button>${fullSlider("t", "Temperature")}</div></div>
    <div class="panel"><p class="title">Which digit?</p>
      <p class="key"><span class="cvae">samples</span> <span class="classifier">classifier of the visible pixels</span>
        <span class="baseline">baseline’s picture</span></p>
      <div class="bars" data-part="bars" role="img" aria-label="Class mix">${DIGITS.map(n => `<div><i class="cvae"></i><i class="classifier"></i><i class="baseline"></i><b>${n}</b></div>`).join("")}</div>
      <p class="said"><output data-part="mix"></output></p></div>
    <div class="panel walk"><p class="title">A walk from the prior’s highest hill</p>
      <div class="side">${picture("walk", "one z", "cvae")}
      <div>${fullSlider("a", "First direction")}${fullSlider("b", "Second direction")}<p class="said">
        Steps in standard deviations of that hill, along the two directions that change the picture most.</p></div></div></div>`,
};

const FETCHING = '<p class="said" role="status">Fetching the networks (3 MB) …</p>';

const FAILED = `<p class="failed" role="alert">The networks could not be fetched (<span data-part="why"></span>).
  Check the connection, then <button type="button" data-do="start">try again</button>.</p>`;

class Demo extends HTMLElement {
  connectedCallback() {
    this.settings = readSettings(location.search);
    this.addEventListener("input", ({ target: { name, value } }) => {
      if (name in SETTINGS) this.set({ [name]: name === "k" ? KS[value] : Number(value) });
    });
    this.addEventListener("change", () => this.keep());
    this.addEventListener("click", ({ target }) => {
      const action = target.closest("[data-do]")?.dataset.do;
      if (action) this[action]();
    });
    const seen = new IntersectionObserver(entries => {
      if (entries.some(entry => entry.isIntersecting)) { seen.disconnect(); this.start(); }
    }, { rootMargin: "100px" });
    seen.observe(this);
  }

  get kind() { return this.hasAttribute("small") ? "small" : ""; }

  lay(html) {
    this.innerHTML = html;
    this.parts = Object.fromEntries([...this.querySelectorAll("[data-part]")].map(e => [e.dataset.part, e]));
  }

  async start() {
    const start = performance.now();
    this.setAttribute("aria-busy", "true");
    this.lay(FETCHING);
    try {
      const [weights, tray] = await Promise.all([get("weights.safetensors"), get("digits.safetensors")]);
      this.nets = networks(weights);
      this.digits = tray.digits.data;
      this.image = n => new Float32Array(tray.images.data.subarray(n * PIXELS, (n + 1) * PIXELS)).map(v => v / 255);
    } catch (error) {
      this.lay(FAILED);
      this.parts.why.textContent = error.message;
      this.setAttribute("aria-busy", "false");
      return;
    }
    this.lay(LAYOUT[this.kind]);
    this.querySelectorAll(".tray canvas").forEach((canvas, n) => paint(canvas, this.image(n)));
    this.querySelectorAll("[name=digit]").forEach((radio, n) => radio.setAttribute("aria-label", `A ${this.digits[n]}, number ${n + 1}`));
    if (this.parts.drawing) this.listen(this.parts.drawing);
    if (this.parts.brush) this.paintOn(this.parts.input);
    const answered = this.ask();
    performance.measure("cvae-demo ready", { start });  // since it came into view
    await answered;
    performance.measure("cvae-demo answered", { start });
  }

  /** Change settings, and draw again what depends on them. */
  set(changes) {
    Object.assign(this.settings, changes);
    if ("digit" in changes) this.drawn = null;
    if ("q" in changes) this.settings.m = "";
    if ("k" in changes) this.showMean();
    else if ("a" in changes || "b" in changes) this.showWalk();
    else this.ask();
  }

  /** The settings into the address, and into the link to the other form of the widget. */
  keep() {
    const query = writeSettings(this.settings);
    history.replaceState(history.state, "", `${location.pathname}${query}${location.hash}`);
    if (this.parts.more) this.parts.more.href = `demo.html${query}`;
  }

  random() { this.set({ digit: TRAY[""] + Math.floor(Math.random() * (this.digits.length - TRAY[""])) }); this.keep(); }

  again() { this.set({ seed: (this.settings.seed + 1) % (SETTINGS.seed[2] + 1) }); this.keep(); }

  draw() {
    this.parts.pad.hidden = !this.parts.pad.hidden;
    this.querySelector("[data-do=draw]").setAttribute("aria-expanded", String(!this.parts.pad.hidden));
  }

  clear() { this.parts.drawing.getContext("2d").clearRect(0, 0, 280, 280); }

  listen(pad) {
    const pen = Object.assign(pad.getContext("2d", { willReadFrequently: true }), { lineWidth: 22, lineCap: "round", lineJoin: "round" });
    const line = ({ offsetX, offsetY }, from) => {
      const scale = pad.width / pad.clientWidth, to = [offsetX * scale, offsetY * scale];
      pen.beginPath(); pen.moveTo(...from ?? to); pen.lineTo(...to); pen.stroke();
      return to;
    };
    let at = null;
    pad.addEventListener("pointerdown", event => { pad.setPointerCapture(event.pointerId); at = line(event); });
    pad.addEventListener("pointermove", event => { if (at) at = line(event, at); });
    for (const end of ["pointerup", "pointercancel"])
      pad.addEventListener(end, () => { if (at) { at = null; this.drawn = centre(pad); this.ask(); } });
  }

  hideAll() { this.set({ m: maskToText(new Uint8Array(PIXELS)) }); this.keep(); }

  showAll() { this.set({ m: maskToText(new Uint8Array(PIXELS).fill(1)) }); this.keep(); }

  /** What is hidden, by pointer and by keys. */
  paintOn(canvas) {
    const [hides] = this.querySelectorAll("[name=brush]"), { style } = this.parts.brush;
    const place = ({ offsetX, offsetY }) => [offsetX, offsetY].map(v => v * SIDE / canvas.clientWidth);
    let at = null, key = [SIDE / 2, SIDE / 2];
    hides.checked = true;
    const paintTo = (from, to) => this.set({ m: maskToText(brushed(this.mask, from, to, hides.checked ? 0 : 1)) });
    const show = () => Object.assign(style, { left: `${100 * key[0] / SIDE}%`, top: `${100 * key[1] / SIDE}%` });
    show();
    canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); at = place(event); paintTo(at, at); });
    canvas.addEventListener("pointermove", event => { if (at) { const to = place(event); paintTo(at, to); at = to; } });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { if (at) { at = null; this.keep(); } });
    canvas.addEventListener("keydown", event => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] }[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const to = key.map((v, n) => Math.min(SIDE - 0.5, Math.max(0.5, v + step[n])));
      if (event.shiftKey || event.key === " ") { paintTo(key, to); this.keep(); }
      key = to;
      show();
    });
  }

  /** A new question: the baseline answers at once, then come the samples, a few between two frames. */
  async ask() {
    const { digit, q, m, seed, t } = this.settings, turn = this.turn = {};
    const image = this.drawn ?? this.image(digit), mask = textToMask(m) ?? visibleMask(q), x = hide(image, mask);
    const prior = this.nets.prior(x), generate = this.nets.generation(x), guess = this.nets.baseline(x);
    const uniform = uniforms(seed), next = normals(uniform), size = prior.hills[0].mean.length;
    const sum = new Float32Array(PIXELS), squares = new Float32Array(PIXELS), mix = new Float32Array(10), wall = this.parts.wall?.children ?? [];
    Object.assign(this, { x, mask, prior, generate, guess, axes: null });
    this.answer = { means: [], distances: [], single: 0 };
    this.setAttribute("aria-busy", "true");
    this.showQuestion(image);
    let start = performance.now();
    for (let n = 1; n <= SAMPLES; n++) {
      const hill = pick(prior, uniform()), sample = generate(latent(prior, Array.from({ length: size }, () => t * next()), hill));
      for (let i = 0; i < PIXELS; i++) { sum[i] += sample[i]; squares[i] += sample[i] ** 2; }
      const mean = sum.map(v => v / n), { means, distances } = this.answer;
      this.answer.single += (distance(sample, guess, mask) ** 2 - this.answer.single) / n;
      distances.push(distance(means[means.push(mean) - 1], guess, mask));
      if (n <= wall.length) paint(wall[n - 1], join(x, sample, mask));
      if (this.parts.bars) this.nets.read(join(x, sample, mask)).forEach((p, i) => { mix[i] += p; });
      if (performance.now() - start > WORK) {
        this.showMean();
        this.showMix(mix.map(v => v / n));
        this.showDoubt(sum, squares, n);
        await nextFrame();
        if (turn !== this.turn) return;  // another question has come
        start = performance.now();
      }
    }
    this.showMean();
    this.showMix(mix.map(v => v / SAMPLES), true);
    this.showDoubt(sum, squares, SAMPLES);
    this.showWalk();
    this.setAttribute("aria-busy", "false");
  }

  showQuestion(image) {
    const { settings, parts, x, mask, guess } = this, whole = this.drawn ? "your drawing" : `truth: a ${this.digits[settings.digit]}`;
    for (const radio of this.querySelectorAll("[name=digit], [name=q]"))
      radio.checked = Number(radio.value) === settings[radio.name] && !(radio.name === "digit" ? this.drawn : settings.m);
    for (const name of ["k", "t", "a", "b"]) {
      const range = this.querySelector(`[name=${name}]`);
      if (range) range.value = name === "k" ? KS.findLastIndex(k => k <= settings.k) : settings[name];
    }
    if (parts["t-value"]) parts["t-value"].textContent = settings.t.toFixed(1);
    parts["truth-title"].textContent = whole;
    parts.truth.setAttribute("aria-label", whole);
    paint(parts.input, x);
    paint(parts.truth, image);
    paint(parts.baseline, join(x, guess, mask));
    if (parts.more) parts.more.href = `demo.html${writeSettings(settings)}`;
  }

  /** The mean of the first K samples, and its distance to the baseline's picture: only a look at what is there. */
  showMean() {
    const { parts, x, mask, settings, answer: { means, distances, single } } = this, k = Math.min(settings.k, means.length);
    if (!k) return;
    const alone = Math.sqrt(single), top = 1.1 * Math.max(...distances) || 1, now = distances[k - 1];
    const place = (d, n) => `${Math.log2(n + 1).toFixed(3)} ${(1 - d / top).toFixed(4)}`;
    const path = upTo => `M${distances.slice(0, upTo).map(place).join("L")}`;
    paint(parts.mean, join(x, means[k - 1], mask));
    parts["k-value"].textContent = k;
    this.querySelector("[name=k]").setAttribute("aria-valuetext", `${k} samples, distance ${now.toFixed(3)}`);
    parts["mean-title"].textContent = k === 1 ? "one sample" : `mean of ${k} samples`;
    parts.all.setAttribute("d", path());
    parts.past.setAttribute("d", path(k));
    Object.assign(parts.dot.style, { left: `${100 * Math.log2(k) / 8}%`, top: `${100 * (1 - now / top)}%` });
    parts.distance.value = !alone ? "Nothing is hidden, so there is nothing to draw." : `Distance to the baseline’s picture: ${now.toFixed(3)}, which is ${(now / alone).toFixed(2)} times that of single samples (${alone.toFixed(3)}).`;
  }

  /** The digits that the samples show, beside what two classifiers say; in words when all samples are there. */
  showMix(mix, finished) {
    if (!this.parts.bars) return;
    const said = { cvae: mix, classifier: this.nets.classify(this.x), baseline: this.nets.read(join(this.x, this.guess, this.mask)) };
    for (const [name, values] of Object.entries(said))
      this.parts.bars.querySelectorAll(`.${name}`).forEach((bar, n) => { bar.style.height = `${100 * values[n]}%`; });
    if (!finished) return;
    const words = values => DIGITS.filter(n => values[n] >= 0.05).sort((a, b) => values[b] - values[a])
      .map(n => `${n} (${(100 * values[n]).toFixed(0)} %)`).join(", ");
    const apart = mix.reduce((sum, p, n) => sum + Math.abs(p - said.classifier[n]) / 2, 0);
    this.parts.bars.setAttribute("aria-label", Object.entries(said).map(([name, values]) => `${name}: ${words(values)}`).join("; "));
    this.parts.wall.setAttribute("aria-label", `${WALL} samples; of all ${SAMPLES}, read as ${words(mix)}`);
    this.parts.mix.value = `The samples show ${words(mix)}. Samples and classifier differ by ${apart.toFixed(2)} (total variation).`;
  }

  /** Where the first n samples differ. */
  showDoubt(sum, squares, n) {
    if (this.parts.doubt) paintDoubt(this.parts.doubt, this.x, squares.map((v, i) => Math.max(0, v / n - (sum[i] / n) ** 2)));
  }

  /** The picture at a place in the latent space. */
  showWalk() {
    const { parts, settings: { a, b }, x, mask, prior, generate } = this;
    if (!parts.walk) return;
    this.axes ??= directions(generate, prior, mask);
    const [first, second] = this.axes;
    paint(parts.walk, join(x, generate(latent(prior, first.map((v, i) => a * v + b * second[i]), pick(prior))), mask));
    parts["a-value"].textContent = a.toFixed(2);
    parts["b-value"].textContent = b.toFixed(2);
  }
}

customElements.define("cvae-demo", Demo);
