// Takes part as a device in a process of its own, and writes what happens as lines of JSON: {"event": …} on the way,
// {"outcome": …} or {"error": …} at the end. It can be killed at any moment.

import Foundation
@_spi(Testing) import ScaleFL
import Scene

/// Writes a line at once: the reader acts on it.
func say(_ fields: [String: any Sendable]) {
    guard let line = try? JSONSerialization.data(withJSONObject: fields, options: [.sortedKeys]) else { return }
    FileHandle.standardOutput.write(line + Data("\n".utf8))
}

func say(_ outcome: Outcome) {
    switch outcome {
    case let .contributed(round, number, _, _): say(["outcome": "contributed", "round": round, "number": number])
    case let .paused(after, before, phase):
        say(["outcome": "paused", "after": after, "before": before, "phase": phase.name])
    case let .waited(until, code, sentence):
        say(["outcome": "waited", "until": until, "code": code, "sentence": sentence])
    case let .left(_, code, sentence, until):
        say(["outcome": "left", "until": until, "code": code, "sentence": sentence])
    case let .enrollmentNeeded(code, sentence): say(["outcome": "enrollment_needed", "code": code, "sentence": sentence])
    }
}

do {
    let orders = try JSONDecoder().decode(Device.Orders.self, from: Data(CommandLine.arguments[1].utf8))
    let client = try ScaleClient(
        Configuration(
            coordinator: orders.url, folder: orders.folder, task: Scene.task, taskKey: orders.taskKey,
            requirements: Requirements(unmetered: false, power: .any, idle: false, strict: false)))
    if let token = orders.token { try await client.enroll(token) }
    let call: Taking = { native, stop, listener in
        try await native.testingParticipate(
            step: orders.step, steps: UInt32(orders.steps), stepMs: UInt64(orders.stepMs),
            options: RunOptions(budgetMs: orders.budgetMs), stop: stop, listener: listener)
    }
    let progress: @Sendable (RoundProgress) -> Void = { progress in
        let event = if case .step = progress.event { "step" } else { "other" }
        say(["event": event, "phase": progress.phase.name, "permille": progress.permille])
    }
    if orders.untilDone {
        let done = try await client.contribute(call, progress: progress)
        try await client.close()
        say(["outcome": "contributed", "round": done.round, "number": done.number])
    } else {
        let outcome = try await client.run(progress: progress, call)
        try await client.close()
        say(outcome)
    }
} catch let error as ScaleError {
    say(["error": error.kind, "code": error.code, "sentence": error.sentence])
} catch {
    say(["error": "other", "code": "", "sentence": "\(error)"])
}
