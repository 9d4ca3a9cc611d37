import Foundation
@_spi(Testing) import ScaleFL
import Scene
import XCTest

/// Cancelling a task ends the call within 200 ms, whatever the device is doing and although nobody answers it, and the next
/// call takes part as if nothing had been.
final class CancellationTests: XCTestCase {
    private static let atOnce = Duration.milliseconds(200)

    func testACallThatIsCancelledEndsAtOnceInEveryPhase() async throws {
        // A round goes on without the device that leaves it, soon; but it waits for devices that are only slow.
        let scene = try await Scene.set(
            crowd: 13, gate: true, ["devices": 13, "stage_ms": 15_000, "grace_ms": 2_000])
        defer { scene.world.close() }
        var left: [ScaleClient] = []
        for phase in Phase.all {
            // The figure is about the library, not about what else this machine does: one that was slow has another try.
            for attempt in 1...3 {
                let client = try await scene.person().enrolled()
                let took = try await cancelled(client, in: phase, scene)
                print("cancelled while \(phase.name): \(took)")
                if attempt == 1 { left.append(client) }
                if took <= Self.atOnce { break }
                XCTAssertLessThan(attempt, 3, "\(phase.name): \(took)")
            }
        }
        // A coordinator sends a device that has left its round away for half a minute: they take part together, with others
        // who wait for them.
        try await scene.world.tell("disperse")
        try await scene.world.tell("natives", ["task": Scene.task, "count": 13 - left.count])
        try await scene.play()
        let done = try await withThrowingTaskGroup(of: UInt64.self) { group in
            for client in left {
                group.addTask { try await client.contribute(scene.moves(), patience: .seconds(120)).number }
            }
            return try await group.reduce(into: Set<UInt64>()) { $0.insert($1) }
        }
        XCTAssertEqual(done.count, 1, "all were in one round")
        for number in done { try await scene.exactSum(of: number, survivors: 13, moved: left.count) }
    }

    /// Takes part until the device is in `phase`, and cancels. How long that took.
    private func cancelled(_ client: ScaleClient, in phase: Phase, _ scene: Scene) async throws -> Duration {
        try await scene.hold(phase)
        while true {
            let seen = Seen()
            let round = Task {
                defer { seen.end() }
                return try await client.run(progress: seen.note, scene.moves(stoppedIn: phase))
            }
            while !seen.isIn(phase), !seen.isOver { try await Task.sleep(for: .milliseconds(10)) }
            if seen.isOver {
                // The others are in a round just now.
                let outcome = try await round.value
                guard case .waited = outcome else { throw Trouble("\(phase.name): \(outcome)") }
                let wait = Schedule.next(after: outcome, status: nil)?.timeIntervalSinceNow ?? 0
                try await Task.sleep(for: .seconds(max(wait, 0.02)))
                continue
            }
            // It says so before it asks: now it waits for the answer.
            try await Task.sleep(for: .milliseconds(100))
            let start = ContinuousClock.now
            round.cancel()
            let result = await round.result
            let took = ContinuousClock.now - start
            try await scene.release(phase)
            XCTAssertThrowsError(try result.get(), phase.name) { XCTAssertTrue($0 is CancellationError, "\($0)") }
            let last = try await client.status().last
            XCTAssertEqual([last?.outcome, last?.code], ["left", "cancelled"], phase.name)
            XCTAssertEqual(seen.all.last?.progress.phase, phase)
            return took
        }
    }

    func testCancellingAtRandomMomentsBreaksNothing() async throws {
        // Short stages: a round that a device has left must not keep the others for long.
        let scene = try await Scene.set(crowd: 12, ["devices": 13, "stage_ms": 2_000, "grace_ms": 100])
        defer { scene.world.close() }
        var seen: [String: Int] = [:]
        var cancelled = 0
        var slowest = Duration.zero
        var last: ScaleClient?
        for _ in 0..<100 {
            let client = try await scene.person().enrolled()
            let progress = Seen()
            let round = Task { try await client.run(progress: progress.note, scene.moves()) }
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...(Place.long ? 4_000 : 600))))
            let start = ContinuousClock.now
            round.cancel()
            let word: String
            switch await round.result {
            case let .success(.waited(_, code, _)): word = "waited: \(code)"
            case let .success(outcome): word = String("\(outcome)".prefix { $0 != "(" })
            case .failure(is CancellationError):
                cancelled += 1
                let last = progress.all.last { $0.progress.phase != .over }
                word = "cancelled while " + (last?.progress.phase.name ?? "beginning")
            case let .failure(error): throw error
            }
            slowest = max(slowest, ContinuousClock.now - start)
            seen[word, default: 0] += 1
            // Also after the end.
            round.cancel()
            last = client
        }
        print("100 cancellations: \(seen), the slowest took \(slowest)")
        XCTAssertGreaterThan(cancelled, 10)
        let client = try XCTUnwrap(last)
        _ = try await client.contribute(scene.moves(), patience: .seconds(120))
    }

    func testCallsThatSendCanBeCancelledAndRepeated() async throws {
        let scene = try await Scene.set()
        defer { scene.world.close() }
        let client = try scene.person().client()
        let token = try await scene.token()
        let calls: [(String, @Sendable () async throws -> Void)] = [
            ("enroll", { try await client.enroll(token) }), ("refreshModel", { try await client.refreshModel() }),
        ]
        for (name, call) in calls {
            // A coordinator that accepts and says nothing.
            try await scene.world.tell("suspend")
            let running = Task { try await call() }
            try await Task.sleep(for: .milliseconds(300))
            let start = ContinuousClock.now
            running.cancel()
            let result = await running.result
            XCTAssertLessThanOrEqual(ContinuousClock.now - start, Self.atOnce, name)
            XCTAssertThrowsError(try result.get(), name) { XCTAssertTrue($0 is CancellationError, "\($0)") }
            try await scene.world.tell("resume")
            try await call()
        }
    }

    func testATaskThatWasCancelledBeforeSendsNothing() async throws {
        let scene = try await Scene.set()
        defer { scene.world.close() }
        let client = try scene.person().client()
        let token = try await scene.token()
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            try await client.enroll(token)
        }
        task.cancel()
        let result = await task.result
        XCTAssertThrowsError(try result.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        let enrolled = try await client.status().enrolled
        XCTAssertFalse(enrolled)
    }

    func testEndingAStreamCancelsItsRound() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let client = try await scene.person().enrolled()
        // Nobody else plays: it would wait for them.
        for try await event in client.events(scene.moves()) {
            if case .progress = event { break }
        }
        let end = ContinuousClock.now + .seconds(1)
        while try await client.status().phase != nil, ContinuousClock.now < end {
            try await Task.sleep(for: .milliseconds(10))
        }
        let phase = try await client.status().phase
        XCTAssertNil(phase, "the round is over")
    }
}
