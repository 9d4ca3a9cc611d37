/** What an aborted call rejects with: as `fetch` does. */
export function aborted(): DOMException {
  return new DOMException('the call was aborted by the app', 'AbortError');
}
