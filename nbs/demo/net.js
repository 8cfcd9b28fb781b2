// The networks of the page, run in plain JavaScript: what cvae_tutorial/{baseline,cvae,sharpness}.py compute, from the
// float16 weights that `cvae-tutorial demo` writes. An image is a Float32Array of 784 pixels, 0 paper, 1 ink, -1 hidden.

export const SIDE = 28, PIXELS = SIDE * SIDE;

/** Which pixels quadrants leave visible: bottom left, with 2 quadrants top left too, with 3 top right too. */
export function visibleMask(quadrants) {
  return Uint8Array.from({ length: PIXELS }, (_, i) => {
    const top = i < PIXELS / 2, right = i % SIDE >= SIDE / 2;
    return quadrants >= (top ? (right ? 3 : 2) : (right ? 4 : 1));
  });
}

/** A mask as text for a link, 6 pixels a character, and back; null for text that is none. */
const CODE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", PER = 6, LENGTH = Math.ceil(PIXELS / PER);
export const maskToText = mask => Array.from({ length: LENGTH }, (_, n) =>
  CODE[mask.subarray(n * PER, (n + 1) * PER).reduce((bits, visible, i) => bits | visible << i, 0)]).join("");
export function textToMask(text) {
  const bits = [...text ?? ""].map(c => CODE.indexOf(c));
  return bits.length === LENGTH && !bits.includes(-1) ? Uint8Array.from({ length: PIXELS }, (_, i) => bits[Math.floor(i / PER)] >> i % PER & 1) : null;
}

/** The image with its hidden pixels marked -1. */
export const hide = (image, mask) => image.map((pixel, i) => mask[i] ? pixel : -1);

/** Visible pixels from one image, hidden ones from another. */
export const join = (visible, hidden, mask) => visible.map((pixel, i) => mask[i] ? pixel : hidden[i]);

/** Root mean square difference over the hidden pixels; 0 if there are none. */
export function distance(a, b, mask) {
  let sum = 0, count = 0;
  for (let i = 0; i < a.length; i++) if (!mask[i]) { sum += (a[i] - b[i]) ** 2; count++; }
  return Math.sqrt(sum / (count || 1));
}

/** A repeatable stream of numbers between 0 and 1 (mulberry32). */
export const uniforms = seed => () => {
  seed = seed + 0x6D2B79F5 | 0;
  let t = Math.imul(seed ^ seed >>> 15, seed | 1);
  t ^= t + Math.imul(t ^ t >>> 7, t | 61);
  return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
};

/** A stream of numbers from the standard normal distribution (Box and Muller), made of one of uniform numbers. */
export function normals(uniform) {
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** The arrays of a safetensors file by name, {shape, data}; float16 becomes Float32Array. */
export function readSafetensors(buffer) {
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  delete header.__metadata__;
  const end = start + Math.max(...Object.values(header).map(({ data_offsets: [, to] }) => to));
  if (buffer.byteLength < end) throw new Error(`${buffer.byteLength} of ${end} bytes came`);
  return Object.fromEntries(Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
    const bytes = buffer.slice(start + from, start + to);
    if (dtype === "F16") return [name, { shape, data: new Float32Array(new Uint16Array(bytes)).map(bits => HALVES[bits]) }];
    if (dtype === "U8") return [name, { shape, data: new Uint8Array(bytes) }];
    throw new Error(`${name} has the type ${dtype}: expected F16 or U8`);
  }));
}

const HALVES = Float32Array.from({ length: 2 ** 16 }, (_, bits) => {  // all float16 numbers there are
  const sign = bits & 0x8000 ? -1 : 1, exponent = bits >> 10 & 31, fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
});

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const sigmoid = array => array.map(v => 1 / (1 + Math.exp(-v)));
const silu = array => array.map(v => v / (1 + Math.exp(-v)));

function softmax(logits) {
  const top = Math.max(...logits), powers = logits.map(v => Math.exp(v - top)), sum = powers.reduce((a, b) => a + b);
  return powers.map(v => v / sum);
}

/** start + W x, for the columns of W from `column` on; four sums at a time, which is what engines do fastest. */
function linear({ weight: { shape: [rows], data } }, x, start, column = 0) {
  const y = new Float32Array(rows), width = data.length / rows, n = x.length, whole = n - n % 4;
  for (let row = 0; row < rows; row++) {
    let w = row * width + column, a = start[row], b = 0, c = 0, d = 0, i = 0;
    for (; i < whole; i += 4, w += 4) {
      a += data[w] * x[i]; b += data[w + 1] * x[i + 1]; c += data[w + 2] * x[i + 2]; d += data[w + 3] * x[i + 3];
    }
    for (; i < n; i++, w++) a += data[w] * x[i];
    y[row] = a + b + c + d;
  }
  return y;
}

function layerNorm({ weight, bias }, x) {
  const mean = x.reduce((a, b) => a + b) / x.length;
  const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length + 1e-5);
  return x.map((v, i) => (v - mean) * scale * weight.data[i] + bias.data[i]);
}

/** All that follows the first layer of an `mlp`: layer norm, SiLU, linear; residual where the width stays the same. */
function rest(layers, x) {
  for (const { norm, linear: layer } of layers.slice(1)) {
    const step = linear(layer, silu(layerNorm(norm, x)), layer.bias.data);
    x = step.length === x.length ? step.map((v, i) => v + x[i]) : step;
  }
  return x;
}

/** Linear layers with SiLU between them; `first` is what the first one gives. */
const dense = (layers, first) => layers.slice(1).reduce((x, { linear: layer }) => linear(layer, silu(x), layer.bias.data), first);

const mlp = (layers, x) => rest(layers, linear(layers[0].linear, x, layers[0].linear.bias.data));

/** A convolution with stride 2 and without padding: a linear layer on each patch of an image of several channels. */
function convolve(layer, x) {
  const [outs, channels, size] = layer.weight.shape, side = Math.sqrt(x.length / channels), to = (side - size >> 1) + 1;
  const y = new Float32Array(outs * to * to), patch = new Float32Array(channels * size * size);
  for (let at = 0; at < to * to; at++) {
    const corner = 2 * (Math.floor(at / to) * side + at % to);
    for (let channel = 0, i = 0; channel < channels; channel++)
      for (let row = 0; row < size; row++)
        for (let column = 0; column < size; column++) patch[i++] = x[(channel * side + row) * side + column + corner];
    linear(layer, patch, layer.bias.data).forEach((v, out) => { y[out * to * to + at] = v; });
  }
  return y;
}

/** `{"baseline.0.linear.weight": tensor}` as objects in objects, with lists where the names are numbers. */
function nest(tensors) {
  const tree = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const path = name.split("."), last = path.pop();
    path.reduce((node, key) => node[key] ??= {}, tree)[last] = tensor;
  }
  const lists = node => !node || node.data ? node
    : "0" in node ? Object.values(node).map(lists)
    : Object.fromEntries(Object.entries(node).map(([key, value]) => [key, lists(value)]));
  return lists(tree);
}

/** What the networks see: ink less the mean of MNIST, `INK` in cvae_tutorial/masks.py, and 0 where it is hidden. */
const seen = x => x.map(v => v < 0 ? 0 : v - 0.13);

/** The networks, as functions of images. */
export function networks(tensors) {
  const { baseline, prior, places, couplings, generation, classifier, reader } = nest(tensors);
  const dim = places.hills.shape[1];
  return {
    /** The baseline's picture: of each pixel, the probability of ink. */
    baseline: x => sigmoid(mlp(baseline, seen(x))),

    /** The digit from the visible pixels alone: ten probabilities. */
    classify: x => softmax(mlp(classifier, seen(x))),

    /** The prior p(z|x): hills with their weights, means and scales, and the `bend` that takes a place on one of them to z. */
    prior(x) {
      const outputs = mlp(prior, seen(x)), width = 1 + 2 * dim, features = outputs.subarray(outputs.length - dim);
      const hills = Array.from({ length: places.hills.shape[0] }, (_, n) => {
        const [logit, ...rest] = outputs.subarray(n * width, (n + 1) * width);
        return { logit, mean: rest.slice(0, dim).map((v, i) => v + places.hills.data[n * dim + i]), scale: rest.slice(dim).map(v => Math.exp(clamp(v, -10, 10))) };
      });
      const given = couplings.map(([{ linear: first }]) => linear(first, features, first.bias.data)), kept = dim >> 1;
      const bend = place => couplings.reduce((z, layers, n) => {
        const first = layers[0].linear, moved = dense(layers, linear(first, z.subarray(0, kept), given[n], dim));
        return z.map((v, i) => i < kept ? v : moved[i - kept] + Math.exp(clamp(moved[i + dim - 2 * kept], -5, 3)) * v).reverse();
      }, place);
      return { weights: softmax(hills.map(hill => hill.logit)), hills, bend };
    },

    /** The generation network p(y|x,z) as a function of z; what x adds to its first layer is computed once. */
    generation(x) {
      const first = generation[0].linear, given = linear(first, seen(x), first.bias.data, first.weight.shape[1] - x.length);
      return z => sigmoid(rest(generation, linear(first, z, given)));
    },

    /** The digit that a whole image shows: ten probabilities. */
    read(image) {
      const [first, second, third, fourth] = reader.map(layer => layer.linear);
      const features = silu(linear(third, silu(convolve(second, silu(convolve(first, image)))), third.bias.data));
      return softmax(linear(fourth, features, fourth.bias.data));
    },
  };
}

/** The number of a hill, drawn in proportion to the weights by a uniform number; without one, the heaviest. */
export function pick({ weights }, uniform) {
  if (uniform === undefined) return weights.indexOf(Math.max(...weights));
  const n = weights.findIndex(weight => (uniform -= weight) < 0);
  return n < 0 ? weights.length - 1 : n;
}

/** A place in the latent space: on one hill, `noise` standard deviations from its top, then bent. */
export const latent = ({ hills, bend }, noise, hill) =>
  bend(Float32Array.from(noise, (v, i) => hills[hill].mean[i] + hills[hill].scale[i] * v));

/** The two directions on the heaviest hill along which the picture changes most: what `generation` does one standard deviation
    to either side along each dimension, and of that matrix the first two right singular vectors, by power iteration. */
export function directions(generation, prior, mask) {
  const hill = pick(prior), size = prior.hills[hill].mean.length;
  const axis = (n, step) => latent(prior, Array.from({ length: size }, (_, i) => i === n ? step : 0), hill);
  const changes = Array.from({ length: size }, (_, n) => {
    const up = generation(axis(n, 1)), down = generation(axis(n, -1));
    return up.map((v, i) => mask[i] ? 0 : v - down[i]);
  });
  const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const gram = changes.map(a => Float64Array.from(changes, b => dot(a, b))), found = [];
  for (let n = 0; n < 2; n++) {
    let v = Float64Array.from(gram, row => row[n] + 1e-9);
    for (let step = 0; step < 100; step++) {
      v = Float64Array.from(gram, row => dot(row, v));
      for (const other of found) { const part = dot(v, other); v = v.map((value, i) => value - part * other[i]); }
      const length = Math.sqrt(dot(v, v)) || 1;
      v = v.map(value => value / length);
    }
    found.push(v);
  }
  return found;
}
