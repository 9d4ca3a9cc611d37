import Foundation
@_spi(Testing) import ScaleFL
import Scene
import XCTest

/// What the app's part of a background task does, without the system's.
final class BackgroundTests: XCTestCase {
    func testTheNextCallFollowsFromTheOutcome() throws {
        let now = Date(timeIntervalSince1970: 1_000_000)
        func next(_ outcome: Outcome, _ next: UInt64? = nil) -> TimeInterval? {
            let status = Status(
                phase: nil, next: next, missing: [], last: nil, model: nil,
                examples: ExampleCounts(total: 0, byLabel: [:], unknownLabel: 0, damaged: 0), storage: .persistent,
                enrolled: true, enrollmentEnds: nil)
            return Schedule.next(after: outcome, status: status, now: now)?.timeIntervalSince(now)
        }
        XCTAssertEqual(next(.paused(resumeAfterMs: 90_000, resumeBeforeMs: 100_000, phase: .keys)), 90)
        XCTAssertEqual(next(.waited(until: 1_000_060_000, code: "c", sentence: "s")), 60)
        XCTAssertEqual(next(.left(round: nil, code: "c", sentence: "s", until: 1_000_030_000)), 30)
        XCTAssertEqual(next(.left(round: nil, code: "c", sentence: "s", until: 5)), 0, "a time that is over: now")
        XCTAssertEqual(next(.contributed(round: "r", number: 1, version: 1, receipt: nil), 1_000_500_000), 500)
        XCTAssertEqual(next(.contributed(round: "r", number: 1, version: 1, receipt: nil)), 0, "at once")
        XCTAssertNil(next(.enrollmentNeeded(code: "c", sentence: "s")))
    }

    func testAnExpirationPausesTheRoundAndTheSystemIsToldWithinASecond() async throws {
        let scene = try await Scene.set(natives: 11, gate: true)
        defer { scene.world.close() }
        let client = try await scene.person().enrolled()
        try await client.put(examples(4))
        try await scene.play()
        try await scene.hold(.shares)
        let told = Lines()
        let run = BackgroundRun { told.append("finished \($0)") }
        let running = Task {
            await run.run(budget: .seconds(60), client: { client }, schedule: { _ in told.append("scheduled") })
        }
        try await scene.world.tell("reached")
        let start = ContinuousClock.now
        run.expire()
        let outcome = await running.value
        let took = ContinuousClock.now - start
        guard case .paused = outcome else { return XCTFail("\(String(describing: outcome))") }
        XCTAssertLessThan(took, .seconds(1))
        XCTAssertEqual(told.all, ["scheduled", "finished true"])
        print("expired: paused and told after \(took)")
        try await Task.sleep(for: .seconds(1))
        XCTAssertEqual(told.all.count, 2, "the system is told once")
    }

    func testTheSystemIsToldWithinASecondAlsoIfTheAppHangs() async throws {
        let told = Lines()
        let run = BackgroundRun { told.append("finished \($0)") }
        let running = Task {
            await run.run(
                budget: .seconds(60),
                client: {
                    try await Task.sleep(for: .seconds(3))
                    throw CancellationError()
                },
                schedule: { _ in told.append("scheduled") })
        }
        try await Task.sleep(for: .milliseconds(50))
        run.expire()
        try await Task.sleep(for: .milliseconds(950))
        XCTAssertEqual(told.all, ["finished false"])
        _ = await running.value
        XCTAssertEqual(told.all, ["finished false", "scheduled"])
    }
}
