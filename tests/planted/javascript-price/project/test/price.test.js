import { test } from 'node:test';
import assert from 'node:assert';
import * as price from '../src/price.js';

test('the sum of lines', () => {
  assert.equal(price.sum([{ quantity: 2, cents: 150 }, { quantity: 1, cents: 5 }]), 305);
});

test('tax is rounded', () => {
  assert.equal(price.tax(250, 7), 18);
});
