'use strict';

/** Names of hidden files begin with a dot. */
function visible(names) {
  return names.filter((name) => !name.startsWith('.'));
}

/** The ending of a name, without the dot. */
function ending(name) {
  const at = name.lastIndexOf('.');
  return at > 0 ? name.slice(at + 1) : '';
}

function compareNames(a, b) {
  const left = a.match(/\d+|\D/gu) ?? [];
  const right = b.match(/\d+|\D/gu) ?? [];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const numbers = /^\d/.test(left[i]) && /^\d/.test(right[i]);
    const x = numbers ? BigInt(left[i]) : left[i];
    const y = numbers ? BigInt(right[i]) : right[i];
    if (x < y) return -1;
    if (x > y) return 1;
  }
  return left.length - right.length;
}

/** A sorted copy; numbers in names compare by their value. */
function sortNames(names) {
  return names.sort(compareNames);
}

module.exports = { visible, ending, sortNames };
