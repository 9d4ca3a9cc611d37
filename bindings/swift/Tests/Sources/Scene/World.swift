import Foundation

/// What went wrong in a test's surroundings, not in the library.
public struct Trouble: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// A JSON object.
public struct Told: @unchecked Sendable, CustomStringConvertible {
    /// Read only.
    let fields: [String: Any]

    public init(_ line: String) throws {
        guard let fields = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
            throw Trouble("not an object: \(line)")
        }
        self.fields = fields
    }

    init(fields: [String: Any]) {
        self.fields = fields
    }

    public func text(_ name: String) -> String? { fields[name] as? String }
    public func number(_ name: String) -> Double? { (fields[name] as? NSNumber)?.doubleValue }
    public func object(_ name: String) -> Told? { (fields[name] as? [String: Any]).map(Told.init(fields:)) }
    public func objects(_ name: String) -> [Told] { (fields[name] as? [[String: Any]] ?? []).map(Told.init(fields:)) }
    public func pairs(_ name: String) -> [[Int]] {
        (fields[name] as? [[NSNumber]] ?? []).map { $0.map(\.intValue) }
    }
    public var description: String { "\(fields)" }
}

/// The native side of a test: a coordinator and other devices, in a process that takes orders (`tests/src/world`).
public final class World: @unchecked Sendable {
    private let lock = NSLock()
    private var open: [Int: CheckedContinuation<Told, any Error>] = [:]
    private var last = 0
    private var process: LinesProcess?

    public init() throws {
        let process = try LinesProcess(
            try Place.world(), line: { [weak self] in self?.answered($0) }, end: { [weak self] in self?.ended() })
        lock.withLock { self.process = process }
    }

    /// Gives one order; returns what it answers.
    @discardableResult
    public func tell(_ what: String, _ fields: [String: any Sendable] = [:]) async throws -> Told {
        try await withCheckedThrowingContinuation { continuation in
            let (id, process) = lock.withLock {
                last += 1
                open[last] = continuation
                return (last, self.process)
            }
            do {
                let order = fields.merging(["id": id, "do": what]) { $1 }
                try process?.write(JSONSerialization.data(withJSONObject: order))
            } catch {
                lock.withLock { open.removeValue(forKey: id) }?.resume(throwing: error)
            }
        }
    }

    /// Waits until the round with this number is over.
    public func closed(_ task: String, _ number: UInt64, patience: Duration = .seconds(60)) async throws -> Told {
        let end = ContinuousClock.now + patience
        while true {
            let told = try await tell("rounds", ["task": task])
            let round = told.objects("rounds").first { $0.number("number") == Double(number) }
            if let round, ["finished", "abandoned"].contains(round.text("phase")) { return round }
            if ContinuousClock.now > end { throw Trouble("round \(number) stays open: \(told)") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// What a finished round has published beyond the native devices' inputs, as [index, integer].
    public func beyondNatives(_ task: String, _ number: UInt64, apps: [Int]) async throws -> Told {
        let round = try await closed(task, number)
        guard round.text("phase") == "finished" else { throw Trouble("round \(number) was abandoned: \(round)") }
        var patience = 100
        while true {
            do {
                return try await tell("sum", ["task": task, "number": number, "apps": apps])
            } catch let trouble as Trouble where patience > 0 && trouble.description.contains("not in this round") {
                // The native devices hear of the end a moment later.
                patience -= 1
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    public func close() {
        lock.withLock { process }?.close()
    }

    private func answered(_ line: String) {
        guard let told = try? Told(line), let id = told.number("id") else { return }
        let continuation = lock.withLock { open.removeValue(forKey: Int(id)) }
        if let error = told.text("error") {
            continuation?.resume(throwing: Trouble("the world could not: \(error)"))
        } else {
            continuation?.resume(returning: told.object("told") ?? told)
        }
    }

    private func ended() {
        let waiting = lock.withLock {
            defer { open = [:] }
            return open
        }
        for continuation in waiting.values { continuation.resume(throwing: Trouble("the world has ended")) }
    }
}

/// Where programs are.
public enum Place {
    static func world() throws -> String {
        guard let path = ProcessInfo.processInfo.environment["SCALE_WORLD"] else {
            throw Trouble("SCALE_WORLD must name the program world-under-test: run `cargo xtask bindings --swift --test`")
        }
        return path
    }

    /// A program of this package, which lies beside the running one.
    static func beside(_ name: String) throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent(name).path
    }

    /// A new folder, for one installation. It goes with the process.
    public static func newFolder() throws -> String {
        let url = folders.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url.path
    }

    private static let folders: URL = {
        atexit { try? FileManager.default.removeItem(at: Place.folders) }
        let name = "scale-swift-\(ProcessInfo.processInfo.processIdentifier)"
        return FileManager.default.temporaryDirectory.appendingPathComponent(name)
    }()

    /// Whether tests take their time, as before a release.
    public static var long: Bool { ProcessInfo.processInfo.environment["SCALE_LONG"] != nil }
}
