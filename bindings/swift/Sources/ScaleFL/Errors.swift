import Foundation

extension ScaleError {
    /// What the app can do about it, roughly: `configuration`, `usage`, `network`, `refused`, `storage`, `privacy_ledger`,
    /// `model`, `cancelled` or `internal`, as in the other languages.
    public var kind: String { parts.kind }

    /// Stable code of the cause.
    public var code: String { parts.code }

    /// What was wrong, where, and what to do.
    public var sentence: String { parts.sentence }

    /// How long to wait before the call is repeated, if the coordinator has said so.
    public var retryAfter: Duration? {
        guard case let .Refused(_, _, retryAfterMs?) = self else { return nil }
        return .milliseconds(Int64(clamping: retryAfterMs))
    }

    private var parts: (kind: String, code: String, sentence: String) {
        switch self {
        case let .Configuration(code, sentence): ("configuration", code, sentence)
        case let .Usage(code, sentence): ("usage", code, sentence)
        case let .Network(code, sentence): ("network", code, sentence)
        case let .Refused(code, sentence, _): ("refused", code, sentence)
        case let .Storage(code, sentence): ("storage", code, sentence)
        case let .PrivacyLedger(code, sentence): ("privacy_ledger", code, sentence)
        case let .Model(code, sentence): ("model", code, sentence)
        case let .Cancelled(code, sentence): ("cancelled", code, sentence)
        case let .Internal(code, sentence): ("internal", code, sentence)
        }
    }
}

extension ScaleError {
    /// Makes every error a ``ScaleError``: what the generated code throws after a panic on the caller's thread is a type of its
    /// own, which no app can name.
    @_spi(Testing) public static func only<Value>(_ call: () throws -> Value) throws -> Value {
        do { return try call() } catch { throw known(error) }
    }

    /// The same for a call that waits. A cancellation stays what it is.
    static func only<Value: Sendable>(_ call: @Sendable () async throws -> Value) async throws -> Value {
        do { return try await call() } catch { throw known(error) }
    }

    private static func known(_ error: any Error) -> any Error {
        if error is ScaleError || error is CancellationError { return error }
        return ScaleError.Internal(code: "panic", sentence: "a fault of the library, please report it: \(error)")
    }
}

// `localizedDescription` is made of the debug description.
extension ScaleError: CustomStringConvertible, CustomDebugStringConvertible {
    /// The sentence, and the code for reports.
    public var description: String { "\(sentence) (\(code))" }
    public var debugDescription: String { description }
}
