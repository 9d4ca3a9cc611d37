import Foundation
import ScaleFL

/// The commands.
struct Categorizer {
    let arguments: Arguments
    let output: Output
    let client: ScaleClient

    init(_ arguments: Arguments) throws {
        self.arguments = arguments
        output = Output(json: arguments.json)
        try FileManager.default.createDirectory(
            atPath: arguments.folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        client = try ScaleClient(
            Configuration(
                coordinator: arguments.coordinator, folder: arguments.folder + "/scale", task: arguments.task,
                taskKey: arguments.taskKey))
    }

    func run() async throws {
        switch arguments.command {
        case let .enroll(token): try await enroll(token)
        case let .importFile(path): try await importFile(path)
        case let .categorize(text): try await categorize(text)
        case let .correct(id, label): try await correct(id, label)
        case let .join(rounds, anyConditions): try await join(rounds, anyConditions)
        case .status: try await status()
        case .receipts: try await receipts()
        }
    }

    private func enroll(_ token: String) async throws {
        let device = try await client.enroll(token)
        output.line("enrolled as \(device)")
        try output.object(["device": device])
    }

    private func importFile(_ path: String) async throws {
        var statement = try Statement(folder: arguments.folder)
        let new = try statement.add(path)
        // All of them: those of an earlier import that did not get this far are there too.
        let examples = statement.transactions.compactMap(\.example)
        try await client.put(examples)
        for transaction in new { output.line(transaction.shown) }
        let total = statement.transactions.count
        output.line("\(total) transactions, \(new.count) of them new; \(examples.count) examples to learn from")
        try output.object(["transactions": total, "new": new.count, "examples": examples.count])
    }

    private func categorize(_ text: String) async throws {
        let predict = { try await client.predict([text], top: 3) }
        let predictions: [Prediction]
        do {
            predictions = try await predict()
        } catch let error as ScaleError where error.code == "no_model" {
            // The first time: afterwards no network is needed.
            try await client.refreshModel()
            predictions = try await predict()
        }
        let top = predictions.first?.top ?? []
        for scored in top { output.line(String(format: "%5.1f %%  ", scored.probability * 100) + scored.label) }
        let scores: [[String: any Sendable]] = top.map { ["label": $0.label, "probability": $0.probability] }
        try output.object(["text": text, "top": scores])
    }

    private func correct(_ id: String, _ label: String) async throws {
        var statement = try Statement(folder: arguments.folder)
        let transaction = try statement.correct(id, label)
        try await client.put([transaction.example].compactMap { $0 })
        output.line("\(id) is \(label) now: \(transaction.description)")
        try output.object(["id": id, "label": label])
    }

    private func join(_ rounds: Int, _ anyConditions: Bool) async throws {
        var outcomes: [Outcome] = []
        var done = 0
        while done < rounds {
            let outcome = try await client.participate(budget: nil, ignoringConditions: anyConditions) { progress in
                ProgressLine.show(permille: progress.permille, sentence: progress.sentence)
            }
            ProgressLine.clear()
            outcomes.append(outcome)
            switch outcome {
            case let .contributed(_, number, _, receipt):
                done += 1
                output.line("round \(number): contributed; \(receipt?.sentence ?? "the receipt cannot be read")")
            case let .paused(after, _, _):
                output.line("the round goes on in \(after / 1000) s")
            case let .waited(until, _, sentence):
                output.line("waiting until \(shown(until)): \(sentence)")
            case let .left(_, _, sentence, until):
                output.line("left the round: \(sentence); again at \(shown(until))")
            case let .enrollmentNeeded(_, sentence):
                throw Problem("\(sentence); run the command enroll with a new token")
            }
            guard done < rounds, let next = Schedule.next(after: outcome, status: try await client.status()) else { break }
            try await Task.sleep(for: .seconds(max(next.timeIntervalSinceNow, 0.1)))
        }
        output.document("[" + outcomes.map { outcomeToJson(outcome: $0) }.joined(separator: ",") + "]")
    }

    private func status() async throws {
        let status = try await client.status()
        output.line("enrolled: \(status.enrolled ? "yes" : "no")")
        output.line("model: " + (status.model.map { "version \($0.version), \($0.labels.count) labels" } ?? "none"))
        output.line("examples: \(status.examples.total)")
        output.line("next: " + (status.next.map(shown) ?? "now"))
        for missing in status.missing { output.line("missing: \(missing.sentence)") }
        output.line("last: " + (status.last.map { "\($0.outcome) \(shown($0.at)) \($0.sentence)" } ?? "never"))
        output.document(statusToJson(status: status))
    }

    private func receipts() async throws {
        let report = try await client.privacyReport()
        output.line(report.summary)
        for receipt in report.receipts { output.line("\(receipt.date ?? "?")  \(receipt.sentence)") }
        for assumption in report.assumptions { output.line("assumed: \(assumption)") }
        output.document(privacyReportToJson(report: report))
    }
}
