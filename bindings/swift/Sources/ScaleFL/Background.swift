#if canImport(BackgroundTasks) && os(iOS)
import BackgroundTasks
import Foundation

/// Rounds in the background, in the minutes that iOS gives an app on power and with a network.
///
/// The app's `Info.plist` names the task's identifier under `BGTaskSchedulerPermittedIdentifiers`, and has `processing` among
/// its `UIBackgroundModes`.
public enum BackgroundRounds {
    private static let running = Running()

    /// Registers the task. Call it before the app has finished launching, then ``schedule(_:earliest:)``: at every
    /// launch, because iOS may have dropped the request, as when the app was updated.
    ///
    /// - Parameters:
    ///   - identifier: As in `Info.plist`.
    ///   - budget: Time for one round. When iOS ends the task earlier, the round pauses.
    ///   - client: The app's client.
    ///   - failed: Hears of errors: the round is tried again later.
    ///   - ended: Hears how a round ended. After `enrollmentNeeded`, enroll and schedule again.
    /// - Returns: `false` if `Info.plist` does not name the identifier.
    @discardableResult
    public static func register(
        _ identifier: String,
        budget: Duration = .seconds(300),
        client: @escaping @Sendable () async throws -> ScaleClient,
        failed: @escaping @Sendable (any Error) -> Void = { _ in },
        ended: @escaping @Sendable (Outcome) -> Void = { _ in }
    ) -> Bool {
        BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: nil) { task in
            let task = Unshared(task)
            let run = BackgroundRun { task.value.setTaskCompleted(success: $0) }
            task.value.expirationHandler = { run.expire() }
            running.set(run)
            // iOS may end the process during the round: then this request is what is left. The round's end replaces it.
            do { try schedule(identifier, earliest: Date().addingTimeInterval(BackgroundRun.pause)) } catch { failed(error) }
            Task {
                let outcome = await run.run(
                    budget: budget,
                    client: client,
                    schedule: { date in
                        do { try schedule(identifier, earliest: date) } catch { failed(error) }
                    },
                    failed: failed
                )
                running.unset(run)
                if case .enrollmentNeeded = outcome {
                    // Another attempt would end the same: the request of the start is withdrawn.
                    BGTaskScheduler.shared.cancel(taskRequestWithIdentifier: identifier)
                }
                if let outcome { ended(outcome) }
            }
        }
    }

    /// Pauses the round that runs in the background now, if one does: it goes on with the next participation.
    public static func pause() {
        running.pause()
    }

    /// Asks iOS to run the task when the device is on power and has a network, not before `earliest`. A second request
    /// replaces the first.
    public static func schedule(_ identifier: String, earliest: Date? = nil) throws {
        let request = BGProcessingTaskRequest(identifier: identifier)
        request.requiresNetworkConnectivity = true
        // Without power, iOS ends apps that compute for long.
        request.requiresExternalPower = true
        request.earliestBeginDate = earliest
        try BGTaskScheduler.shared.submit(request)
    }
}

/// The round that runs in the background now.
private final class Running: @unchecked Sendable {
    private let lock = NSLock()
    private var run: BackgroundRun?

    func set(_ run: BackgroundRun) {
        lock.withLock { self.run = run }
    }

    /// Forgets `run`, unless a later one is there already.
    func unset(_ run: BackgroundRun) {
        lock.withLock {
            if self.run === run { self.run = nil }
        }
    }

    func pause() {
        lock.withLock { run }?.expire()
    }
}

/// A task of the system, of which only `setTaskCompleted` and the handler are used: both may be called from any thread.
private struct Unshared: @unchecked Sendable {
    let value: BGTask

    init(_ value: BGTask) {
        self.value = value
    }
}
#endif
