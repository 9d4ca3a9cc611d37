import Foundation

/// A device in a process of its own, which can be killed (`device-under-test`).
public final class Device: @unchecked Sendable {
    /// What it is to do.
    public struct Orders: Codable, Sendable {
        public var folder: String
        public var url: String
        public var taskKey: String
        public var step: Float
        public var steps = 1
        public var stepMs = 0
        public var budgetMs: UInt64?
        /// Whether it takes part again until it has contributed.
        public var untilDone = false
        /// Enrolls first.
        public var token: String?
    }

    private let lock = NSLock()
    private var lines: [Told] = []
    private var over = false
    private var process: LinesProcess?

    public init(_ person: Person, _ change: (inout Orders) -> Void = { _ in }) throws {
        var orders = Orders(
            folder: person.folder, url: person.scene.url, taskKey: person.scene.taskKey, step: person.scene.step)
        change(&orders)
        let json = String(decoding: try JSONEncoder().encode(orders), as: UTF8.self)
        let process = try LinesProcess(
            try Place.beside("device-under-test"), [json],
            line: { [weak self] in self?.said($0) }, end: { [weak self] in self?.ended() })
        lock.withLock { self.process = process }
    }

    private func said(_ line: String) {
        guard let told = try? Told(line) else { return }
        lock.withLock { lines.append(told) }
    }

    private func ended() {
        lock.withLock { over = true }
    }

    /// Whether the device has made steps of its training.
    public var trains: Bool { lock.withLock { lines.contains { $0.text("event") == "step" } } }

    /// What it said last, after its end: the outcome, or an error.
    public func end(patience: Duration = .seconds(90)) async throws -> Told {
        let end = ContinuousClock.now + patience
        while true {
            let (over, last) = lock.withLock { (self.over, lines.last) }
            if over {
                lock.withLock { process }?.close()
                guard let last, last.text("outcome") != nil || last.text("error") != nil else {
                    throw Trouble("the device's process has ended without an outcome, after \(String(describing: last))")
                }
                return last
            }
            if ContinuousClock.now > end { throw Trouble("the device goes on; last: \(String(describing: last))") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// SIGKILL.
    public func kill() {
        lock.withLock { process }?.kill()
    }
}
