/** Line breaks and runs of spaces become one space. */
export function oneLine(text) {
  return text.replace(/\s+/gu, ' ').trim();
}
