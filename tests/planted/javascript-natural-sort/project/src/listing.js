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

module.exports = { visible, ending };
