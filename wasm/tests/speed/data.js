// Examples by formula: the same in every browser and for both sides.

// Numbers of 32 bits, xorshift (Marsaglia 2003).
function numbers(seed) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

// Rows of numbers from 0 to 1, most of them 0 as in pictures of digits. One of `classes` patterns, under noise.
export function pictures(count, width, classes) {
  const next = numbers(2463534242);
  const share = () => next() / 2 ** 32;
  const patterns = Array.from({ length: classes }, () => Array.from({ length: width }, () => (share() < 0.2 ? share() : 0)));
  const inputs = new Float32Array(count * width);
  const labels = new Uint32Array(count);
  for (let row = 0; row < count; row++) {
    labels[row] = next() % classes;
    const pattern = patterns[labels[row]];
    for (let at = 0; at < width; at++) {
      const noise = share() < 0.1 ? share() : 0;
      inputs[row * width + at] = Math.min(1, 0.6 * pattern[at] + noise);
    }
  }
  return { inputs, labels };
}

// Lines of bank statements, as long as real ones: a merchant of 18 classes, a town and a number.
export function lines(count) {
  const next = numbers(362436069);
  const parts = ["ka", "lo", "mi", "ter", "san", "bu", "vek", "no", "ri", "pol", "da", "shi", "un", "gra", "fe", "wo"];
  const word = (syllables) => Array.from({ length: syllables }, () => parts[next() % parts.length]).join("");
  const merchants = Array.from({ length: 180 }, (_, index) => ({ name: `${word(2)} ${word(3)}`, label: index % 18 }));
  const towns = Array.from({ length: 40 }, () => word(3));
  const texts = [];
  const labels = new Uint32Array(count);
  for (let row = 0; row < count; row++) {
    const { name, label } = merchants[next() % merchants.length];
    texts.push(`${name} ${towns[next() % towns.length]} ${next() % 10_000}`.toUpperCase());
    labels[row] = label;
  }
  return { texts, labels };
}
