const { test, describe } = require('node:test');
const assert = require('node:assert');
const { visible, ending } = require('../src/listing');

describe('listing', () => {
  test('hidden files are left out', () => {
    assert.deepStrictEqual(visible(['.a', 'b']), ['b']);
  });
  test('endings', () => {
    assert.strictEqual(ending('a.tar.gz'), 'gz');
    assert.strictEqual(ending('.profile'), '');
  });
});
