/** The sum of an invoice's lines, in cents. */
export function sum(lines) {
  return lines.reduce((cents, line) => cents + line.quantity * line.cents, 0);
}

/** Cents as they stand on an invoice. */
export function toDollars(cents) {
  const sign = cents < 0 ? '-' : '';
  const positive = Math.abs(cents);
  const whole = String(Math.floor(positive / 100)).replace(/\B(?=(\d{3})+$)/g, ',');
  return `${sign}$${whole}.${String(positive % 100).padStart(2, '0')}`;
}

/** Tax in cents, rounded half up. */
export function tax(cents, percent) {
  return Math.floor((cents * percent) / 100 + 0.5);
}
