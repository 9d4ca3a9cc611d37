"use client";

import { ScaleClient, type Status } from "@scale-fl/web";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from "react";

import type { Service } from "@/lib/settings";
import { freshToken } from "@/lib/token";
import { type Trouble, troubleOf } from "@/lib/trouble";

// The one client of this tab: made once in the browser, closed when the page goes.

/** `deleted`: the person deleted everything, and nothing is fetched again until they say so. */
type Stage = "starting" | "connecting" | "ready" | "failed" | "deleted";

interface Scale {
  client: ScaleClient | null;
  status: Status | null;
  stage: Stage;
  trouble: Trouble | null;
  /** Gets a token and enrolls, whether or not this browser is enrolled already. */
  enroll(signal?: AbortSignal): Promise<void>;
  /** Starts or connects again after trouble or after everything was deleted. */
  retry(): void;
  forget(what: "examples" | "everything"): Promise<void>;
}

const Context = createContext<Scale | null>(null);

export function useScale(): Scale {
  const scale = useContext(Context);
  if (!scale) throw new Error("useScale is for components inside of ScaleProvider");
  return scale;
}

export function ScaleProvider({ service, children }: { service: Service; children: ReactNode }) {
  const { coordinator, task, taskKey } = service;
  const [client, setClient] = useState<ScaleClient | null>(null);
  const [status, setStatus] = useState<Status | null>(null);
  const [stage, setStage] = useState<Stage>("starting");
  const [trouble, setTrouble] = useState<Trouble | null>(null);
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    let gone = false;
    let own: ScaleClient | null = null;
    // Asks once more for what changed while it asked, but not after a failure: the failure is such a change itself.
    let asking = false;
    let again = false;
    const changed = async () => {
      again = true;
      if (asking) return;
      asking = true;
      try {
        while (again && own && !gone) {
          again = false;
          const now = await own.status();
          if (!gone) setStatus(now);
        }
      } catch {
        // Whoever calls the client next is told what is wrong.
      } finally {
        asking = false;
      }
    };
    const fail = (error: unknown) => {
      if (gone) return;
      setTrouble(troubleOf(error));
      setStage("failed");
    };
    const start = async () => {
      own = await ScaleClient.create({ coordinator, task, taskKey });
      if (gone) return own.close();
      own.addEventListener("status", changed);
      await changed();
      if (!gone) setClient(own);
    };
    setStage("starting");
    setTrouble(null);
    start().catch(fail);
    return () => {
      gone = true;
      setClient(null);
      own?.removeEventListener("status", changed);
      own?.close().catch(() => {});
    };
  }, [coordinator, task, taskKey, attempt]);

  const enroll = useCallback(
    async (signal?: AbortSignal) => {
      await client?.enroll(await freshToken(signal), { signal });
    },
    [client],
  );

  /** Enrolled, and with the newest model; without network, what is installed will do. */
  const connect = useCallback(async () => {
    if (!client) return;
    setStage("connecting");
    setTrouble(null);
    try {
      if (!(await client.status()).enrolled) await enroll();
      await client.refreshModel();
    } catch (error) {
      setTrouble(troubleOf(error));
    }
    const now = await client.status().catch(() => null);
    if (now) setStatus(now);
    setStage(now?.model ? "ready" : "failed");
  }, [client, enroll]);

  useEffect(() => void connect(), [connect]);

  const scale = useMemo<Scale>(
    () => ({
      client,
      status,
      stage,
      trouble,
      enroll,
      retry: () => (client ? void connect() : setAttempt((last) => last + 1)),
      async forget(what) {
        await client?.forget(what);
        if (what === "everything") setStage("deleted");
        setStatus((await client?.status()) ?? null);
      },
    }),
    [client, status, stage, trouble, enroll, connect],
  );
  return <Context value={scale}>{children}</Context>;
}
