import "server-only";

// The server's settings, read at run time: one build serves any coordinator.

/** What a page needs to know about the service. */
export interface Service {
  coordinator: string;
  task: string;
  /** Ed25519 public key that signs the task's rounds, as 64 hexadecimal digits. */
  taskKey: string;
}

export interface Settings {
  service: Service | null;
  /** What is wrong, for the person who runs this server. */
  problem: string | null;
}

export function settings(): Settings {
  const { SCALE_COORDINATOR: coordinator, SCALE_TASK: task, SCALE_TASK_KEY: taskKey } = process.env;
  if (!coordinator || !task || !taskKey) {
    return wrong("Set SCALE_COORDINATOR, SCALE_TASK and SCALE_TASK_KEY; `cargo xtask demo --web` does.");
  }
  if (!URL.canParse(coordinator)) return wrong("SCALE_COORDINATOR is not a URL, such as https://fl.example.org.");
  if (!/^[0-9a-f]{64}$/i.test(taskKey)) return wrong("SCALE_TASK_KEY is not 64 hexadecimal digits.");
  return { service: { coordinator: coordinator.replace(/\/+$/, ""), task, taskKey }, problem: null };
}

function wrong(problem: string): Settings {
  return { service: null, problem };
}
