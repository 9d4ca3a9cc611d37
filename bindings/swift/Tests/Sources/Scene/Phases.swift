import Foundation
@_spi(Testing) import ScaleFL

extension Phase {
    /// In all of these a device waits for somebody, except while it trains.
    public static let all: [Phase] = [
        .checkingIn, .downloading, .training, .keys, .shares, .uploading, .agreeing, .unmasking,
    ]

    /// As the world names it.
    public var name: String {
        switch self {
        case .checkingIn: "checking_in"
        case .downloading: "downloading"
        case .training: "training"
        case .keys: "keys"
        case .shares: "shares"
        case .uploading: "uploading"
        case .agreeing: "agreeing"
        case .unmasking: "unmasking"
        case .over: "over"
        }
    }
}

/// What a call has told so far.
public final class Seen: @unchecked Sendable {
    private let lock = NSLock()
    private var events: [(progress: RoundProgress, at: ContinuousClock.Instant)] = []
    private var over = false

    public init() {}

    public func note(_ progress: RoundProgress) {
        lock.withLock { events.append((progress, .now)) }
    }

    public var all: [(progress: RoundProgress, at: ContinuousClock.Instant)] { lock.withLock { events } }

    /// The call has ended.
    public func end() {
        lock.withLock { over = true }
    }

    public var isOver: Bool { lock.withLock { over } }

    /// Whether the device is in this phase, and in training has made steps.
    public func isIn(_ phase: Phase) -> Bool {
        let all = all
        return all.last?.progress.phase == phase && (phase != .training || all.contains { $0.progress.event.isStep })
    }
}

extension ProgressEvent {
    public var isStep: Bool { if case .step = self { true } else { false } }
}

extension Scene {
    /// What a device does that is stopped in `phase`: training takes its time then.
    public func moves(stoppedIn phase: Phase) -> Taking {
        phase == .training ? moves(steps: 500, stepMs: 20) : moves()
    }

    /// Makes the calls of this phase wait for their answers.
    ///
    /// - Parameter answered: Whether the coordinator has answered, and the device does not know.
    public func hold(_ phase: Phase, answered: Bool = false) async throws {
        if phase != .training { try await world.tell("hold", ["call": phase.name, "answered": answered]) }
    }

    /// Waits until a device is in the phase.
    public func reached(_ phase: Phase, trains: @Sendable () -> Bool) async throws {
        if phase != .training {
            try await world.tell("reached")
            return
        }
        let end = ContinuousClock.now + .seconds(40)
        while !trains() {
            if ContinuousClock.now > end { throw Trouble("it does not train") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    public func release(_ phase: Phase) async throws {
        if phase != .training { try await world.tell("release") }
    }
}
