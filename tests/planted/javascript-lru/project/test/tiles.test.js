'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { tileKey, children } = require('../lib/tiles.js');

test('a tile has a key', () => {
  assert.strictEqual(tileKey({ z: 1, x: 2, y: 3 }), '1/2/3');
});

test('a tile has four children', () => {
  assert.deepStrictEqual(children({ z: 0, x: 0, y: 0 }).map(tileKey), ['1/0/0', '1/1/0', '1/0/1', '1/1/1']);
});
