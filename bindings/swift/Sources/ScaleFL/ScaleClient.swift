import Foundation

/// One installation of an app, for one task that classifies lines of text.
///
/// Work runs on the library's own threads: no call blocks the caller's. One participation runs at a time; all other calls may
/// be made meanwhile. Clients with equal configurations share one installation: the vault and the conditions of the first are
/// used. If only one of two has a vault, the second is refused with the code `folder_in_use`.
///
/// Cancelling a task that waits for ``enroll(_:)``, ``refreshModel()``, ``participate(budget:job:ignoringConditions:stop:progress:)``
/// or ``round(budget:job:ignoringConditions:stop:)`` ends the call within 200 ms. It throws `CancellationError`. Other calls run
/// to their end.
public final class ScaleClient: Sendable {
    let native: NativeClient

    /// A client that keeps its keys, and learns of power and network, as ``Platform`` says.
    ///
    /// - Throws: ``ScaleError`` of kind `configuration`, or `usage` if the folder is in use with another configuration.
    public convenience init(_ configuration: Configuration) throws {
        try self.init(configuration, vault: Platform.vault(for: configuration))
    }

    /// - Parameters:
    ///   - configuration: What the app sets. ``Configuration/init(coordinator:task:taskKey:)`` takes the standard folder.
    ///   - vault: Where keys are kept; `nil` keeps them in files in the folder.
    ///   - conditions: What is known of power and network; `nil` knows nothing.
    /// - Throws: ``ScaleError`` of kind `configuration`, or `usage` if the folder is in use with another configuration.
    public init(
        _ configuration: Configuration,
        vault: (any SecretVault)?,
        conditions: (any ConditionSource)? = Platform.conditions()
    ) throws {
        native = try ScaleError.only {
            try NativeClient(configuration: configuration, vault: vault, conditions: conditions)
        }
    }

    /// Exchanges an enrollment token for a device identity, or renews the device's own token if it was refused or ends soon.
    /// Otherwise nothing is sent.
    ///
    /// - Returns: The device id.
    @discardableResult
    public func enroll(_ token: String) async throws -> String {
        try await cancelling { [native] stop in try await native.enroll(token: token, stop: stop) }
    }

    /// Stores examples; one whose id is stored replaces the old one. If one is refused, none is stored.
    @discardableResult
    public func put(_ examples: [Example]) async throws -> PutSummary {
        try await ScaleError.only { [native] in try await native.put(examples: examples) }
    }

    /// Deletes examples permanently.
    ///
    /// - Returns: How many of the ids were there.
    @discardableResult
    public func remove(ids: [String]) async throws -> Int {
        Int(try await ScaleError.only { [native] in try await native.remove(ids: ids) })
    }

    /// Classifies lines with the model on this device, without network. `top`: labels for each line.
    public func predict(_ texts: [String], top: Int = 1) async throws -> [Prediction] {
        // The library refuses 0 itself.
        try await ScaleError.only { [native] in try await native.predict(texts: texts, top: UInt32(clamping: top)) }
    }

    /// Downloads the newest model.
    ///
    /// - Returns: `nil` if it is on this device already.
    @discardableResult
    public func refreshModel() async throws -> ModelInfo? {
        try await cancelling { [native] stop in try await native.refreshModel(stop: stop) }
    }

    /// Takes part in one round with the stored examples, or continues a round that was interrupted.
    ///
    /// - Parameters:
    ///   - budget: Time that this call may take; then it ends as `paused`. `nil`: until the round is over.
    ///   - job: A round that a job of the REST API waits for.
    ///   - ignoringConditions: Takes part also on a metered network or a low battery.
    ///   - stop: Lets the app pause the call, as before a suspension.
    ///   - progress: Called at most four times a second, on a thread of the library.
    /// - Throws: `CancellationError` if the task was cancelled before the device had contributed; ``ScaleError`` if nothing
    ///   could be tried.
    public func participate(
        budget: Duration? = .seconds(150),
        job: String? = nil,
        ignoringConditions: Bool = false,
        stop: Stop = Stop(),
        progress: (@Sendable (Progress) -> Void)? = nil
    ) async throws -> Outcome {
        let options = RunOptions(budgetMs: budget?.milliseconds, job: job, ignoreConditions: ignoringConditions)
        return try await run(stop: stop, progress: progress) { native, stop, listener in
            try await native.participate(options: options, stop: stop, listener: listener)
        }
    }

    /// ``participate(budget:job:ignoringConditions:stop:progress:)`` as a stream of events, of which the last is the outcome.
    /// The round begins with the call. Ending the iteration, or cancelling the task that iterates, cancels it:
    /// the device leaves the round. `stop` lets the app pause it instead, as before a suspension: the next call goes on with it.
    public func round(
        budget: Duration? = .seconds(150),
        job: String? = nil,
        ignoringConditions: Bool = false,
        stop: Stop = Stop()
    ) -> AsyncThrowingStream<RoundEvent, any Error> {
        let options = RunOptions(budgetMs: budget?.milliseconds, job: job, ignoreConditions: ignoringConditions)
        return events(stop: stop) { native, stop, listener in
            try await native.participate(options: options, stop: stop, listener: listener)
        }
    }

    /// The status of the installation, also while a round runs.
    public func status() async throws -> Status {
        try await ScaleError.only { [native] in try await native.status() }
    }

    /// The report of the privacy ledger. While a round runs, it is as of the last record.
    public func privacyReport() async throws -> PrivacyReport {
        try await ScaleError.only { [native] in try await native.privacyReport() }
    }

    /// The report as JSON, for the person to keep.
    public func exportPrivacyReport() async throws -> String {
        try await ScaleError.only { [native] in try await native.exportPrivacyReport() }
    }

    /// Replaces a locked privacy ledger by a new one.
    ///
    /// - Returns: `false` if it is intact: then nothing has changed.
    @discardableResult
    public func resetPrivacyLedger() async throws -> Bool {
        try await ScaleError.only { [native] in try await native.resetPrivacyLedger() }
    }

    /// The limits as they hold: for each, the stricter of the app's and the compiled one.
    public func guardrails() throws -> Guardrails {
        try ScaleError.only { try native.guardrails() }
    }

    /// Deletes a person's data: their examples, or everything of this installation, which also ends its identity and its
    /// record of the privacy budget spent.
    public func forget(_ what: Forget) async throws {
        try await ScaleError.only { [native] in try await native.forget(what: what) }
    }

    /// Pauses what runs through this client and waits until nothing is written or locked any more. Later calls fail with the
    /// code `closed`.
    public func close() async throws {
        try await ScaleError.only { [native] in try await native.shutDown() }
    }
}
