import Foundation
#if canImport(os)
import os
#endif

/// The library's log. It holds no secrets and no examples. It is silent until the app asks for it, and is one for the process.
public enum ScaleLog {
    /// Hands every line of at least this weight to `sink`, on threads of the library.
    public static func send(atLeast level: LogLevel = .info, to sink: @escaping @Sendable (LogLevel, String) -> Void) {
        setLogSink(sink: Sink(sink), level: level)
    }

    /// No log.
    public static func silence() {
        setLogSink(sink: nil, level: .error)
    }

    #if canImport(os)
    /// Sends the log to the system's.
    public static func sendToSystem(atLeast level: LogLevel = .info) {
        let logger = Logger(subsystem: "io.scalefl.sdk", category: "device")
        send(atLeast: level) { level, message in
            switch level {
            case .error: logger.error("\(message, privacy: .public)")
            case .warn: logger.warning("\(message, privacy: .public)")
            case .info: logger.info("\(message, privacy: .public)")
            case .debug: logger.debug("\(message, privacy: .public)")
            }
        }
    }
    #endif
}

private final class Sink: LogSink {
    private let sink: @Sendable (LogLevel, String) -> Void

    init(_ sink: @escaping @Sendable (LogLevel, String) -> Void) {
        self.sink = sink
    }

    func log(level: LogLevel, message: String) throws {
        sink(level, message)
    }
}
