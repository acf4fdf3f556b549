/** Splits an address into its path and what comes after the question mark. */
export function splitAddress(address) {
  const at = address.indexOf('?');
  return at < 0 ? [address, ''] : [address.slice(0, at), address.slice(at + 1)];
}
