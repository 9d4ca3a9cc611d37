"use client";

import { useRef, useState } from "react";

import { ConfirmDialog } from "@/components/ConfirmDialog";
import { Notice } from "@/components/Notice";
import { type Trouble, troubleOf } from "@/lib/trouble";
import { useRound } from "@/scale/useRound";
import { useScale } from "@/scale/useScale";
import { useTransactions } from "@/scale/useTransactions";

export function DeleteButtons() {
  const { client, forget } = useScale();
  const { busy } = useRound();
  const { clear, forgetLabels } = useTransactions();
  const [done, setDone] = useState("");
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const examples = useRef<HTMLDialogElement>(null);
  const everything = useRef<HTMLDialogElement>(null);

  const remove = async (what: "examples" | "everything") => {
    try {
      await forget(what);
      if (what === "examples") forgetLabels();
      else clear();
      setTrouble(null);
      setDone(what === "examples" ? "Your examples are deleted." : "Everything is deleted.");
    } catch (error) {
      setTrouble(troubleOf(error));
    }
  };
  const off = !client || busy;
  return (
    <>
      <button type="button" disabled={off} onClick={() => examples.current?.showModal()}>
        Delete my examples …
      </button>
      <button type="button" className="danger" disabled={off} onClick={() => everything.current?.showModal()}>
        Delete everything …
      </button>
      <p role="status" className="said">
        {busy ? "A round is running; stop it before you delete anything." : done}
      </p>
      {trouble && <Notice trouble={trouble} />}
      <ConfirmDialog dialog={examples} title="Delete my examples?" action="Delete the examples" confirmed={() => remove("examples")}>
        <p>The model can learn nothing more from them. What earlier rounds have sent cannot be called back, and their receipts stay.</p>
      </ConfirmDialog>
      <ConfirmDialog dialog={everything} title="Delete everything?" action="Delete everything" confirmed={() => remove("everything")}>
        <p>
          Examples, model, enrollment and the privacy record go. Without the record nobody can say any more what this
          device has revealed: export it first.
        </p>
      </ConfirmDialog>
    </>
  );
}
