import Foundation
@_spi(Testing) import ScaleFL
import Scene
import XCTest

/// The app's own code fails, or the library does: the process lives, and the app is told.
final class CallbackTests: XCTestCase {
    private struct Unexpected: Error {}

    private final class ThrowingVault: SecretVault {
        let error: any Error & Sendable
        init(_ error: any Error & Sendable) { self.error = error }
        func get(name: String) throws -> Data? { throw error }
        func putNew(name: String, bytes: Data) throws -> Bool { throw error }
        func put(name: String, bytes: Data) throws { throw error }
        func delete(name: String) throws { throw error }
    }

    private final class ThrowingConditions: ConditionSource {
        func current() throws -> Conditions { throw CallbackError.Failed(sentence: "no conditions today") }
    }

    private final class ThrowingListener: ProgressListener, @unchecked Sendable {
        private let lock = NSLock()
        private var count = 0
        var calls: Int { lock.withLock { count } }

        func onProgress(progress: RoundProgress) throws {
            lock.withLock { count += 1 }
            throw Unexpected()
        }
    }

    private final class ThrowingSink: LogSink, @unchecked Sendable {
        private let lock = NSLock()
        private var lines: [String] = []
        var all: [String] { lock.withLock { lines } }

        func log(level: LogLevel, message: String) throws {
            lock.withLock { lines.append(message) }
            throw Unexpected()
        }
    }

    override func tearDown() {
        ScaleLog.silence()
    }

    func testAVaultThatThrowsIsAnErrorOfTheStorage() async throws {
        let errors: [any Error & Sendable] = [CallbackError.Failed(sentence: "the keychain is locked"), Unexpected()]
        for error in errors {
            let scene = Configuration(
                coordinator: "http://127.0.0.1:9", folder: try Place.newFolder(), task: "merchants",
                taskKey: String(repeating: "00", count: 32))
            let client = try ScaleClient(scene, vault: ThrowingVault(error))
            do {
                try await client.put(examples(1))
                XCTFail("it has stored something")
            } catch let failure as ScaleError {
                XCTAssertEqual(failure.kind, "storage", "\(failure)")
                if error is CallbackError {
                    XCTAssertTrue(failure.sentence.contains("the keychain is locked"), failure.sentence)
                }
            }
        }
    }

    func testAVaultOfTheAppIsUsed() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let person = try scene.person()
        let vault = MemoryVault()
        let client = try ScaleClient(person.configuration(), vault: vault)
        let id = try await client.enroll(try await scene.token())
        XCTAssertFalse(id.isEmpty)
        XCTAssertTrue(vault.names.contains("keys"), "\(vault.names)")
        try await scene.play()
        let done = try await client.contribute(scene.moves())
        try await scene.exactSum(of: done.number, survivors: 12)
        try await client.forget(.everything)
        XCTAssertEqual(vault.names, [], "nothing is left")
    }

    func testListenersConditionsAndLogsThatThrowDisturbNoRound() async throws {
        let scene = try await Scene.set(natives: 11)
        defer { scene.world.close() }
        let sink = ThrowingSink()
        setLogSink(sink: sink, level: .debug)
        let person = try scene.person()
        let client = try ScaleClient(person.configuration(), vault: nil, conditions: ThrowingConditions())
        try await client.enroll(try await scene.token())
        let listener = ThrowingListener()
        try await scene.play()
        let moves = scene.moves(steps: 200, stepMs: 10)
        let done = try await client.contribute { native, stop, _ in try await moves(native, stop, listener) }
        try await scene.exactSum(of: done.number, survivors: 12)
        XCTAssertGreaterThan(listener.calls, 3)
        XCTAssertTrue(sink.all.contains { $0.contains("no conditions today") }, "\(sink.all)")
    }

    func testTheLogSaysWhatHappensAndIsSilentAgain() async throws {
        let lines = Lines()
        ScaleLog.send(atLeast: .debug) { _, line in lines.append(line) }
        let scene = try await Scene.set()
        defer { scene.world.close() }
        let token = try await scene.token()
        let client = try scene.person().client()
        try await client.enroll(token)
        let said = lines.all
        XCTAssertFalse(said.isEmpty)
        XCTAssertFalse(said.contains { $0.contains(token) }, "a log holds no token")
        ScaleLog.silence()
        let before = lines.all.count
        _ = try await client.participate(budget: .milliseconds(300), ignoringConditions: true)
        XCTAssertEqual(lines.all.count, before)
    }

    func testAPanicOfTheLibraryIsAnErrorAndTheProcessLives() async throws {
        // On the caller's thread, and on the library's own.
        await refuses("internal", "panic") { try ScaleError.only { try testingPanic() } }
        let native = try NativeClient(
            configuration: Configuration(
                coordinator: "http://127.0.0.1:9", folder: Place.newFolder(), task: "merchants",
                taskKey: String(repeating: "00", count: 32)),
            vault: nil, conditions: nil)
        await refuses("internal", "panic") { try await native.testingPanic() }
        let enrolled = try await native.status().enrolled
        XCTAssertFalse(enrolled)
        // It goes on.
        XCTAssertThrowsError(try testingPanic())
        XCTAssertFalse(sdkVersion().isEmpty)
    }
}

/// Keeps secrets in memory.
final class MemoryVault: SecretVault, @unchecked Sendable {
    private let lock = NSLock()
    private var secrets: [String: Data] = [:]

    var names: [String] { lock.withLock { secrets.keys.sorted() } }

    func get(name: String) throws -> Data? { lock.withLock { secrets[name] } }

    func putNew(name: String, bytes: Data) throws -> Bool {
        lock.withLock {
            if secrets[name] != nil { return false }
            secrets[name] = bytes
            return true
        }
    }

    func put(name: String, bytes: Data) throws { lock.withLock { secrets[name] = bytes } }

    func delete(name: String) throws { lock.withLock { _ = secrets.removeValue(forKey: name) } }
}

/// Lines from any thread.
final class Lines: @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []

    var all: [String] { lock.withLock { lines } }

    func append(_ line: String) { lock.withLock { lines.append(line) } }
}
