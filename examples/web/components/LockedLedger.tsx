"use client";

import { useRef, useState } from "react";

import { ConfirmDialog } from "@/components/ConfirmDialog";
import { Notice } from "@/components/Notice";
import { type Trouble, troubleOf } from "@/lib/trouble";
import { useScale } from "@/scale/useScale";

/** The privacy record was damaged or set back: nothing is sent until the person begins a new one. */
export function LockedLedger({ trouble, after }: { trouble: Trouble; after: () => Promise<void> }) {
  const { client } = useScale();
  const dialog = useRef<HTMLDialogElement>(null);
  const [failed, setFailed] = useState<Trouble | null>(null);
  const reset = async () => {
    try {
      await client?.resetPrivacyLedger();
      await after();
    } catch (error) {
      setFailed(troubleOf(error));
    }
  };
  return (
    <Notice trouble={failed ?? { ...trouble, todo: "Nothing is sent until you begin a new record." }}>
      <button type="button" onClick={() => dialog.current?.showModal()}>
        Begin a new record …
      </button>
      <ConfirmDialog dialog={dialog} title="Begin a new privacy record?" action="Begin a new record" confirmed={reset}>
        <p>What earlier rounds have revealed is then unknown, and every later report says so.</p>
      </ConfirmDialog>
    </Notice>
  );
}
