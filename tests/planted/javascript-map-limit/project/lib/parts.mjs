/** Cuts a length into ranges [start, end) of at most `size`. */
export function ranges(length, size) {
  const found = [];
  for (let start = 0; start < length; start += size) {
    found.push([start, Math.min(start + size, length)]);
  }
  return found;
}
