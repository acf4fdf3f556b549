/** Line breaks and runs of spaces become one space. */
export function oneLine(text) {
  return text.replace(/\s+/gu, ' ').trim();
}

/** At most `limit` characters; what was cut shows as an ellipsis. */
export function excerpt(text, limit) {
  const points = [...text];
  if (points.length <= limit) return text;
  return limit < 1 ? '' : points.slice(0, limit - 1).join('') + '…';
}
