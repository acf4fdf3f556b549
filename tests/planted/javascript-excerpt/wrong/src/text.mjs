/** Line breaks and runs of spaces become one space. */
export function oneLine(text) {
  return text.replace(/\s+/gu, ' ').trim();
}

/** At most `limit` characters; what was cut shows as an ellipsis. */
export function excerpt(text, limit) {
  if (text.length <= limit) return text;
  return limit < 1 ? '' : text.slice(0, limit - 1) + '…';
}
