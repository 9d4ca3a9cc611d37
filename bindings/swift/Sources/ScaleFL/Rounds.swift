import Foundation

/// What a round tells on its way.
public enum RoundEvent: Sendable {
    /// The device has got further.
    case progress(Progress)
    /// The round is over for this device. Nothing follows.
    case outcome(Outcome)
}

/// The library's `Progress`, under a name that Foundation does not have too.
public typealias RoundProgress = Progress

extension ScaleClient {
    /// A call of the library that takes part in a round.
    @_spi(Testing) public typealias Participating =
        @Sendable (NativeClient, Stop, (any ProgressListener)?) async throws -> Outcome

    /// Runs `call` so that cancelling the task ends it. A contribution that was made nevertheless is not lost: it is returned.
    @_spi(Testing) public func run(
        stop: Stop = Stop(),
        progress: (@Sendable (Progress) -> Void)? = nil,
        _ call: @escaping Participating
    ) async throws -> Outcome {
        let listener = progress.map(Listener.init)
        let outcome = try await cancelling(stop) { [native] stop in try await call(native, stop, listener) }
        if case .left(_, "cancelled", _, _) = outcome, Task.isCancelled { throw CancellationError() }
        return outcome
    }

    /// The same as a stream.
    @_spi(Testing) public func events(
        stop: Stop = Stop(),
        _ call: @escaping Participating
    ) -> AsyncThrowingStream<RoundEvent, any Error> {
        AsyncThrowingStream { continuation in
            let round = Task {
                do {
                    let outcome = try await run(stop: stop, progress: { continuation.yield(.progress($0)) }, call)
                    continuation.yield(.outcome(outcome))
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in round.cancel() }
        }
    }
}

/// Hands progress to a closure.
private final class Listener: ProgressListener {
    private let progress: @Sendable (Progress) -> Void

    init(_ progress: @escaping @Sendable (Progress) -> Void) {
        self.progress = progress
    }

    func onProgress(progress: Progress) throws {
        self.progress(progress)
    }
}

/// Runs a call of the library. Cancelling the task tells the library to stop, and waits until it has: the device leaves its
/// round properly, and nothing is locked or written afterwards.
func cancelling<Value: Sendable>(
    _ stop: Stop = Stop(),
    _ call: @escaping @Sendable (Stop) async throws -> Value
) async throws -> Value {
    do {
        return try await ScaleError.only {
            try await withTaskCancellationHandler { try await call(stop) } onCancel: { stop.cancel() }
        }
    } catch ScaleError.Cancelled where Task.isCancelled {
        throw CancellationError()
    }
}

extension Duration {
    /// Whole milliseconds; a negative duration is none.
    var milliseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, tooLong) = UInt64(seconds).multipliedReportingOverflow(by: 1000)
        return tooLong ? .max : whole &+ UInt64(attoseconds / 1_000_000_000_000_000)
    }
}
