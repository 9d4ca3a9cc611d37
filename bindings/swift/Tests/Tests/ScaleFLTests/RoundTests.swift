import Foundation
@_spi(Testing) import ScaleFL
import Scene
import XCTest

/// Whole rounds of apps and native devices.
final class RoundTests: XCTestCase {
    func testAnAppAndElevenNativeDevicesPublishTheExactSum() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let client = try await scene.person().enrolled()
        try await scene.play()
        let done = try await client.contribute(scene.moves())
        try await scene.exactSum(of: done.number, survivors: 12)
        let report = try await client.privacyReport()
        XCTAssertEqual(report.receipts, [done.receipt], "the outcome has the receipt of its round")
        let copy = try JSONDecoder().decode(PrivacyReport.self, from: JSONEncoder().encode(report))
        XCTAssertEqual(copy, report, "a report can be kept as JSON")
        let exported = try await client.exportPrivacyReport()
        XCTAssertNotNil(try JSONSerialization.jsonObject(with: Data(exported.utf8)))
    }

    func testAnAppTrainsOnItsExamplesAndPredicts() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let client = try await scene.person().enrolled()
        try await client.put(examples(40))
        try await scene.play()
        let done = try await client.contribute { native, stop, listener in
            try await native.participate(options: RunOptions(), stop: stop, listener: listener)
        }
        let sum = try await scene.world.beyondNatives(Scene.task, done.number, apps: [40])
        XCTAssertEqual(sum.number("survivors"), 12)
        XCTAssertGreaterThan(sum.pairs("beyond").count, 10, "the model has learned")
        let predictions = try await client.predict(["CAFE ROMA 7", "PETROL OSLO 8"], top: 2)
        XCTAssertEqual(predictions.map(\.top.count), [2, 2])
        let model = try await client.refreshModel()
        XCTAssertEqual(model?.labels, Scene.labels)
        let again = try await client.refreshModel()
        XCTAssertNil(again, "it is there already")
    }

    func testProgressComesAtMostFourTimesASecondAndNeverFalls() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let client = try await scene.person().enrolled()
        try await scene.play()
        let seen = Seen()
        // 4 seconds of steps, far more than may be told.
        let done = try await client.contribute(scene.moves(steps: 400, stepMs: 10), progress: seen.note)
        try await scene.exactSum(of: done.number, survivors: 12)
        let all = seen.all
        XCTAssertGreaterThan(all.count, 8)
        for (first, fifth) in zip(all, all.dropFirst(4)) {
            // Four in any second, and what a clock may be off.
            XCTAssertGreaterThan(fifth.at - first.at, .milliseconds(950))
        }
        for (before, after) in zip(all, all.dropFirst()) {
            XCTAssertLessThanOrEqual(before.progress.permille, after.progress.permille)
        }
        XCTAssertTrue(all.allSatisfy { !$0.progress.sentence.isEmpty })
        let steps = all.filter(\.progress.event.isStep).count
        print("progress: \(all.count) events of which \(steps) steps, in \(all[all.count - 1].at - all[0].at)")
    }

    func testAStreamEndsWithTheOutcome() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let client = try await scene.person().enrolled()
        try await scene.play()
        var progress = 0
        var outcome: Outcome?
        for try await event in client.events(scene.moves(steps: 50, stepMs: 10)) {
            XCTAssertNil(outcome, "the outcome is the last event")
            switch event {
            case .progress: progress += 1
            case let .outcome(last): outcome = last
            }
        }
        guard case let .contributed(_, number, _, _) = outcome else { return XCTFail("\(String(describing: outcome))") }
        XCTAssertGreaterThanOrEqual(progress, 2)
        try await scene.exactSum(of: number, survivors: 12)
    }

    func testTheProtocolsBytesAreThoseOfTheNativeClient() throws {
        let golden = try String(contentsOfFile: golden(), encoding: .utf8).split(separator: "\n")
        let lines = golden.map { $0.split(separator: " ") }.filter { $0.count == 2 && UInt32($0[0]) != nil }
        XCTAssertFalse(lines.isEmpty)
        for line in lines {
            XCTAssertEqual(try testingTranscript(seed: XCTUnwrap(UInt32(line[0]))), String(line[1]), "seed \(line[0])")
        }
        print("transcripts: the bytes of \(lines.count) seeds are the same")
    }

    private func golden() throws -> String {
        let repository = ProcessInfo.processInfo.environment["SCALE_REPOSITORY"]
        return try XCTUnwrap(repository, "SCALE_REPOSITORY is not set") + "/bindings/tests/transcripts.txt"
    }
}
