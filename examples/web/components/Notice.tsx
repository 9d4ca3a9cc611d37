import type { ReactNode } from "react";

import type { Trouble } from "@/lib/trouble";

/** What went wrong and what to do, read out at once. */
export function Notice({ trouble, children }: { trouble: Trouble; children?: ReactNode }) {
  return (
    <div className="notice bad" role="alert">
      <p>
        <strong>{sentence(trouble.what)}</strong> {trouble.todo}
      </p>
      {children}
    </div>
  );
}

/** The SDK's messages begin in lower case, to be read behind a colon. */
export function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
