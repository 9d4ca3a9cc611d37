/** What an aborted call rejects with. React Native has no `DOMException`: an abort is told by its name there. */
export function aborted(): Error {
  const error = new Error('the call was aborted by the app');
  error.name = 'AbortError';
  return error;
}
