'use strict';

/** The key of a tile: level, column, row. */
function tileKey({ z, x, y }) {
  return `${z}/${x}/${y}`;
}

/** The four tiles one level deeper. */
function children({ z, x, y }) {
  return [0, 1, 2, 3].map((i) => ({ z: z + 1, x: 2 * x + (i & 1), y: 2 * y + (i >> 1) }));
}

module.exports = { tileKey, children };
