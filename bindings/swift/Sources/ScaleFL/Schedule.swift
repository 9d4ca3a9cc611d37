import Foundation

/// When to take part next.
public enum Schedule {
    /// The earliest time for the next call after `outcome`; `nil` if the app has to enroll first.
    ///
    /// - Parameter status: What the library says about the next call after a contribution.
    public static func next(after outcome: Outcome, status: Status?, now: Date = Date()) -> Date? {
        switch outcome {
        case let .paused(resumeAfterMs, _, _): now.addingTimeInterval(TimeInterval(resumeAfterMs) / 1000)
        case let .waited(until, _, _), let .left(_, _, _, until): max(date(until), now)
        case .contributed: max(status?.next.map(date) ?? now, now)
        case .enrollmentNeeded: nil
        }
    }

    /// A time of the library.
    static func date(_ milliseconds: UInt64) -> Date {
        Date(timeIntervalSince1970: TimeInterval(milliseconds) / 1000)
    }
}
