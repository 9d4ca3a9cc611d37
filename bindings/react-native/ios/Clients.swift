import Foundation
import ScaleFL

/// How a call ended: `done` with a text, or `failed` with what JavaScript makes an error of.
typealias Answer = [String: Any]

/// The clients of one JavaScript runtime, by number. `Clients.kt` is the same in Kotlin.
///
/// It calls the library's own client, not the one for Swift: how a call ended that JavaScript has stopped is said by the
/// library, and not by a task that was cancelled.
final class Clients: @unchecked Sendable {
    private let open: @Sendable (Configuration) throws -> NativeClient
    private let onProgress: @Sendable (Int, String) -> Void
    /// Guards the rest.
    private let lock = NSLock()
    private var last = 0
    private var clients: [Int: NativeClient] = [:]
    private var stops: [Int: Stop] = [:]

    /// - Parameters:
    ///   - open: Makes the client of a configuration whose `folder` is a name.
    ///   - onProgress: Hears of the progress of a call, as JSON.
    init(
        open: @escaping @Sendable (Configuration) throws -> NativeClient,
        onProgress: @escaping @Sendable (Int, String) -> Void
    ) {
        self.open = open
        self.onProgress = onProgress
    }

    /// Opens an installation. Answers with the client's number.
    func create(_ configuration: String) async -> Answer {
        await answered {
            let client = try open(configurationFromJson(json: configuration))
            return lock.withLock {
                last += 1
                clients[last] = client
                return String(last)
            }
        }
    }

    /// The number of a call that can be stopped from now on.
    func announce() -> Int {
        lock.withLock {
            last += 1
            stops[last] = Stop()
            return last
        }
    }

    /// Cancels a call. One that is over is not there any more.
    func stop(_ call: Int) {
        lock.withLock { stops[call] }?.cancel()
    }

    /// Keeps running participations for the next call, because iOS is about to suspend the app.
    func pause() {
        lock.withLock { Array(stops.values) }.forEach { $0.pause() }
    }

    /// Makes a call of the client with this number; `call` was announced, or is 0.
    func call(_ client: Int, _ call: Int, _ method: String, _ args: [String]) async -> Answer {
        let stop = lock.withLock { stops[call] } ?? Stop()
        defer { _ = lock.withLock { stops.removeValue(forKey: call) } }
        return await answered {
            if method == "close" { return try await close(client) }
            let listener = Listener { [onProgress] in onProgress(call, $0) }
            return try await answer(of(client), method, args, stop, listener)
        }
    }

    /// JavaScript is gone. What runs pauses, and goes on with the next call of another client.
    func end() {
        let all = lock.withLock { Array(clients.keys) }
        // A failure has nobody left to go to, and a round is stored before every step in any case.
        Task { for client in all { _ = try? await close(client) } }
    }

    private func close(_ number: Int) async throws -> String {
        try await lock.withLock { clients.removeValue(forKey: number) }?.shutDown()
        return "null"
    }

    private func of(_ number: Int) throws -> NativeClient {
        guard let client = lock.withLock({ clients[number] }) else {
            throw ScaleError.Usage(code: "closed", sentence: "this client is closed: create another one")
        }
        return client
    }
}

/// A call by its name. JavaScript has checked that the arguments are there.
private func answer(
    _ client: NativeClient, _ method: String, _ args: [String], _ stop: Stop, _ listener: Listener
) async throws -> String {
    switch method {
    case "enroll":
        return try await client.enroll(token: args[0], stop: stop)
    case "put":
        return putSummaryToJson(summary: try await client.put(examples: examplesFromJson(json: args[0])))
    case "remove":
        return String(try await client.remove(ids: args))
    case "predict":
        let predictions = try await client.predict(texts: Array(args.dropFirst()), top: UInt32(args[0]) ?? 1)
        return predictionsToJson(predictions: predictions)
    case "refreshModel":
        return try await client.refreshModel(stop: stop).map { modelInfoToJson(model: $0) } ?? "null"
    case "participate":
        let options = try runOptionsFromJson(json: args[0])
        return outcomeToJson(outcome: try await client.participate(options: options, stop: stop, listener: listener))
    case "status":
        return statusToJson(status: try await client.status())
    case "privacyReport":
        return privacyReportToJson(report: try await client.privacyReport())
    case "exportPrivacyReport":
        return try await client.exportPrivacyReport()
    case "resetPrivacyLedger":
        return String(try await client.resetPrivacyLedger())
    case "guardrails":
        return guardrailsToJson(guardrails: try client.guardrails())
    case "forget":
        try await client.forget(what: args[0] == "everything" ? .everything : .examples)
        return "null"
    default:
        throw ScaleError.Internal(code: "unknown_method", sentence: "JavaScript and the native part are of different versions")
    }
}

private final class Listener: ProgressListener {
    private let listener: @Sendable (String) -> Void

    init(_ listener: @escaping @Sendable (String) -> Void) {
        self.listener = listener
    }

    func onProgress(progress: ScaleFL.Progress) throws {
        listener(progressToJson(progress: progress))
    }
}

/// The answer that JavaScript gets.
func answered(_ work: () async throws -> String) async -> Answer {
    do {
        return ["done": try await work()]
    } catch let error as ScaleError {
        var failure: [String: Any] = ["kind": error.kind, "code": error.code, "message": error.sentence]
        if case let .Refused(_, _, retryAfterMs?) = error { failure["retryAfterMs"] = Double(retryAfterMs) }
        return ["failed": failure]
    } catch {
        let failure = ["kind": "internal", "code": "native_module", "message": "\(error)"]
        return ["failed": failure]
    }
}
