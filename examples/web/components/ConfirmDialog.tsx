"use client";

import { type ReactNode, type RefObject, useId } from "react";

interface Props {
  dialog: RefObject<HTMLDialogElement | null>;
  title: string;
  /** On the button that does it. */
  action: string;
  children: ReactNode;
  confirmed(): void;
}

/** Asks before something that cannot be undone. Escape and "Keep" close it; "Keep" has the focus first. */
export function ConfirmDialog({ dialog, title, action, children, confirmed }: Props) {
  const id = useId();
  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onClose={(event) => {
        if (event.currentTarget.returnValue === "yes") confirmed();
        event.currentTarget.returnValue = "";
      }}
    >
      <form method="dialog">
        <h2 id={id}>{title}</h2>
        {children}
        <div className="buttons">
          <button value="no">Keep</button>
          <button value="yes" className="danger">
            {action}
          </button>
        </div>
      </form>
    </dialog>
  );
}
