import Foundation
@_spi(Testing) import ScaleFL
import Scene
import XCTest

/// What the device, or the coordinator, refuses.
final class RefusedTests: XCTestCase {
    private static let real: Taking = { native, stop, listener in
        try await native.participate(options: RunOptions(), stop: stop, listener: listener)
    }

    func testTokensThatAreWrongOrExpiredAreRefusedAndAGoodOneEnrolls() async throws {
        let scene = try await Scene.set()
        defer { scene.world.close() }
        let client = try scene.person().client()
        let told = try await scene.world.tell("expired_token")
        let expired = try XCTUnwrap(told.text("token"))
        for (token, code) in [("not a token", "bad_token"), (expired, "expired_token")] {
            await refuses("refused", code) { try await client.enroll(token) }
        }
        let needed = try await client.run(Self.real)
        guard case .enrollmentNeeded("not_enrolled", _) = needed else { return XCTFail("\(needed)") }
        let id = try await client.enroll(try await scene.token())
        XCTAssertFalse(id.isEmpty)
        let enrolled = try await client.status().enrolled
        XCTAssertTrue(enrolled)
    }

    func testAModelThatWasTamperedWithIsNotInstalledAndItsRoundIsLeft() async throws {
        let scene = try await Scene.set()
        defer { scene.world.close() }
        let client = try await scene.person().enrolled()
        try await client.put(examples(4))
        try await scene.world.tell("tamper")
        await refuses("model", "digest_mismatch") { try await client.refreshModel() }
        await refuses("usage", "no_model") { try await client.predict(["CAFE ROMA"]) }
        // Other devices, so that a round begins at all: they leave it as well.
        try await scene.world.tell("crowd", ["task": Scene.task, "count": 12])
        var outcome: Outcome
        repeat { outcome = try await client.run(Self.real) } while outcome.waits
        guard case .left(_, "digest_mismatch", _, _) = outcome else { return XCTFail("\(outcome)") }
        let receipts = try await client.privacyReport().receipts
        XCTAssertEqual(receipts.count, 0, "nothing was sent, nothing is paid")
    }

    func testARoundThatWouldExceedThePrivacyBudgetIsLeft() async throws {
        let scene = try await Scene.set(crowd: 12, ["privacy": "example", "grace_ms": 2_000])
        defer { scene.world.close() }
        let person = try scene.person()
        let client = try await person.enrolled()
        try await client.put(examples(40))
        _ = try await client.contribute(Self.real)
        let report = try await client.privacyReport()
        guard case let .atMost(spent) = report.lifetime.example else { return XCTFail("\(report.lifetime)") }
        XCTAssertEqual(report.receipts.map(\.protection), [.examples])
        let limits = try client.guardrails().privacy
        try await client.close()

        var lifetime = limits.lifetime
        lifetime = PrivacyCaps(aggregate: lifetime.aggregate, local: lifetime.local, example: spent * 1.01)
        let privacy = PrivacyLimits(
            round: limits.round, period: limits.period, lifetime: lifetime, periodMs: limits.periodMs, delta: limits.delta)
        let own = OwnGuardrails(
            cohortMin: nil, roundsPerDay: nil, trainingMs: nil, modelBytes: nil, uploadBytes: nil, refuseWithoutNoise: nil,
            privacy: privacy)
        let strict = try ScaleClient(person.configuration(guardrails: own))
        var outcome: Outcome
        repeat { outcome = try await strict.run(Self.real) } while outcome.waits
        guard case let .left(_, code, sentence, _) = outcome else { return XCTFail("\(outcome)") }
        XCTAssertTrue(code.contains("budget") || code.contains("privacy"), code)
        print("exhausted budget: \(code): \(sentence)")
        let after = try await strict.privacyReport()
        XCTAssertEqual(after.receipts.count, 1, "nothing more is paid")
    }

    func testSigningOutForgetsEverythingAndTheNextPersonIsANewDevice() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let client = try scene.person().client()
        let first = try await client.enroll(try await scene.token())
        try await client.put(examples(4))
        try await scene.play()
        _ = try await client.contribute(scene.moves())
        try await client.forget(.everything)
        let status = try await client.status()
        XCTAssertEqual(status.examples.total, 0)
        XCTAssertFalse(status.enrolled)
        XCTAssertNil(status.model)
        let receipts = try await client.privacyReport().receipts
        XCTAssertEqual(receipts.count, 0)
        let second = try await client.enroll(try await scene.token())
        XCTAssertNotEqual(first, second)
        try await scene.play()
        let done = try await client.contribute(scene.moves())
        try await scene.exactSum(of: done.number, survivors: 12)
    }
}

extension Outcome {
    var waits: Bool { if case .waited = self { true } else { false } }
}

