import Foundation

/// One round in the time that a system gives an app in the background. The system's part is in `Background.swift`.
public final class BackgroundRun: Sendable {
    /// After an expiration the system ends an app that goes on. A round pauses faster than this.
    static let patience = Duration.milliseconds(900)

    /// Until the next attempt after an error.
    static let pause: TimeInterval = 15 * 60

    private let stop = Stop()
    private let finished: Once

    /// - Parameter finish: Called once, when the system may suspend the app: with whether everything is in order.
    public init(finish: @escaping @Sendable (Bool) -> Void) {
        finished = Once(finish)
    }

    /// Takes part, schedules what follows, and tells the system that the app is done.
    ///
    /// - Parameter schedule: Called with the earliest time of the next round, before the system is told. It is not called if
    ///   the app has to enroll first.
    /// - Returns: How the round ended; `nil` after an error, which `failed` is told.
    @discardableResult
    public func run(
        budget: Duration,
        client: @Sendable () async throws -> ScaleClient,
        schedule: @Sendable (Date) -> Void,
        failed: @Sendable (any Error) -> Void = { _ in }
    ) async -> Outcome? {
        do {
            let client = try await client()
            let outcome = try await client.participate(budget: budget, stop: stop)
            let status = try? await client.status()
            if let date = Schedule.next(after: outcome, status: status) { schedule(date) }
            finished.call(true)
            return outcome
        } catch {
            // First: what the app does in `failed` may take longer than the system waits.
            schedule(Date().addingTimeInterval(Self.pause))
            failed(error)
            finished.call(false)
            return nil
        }
    }

    /// The time is over: the round pauses, and goes on another time. The system is told within a second, whatever happens.
    public func expire() {
        stop.pause()
        Task { [finished] in
            try? await Task.sleep(for: Self.patience)
            finished.call(false)
        }
    }
}

/// Calls a function once.
private final class Once: @unchecked Sendable {
    private let lock = NSLock()
    private var function: (@Sendable (Bool) -> Void)?

    init(_ function: @escaping @Sendable (Bool) -> Void) {
        self.function = function
    }

    func call(_ value: Bool) {
        let function = lock.withLock {
            defer { self.function = nil }
            return self.function
        }
        function?(value)
    }
}
