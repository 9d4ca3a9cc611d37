import Foundation
@_spi(Testing) import ScaleFL
import Scene
import XCTest

/// Participations one after another leave nothing behind.
final class ManyRoundsTests: XCTestCase {
    private static let rounds = Place.long ? 200 : 40
    private static let settled = 20
    private static let leak = 4 << 20

    func testManyParticipationsLeakNothing() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        // What a first client opens for the process stays: name resolution, the log.
        let warm = try await scene.person().enrolled()
        try await warm.close()
        let files = try openFiles()
        XCTAssertEqual(try locks(), [], "no lock is held before")

        try await participate(scene)
        ScaleLog.silence()
        let letGo = try await Alive.settles(at: [:])
        XCTAssertTrue(letGo, "the library still holds \(Alive.all)")
        XCTAssertEqual(try openFiles().subtracting(files), [], "open files")
        XCTAssertEqual(try locks(), [])
    }

    private func participate(_ scene: Scene) async throws {
        setLogSink(sink: CountedSink(), level: .info)
        let client = try ScaleClient(
            scene.person().configuration(), vault: CountedVault(), conditions: CountedConditions())
        try await client.enroll(try await scene.token())
        let moves = scene.moves()
        var settled = 0
        for round in 1...Self.rounds {
            try await scene.play()
            let done = try await client.contribute { native, stop, _ in try await moves(native, stop, CountedListener()) }
            try await scene.exactSum(of: done.number, survivors: 12)
            let letGo = try await Alive.settles(at: ["CountedVault": 1, "CountedConditions": 1, "CountedSink": 1])
            XCTAssertTrue(letGo, "after participation \(round) the library holds \(Alive.all)")
            XCTAssertEqual(try locks(), [], "a lock is held while no round runs")
            if round == Self.settled { settled = try resident() }
            if round % 20 == 0 { print("after participation \(round): \(try resident() >> 10) KiB resident") }
        }
        let last = try resident()
        XCTAssertLessThanOrEqual(last, settled + Self.leak, "\(settled) bytes, then \(last)")
        try await client.close()
        print("\(Self.rounds) participations: \((last - settled) >> 10) KiB more than after \(Self.settled)")
    }

    private func resident() throws -> Int {
        let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")[1]
        return try XCTUnwrap(Int(pages)) * Int(getpagesize())
    }

    private func openFiles() throws -> Set<String> {
        let numbers = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
        // The listing's own folder is gone by now.
        let paths = numbers.compactMap { number in
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)")).map { "\(number) \($0)" }
        }
        // Swift's own clock opens these when it likes, and keeps them. The library has none.
        return Set(paths.filter { !$0.hasSuffix("[timerfd]") })
    }

    /// Lines of /proc/locks about this process.
    private func locks() throws -> [String] {
        let own = " \(ProcessInfo.processInfo.processIdentifier) "
        return try String(contentsOfFile: "/proc/locks", encoding: .utf8).split(separator: "\n").map(String.init)
            .filter { $0.contains(own) }
    }
}
