import Foundation
import ScaleFL

/// How many of the app's objects there are. The library holds those that it was given, and has to let go of them.
enum Alive {
    private static let lock = NSLock()
    nonisolated(unsafe) private static var counts: [String: Int] = [:]

    static var all: [String: Int] { lock.withLock { counts.filter { $0.value != 0 } } }

    fileprivate static func add(_ count: Int, _ object: Any.Type) {
        lock.withLock { counts["\(object)", default: 0] += count }
    }

    /// Waits until there are no others than these: a thread of the library may let go a moment later.
    static func settles(at expected: [String: Int]) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(2)
        while all != expected {
            if ContinuousClock.now > end { return false }
            try await Task.sleep(for: .milliseconds(5))
        }
        return true
    }
}

/// Keeps secrets in memory.
final class CountedVault: SecretVault, @unchecked Sendable {
    private let vault = MemoryVault()
    init() { Alive.add(1, Self.self) }
    deinit { Alive.add(-1, Self.self) }
    func get(name: String) throws -> Data? { try vault.get(name: name) }
    func putNew(name: String, bytes: Data) throws -> Bool { try vault.putNew(name: name, bytes: bytes) }
    func put(name: String, bytes: Data) throws { try vault.put(name: name, bytes: bytes) }
    func delete(name: String) throws { try vault.delete(name: name) }
}

final class CountedConditions: ConditionSource {
    init() { Alive.add(1, Self.self) }
    deinit { Alive.add(-1, Self.self) }
    func current() throws -> Conditions { Conditions(online: true) }
}

final class CountedListener: ProgressListener {
    init() { Alive.add(1, Self.self) }
    deinit { Alive.add(-1, Self.self) }
    func onProgress(progress: RoundProgress) throws {}
}

final class CountedSink: LogSink {
    init() { Alive.add(1, Self.self) }
    deinit { Alive.add(-1, Self.self) }
    func log(level: LogLevel, message: String) throws {}
}
