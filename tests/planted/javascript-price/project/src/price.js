/** The sum of an invoice's lines, in cents. */
export function sum(lines) {
  return lines.reduce((cents, line) => cents + line.quantity * line.cents, 0);
}

/** Tax in cents, rounded half up. */
export function tax(cents, percent) {
  return Math.floor((cents * percent) / 100 + 0.5);
}
