"use client";

export default function Failure({ reset }: { reset: () => void }) {
  return (
    <div className="notice bad" role="alert">
      <p>
        <strong>This page failed.</strong> What you taught and your privacy record are safe in this browser.
      </p>
      <button type="button" onClick={reset}>
        Try again
      </button>
    </div>
  );
}
