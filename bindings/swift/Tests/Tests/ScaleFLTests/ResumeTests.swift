import Foundation
@_spi(Testing) import ScaleFL
import Scene
import XCTest

/// A round goes on in another process: after a kill, and after a pause.
final class ResumeTests: XCTestCase {
    func testAProcessThatIsKilledInAnyPhaseGoesOnInTheNextOne() async throws {
        let scene = try await Scene.set(natives: 11, gate: true)
        defer { scene.world.close() }
        for phase in Phase.all {
            // Before the coordinator has heard of a call, and after it has answered and the device does not know.
            for answered in phase == .training ? [false] : [false, true] {
                let what = phase.name + (answered ? ", answered" : "")
                let number = try await killed(in: phase, answered: answered, scene, what)
                print("killed while \(what): round \(number) is exact, with one receipt")
            }
        }
    }

    /// A device is killed in a phase, and another process goes on. The round's number.
    private func killed(in phase: Phase, answered: Bool, _ scene: Scene, _ what: String) async throws -> UInt64 {
        let person = try scene.person()
        let enrolled = try await person.enrolled()
        try await enrolled.close()
        try await scene.play()
        try await scene.hold(phase, answered: answered)
        let first = try Device(person) { orders in
            if phase == .training { (orders.steps, orders.stepMs) = (500, 20) }
        }
        try await scene.reached(phase) { first.trains }
        first.kill()
        try await scene.release(phase)

        let second = try Device(person) { $0.untilDone = true }
        let told = try await second.end()
        XCTAssertEqual(told.text("outcome"), "contributed", "\(what): \(told)")
        let number = try UInt64(XCTUnwrap(told.number("number"), what))
        try await scene.exactSum(of: number, survivors: 12)
        let client = try person.client()
        let receipts = try await client.privacyReport().receipts
        XCTAssertEqual(receipts.count, 1, "\(what): the round is paid for once")
        try await client.close()
        return number
    }

    func testARoundThatIsPausedGoesOnInAnotherProcess() async throws {
        let scene = try await Scene.set(natives: 11, gate: true)
        defer { scene.world.close() }
        let person = try scene.person()
        let client = try await person.enrolled()
        try await scene.play()
        // The budget is used up while it waits for the others.
        try await scene.hold(.agreeing)
        let paused = try await client.run(scene.moves(budgetMs: 3_000))
        try await scene.release(.agreeing)
        guard case let .paused(after, before, _) = paused else { return XCTFail("\(paused)") }
        XCTAssertLessThan(after, before)
        try await client.close()
        let second = try Device(person) { $0.untilDone = true }
        let told = try await second.end()
        XCTAssertEqual(told.text("outcome"), "contributed", "\(told)")
        let number = try UInt64(XCTUnwrap(told.number("number")))
        try await scene.exactSum(of: number, survivors: 12)
        let receipts = try await person.client().privacyReport().receipts
        XCTAssertEqual(receipts.count, 1)
    }

    func testClosingPausesTheRound() async throws {
        let scene = try await Scene.set(natives: 11, gate: true)
        defer { scene.world.close() }
        let person = try scene.person()
        let client = try await person.enrolled()
        try await scene.play()
        try await scene.hold(.keys)
        let round = Task { try await client.run(scene.moves()) }
        try await scene.world.tell("reached")
        try await client.close()
        let outcome = try await round.value
        guard case .paused = outcome else { return XCTFail("\(outcome)") }
        try await scene.release(.keys)
        let again = try person.client()
        let done = try await again.contribute(scene.moves())
        try await scene.exactSum(of: done.number, survivors: 12)
    }

    func testTwoProcessesOfOneFolderDoNotTakePartAtOnce() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let person = try scene.person()
        let client = try await person.enrolled()
        try await scene.play()
        let other = try Device(person) { ($0.steps, $0.stepMs) = (150, 20) }
        while !other.trains { try await Task.sleep(for: .milliseconds(10)) }
        do {
            let outcome = try await client.run(scene.moves())
            guard case .waited = outcome else { return XCTFail("\(outcome)") }
        } catch let error as ScaleError {
            XCTAssertTrue(error.code.hasSuffix("in_use"), "\(error)")
            print("another process takes part: \(error.kind), \(error)")
        }
        let total = try await client.status().examples.total
        XCTAssertEqual(total, 0, "other calls go on")
        let told = try await other.end()
        XCTAssertEqual(told.text("outcome"), "contributed", "\(told)")
        let number = try UInt64(XCTUnwrap(told.number("number")))
        try await scene.exactSum(of: number, survivors: 12)
        try await scene.play()
        let done = try await client.contribute(scene.moves())
        try await scene.exactSum(of: done.number, survivors: 12)
    }
}
